output "urls" {
  description = "Where clients reach the seed nodes."
  value       = module.skein.urls
}

output "parameter_names" {
  description = "What must be in the Parameter Store before the first seed starts."
  value       = module.skein.parameter_names
}
