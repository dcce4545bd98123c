# A mesh in a network that is there, on arm64, from an image that has Skein on it, with names in Route 53 and secrets that
# Terraform puts into the Parameter Store without keeping them.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.25, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

module "skein" {
  source = "../.."

  mesh         = "town"
  architecture = "arm64"
  image_id     = var.image_id
  seeds        = 1
  seed_type    = "c7g.large"

  network = {
    vpc_id     = var.vpc_id
    subnet_ids = var.subnet_ids
  }
  seed_addresses = [var.seed_address]

  machine_types = [
    { name = "c7g.2xlarge", streams = 2000, workers = 8, price = 0.29, boot_s = 40 },
  ]

  scaling = {
    max_nodes = 4
    warm      = 1
  }

  settings = {
    "room.size" = "200"
  }

  dns = {
    zone_id = var.zone_id
    name    = var.name
  }

  secrets         = var.secrets
  secrets_version = 1
  tags            = { Project = "town hall" }
}
