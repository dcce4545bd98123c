variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-central-1"
}

variable "package" {
  description = "Where Skein's Debian package is, and its SHA-256."
  type        = object({ url = string, sha256 = string })
}
