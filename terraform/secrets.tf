locals {
  parameter_path = coalesce(var.parameter_path, "/skein/${var.mesh}")
  parameter_arn  = "${local.arn}:ssm:${local.region}:${data.aws_caller_identity.current.account_id}:parameter${local.parameter_path}"

  # What every node reads, and what seed nodes read besides: they sign certificates and derive enrolment tokens.
  node_secrets = concat(["ca-certificate", "client-key", "operator-token"], var.tls ? ["tls-certificate", "tls-key"] : [])
  seed_secrets = ["ca-key", "enrolment-secret"]

  made_secrets = var.secrets_version > 0 ? toset(concat(local.node_secrets, local.seed_secrets)) : toset([])
}

# The values are write-only: they are in no state and in no plan. They may be rotated beside Terraform too.
resource "aws_ssm_parameter" "secret" {
  for_each         = local.made_secrets
  name             = "${local.parameter_path}/${contains(local.seed_secrets, each.key) ? "seed" : "node"}/${each.key}"
  description      = "Skein mesh ${var.mesh}: ${each.key}"
  type             = "SecureString"
  tier             = "Intelligent-Tiering"
  key_id           = var.parameter_key_arn
  value_wo         = var.secrets[replace(each.key, "-", "_")]
  value_wo_version = var.secrets_version
  tags             = local.tags
}
