output "urls" {
  description = "Where clients reach the seed nodes."
  value       = module.skein.urls
}
