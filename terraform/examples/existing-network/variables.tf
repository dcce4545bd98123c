variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-central-1"
}

variable "image_id" {
  description = "An arm64 image with Skein's package, curl and AWS's command line client on it."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "subnet_ids" {
  description = "Its public subnets."
  type        = list(string)
}

variable "seed_address" {
  description = "A free private address in the first subnet."
  type        = string
}

variable "zone_id" {
  description = "Route 53 zone."
  type        = string
}

variable "name" {
  description = "The mesh's name in that zone, such as meet.example.org."
  type        = string
}

variable "secrets" {
  description = "The files that `skein init` made, and a certificate for the name and its key: see the module's variable of this name. Given as TF_VAR_secrets, as JSON."
  type = object({
    ca_certificate   = string
    ca_key           = string
    enrolment_secret = string
    client_key       = string
    operator_token   = string
    tls_certificate  = string
    tls_key          = string
  })
  sensitive = true
  ephemeral = true
}
