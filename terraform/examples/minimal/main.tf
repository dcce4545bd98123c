# A mesh of its own: a new network in three zones, three seed nodes, and up to five machines that come and go.

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

  mesh    = "meet"
  package = var.package

  seed_type = "c7a.large"

  # What a type carries is what `skein calibrate` says and its network allows; prices are AWS's of your region: look them up.
  machine_types = [
    { name = "c7a.xlarge", streams = 900, workers = 4, price = 0.21 },
    { name = "c7a.4xlarge", streams = 3000, workers = 16, price = 0.83 },
  ]

  scaling = {
    max_nodes         = 8
    max_cost_per_hour = 2
  }
}
