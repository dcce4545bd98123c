data "aws_region" "current" {}

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {}

# Debian publishes its images' ids there: https://wiki.debian.org/Cloud/AmazonEC2Image
data "aws_ssm_parameter" "debian" {
  count = var.image_id == null ? 1 : 0
  name  = "/aws/service/debian/release/12/latest/${var.architecture == "arm64" ? "arm64" : "amd64"}"
}

locals {
  region   = data.aws_region.current.region
  arn      = "arn:${data.aws_partition.current.partition}"
  ec2_arn  = "${local.arn}:ec2:${local.region}:${data.aws_caller_identity.current.account_id}"
  image_id = var.image_id == null ? nonsensitive(data.aws_ssm_parameter.debian[0].value) : var.image_id

  # What the leader tags its machines with too; policies go by skein:mesh and skein:role.
  tags      = merge(var.tags, { "skein:mesh" = var.mesh })
  seed_tags = merge(local.tags, { "skein:role" = "seed" })

  seed_names = [for n in range(var.seeds) : "${var.mesh}-seed-${n + 1}"]
}
