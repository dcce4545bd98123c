output "urls" {
  description = "Where clients and operators reach the seed nodes. Without dns, by address: a certificate has to be for that then."
  value       = [for n, name in local.seed_names : "${local.scheme}://${try(local.seed_hosts[name], aws_eip.seed[n].public_ip)}${local.port_suffix}"]
}

output "seed_public_addresses" {
  description = "Public IPv4 addresses of the seed nodes, which stay when a seed is replaced."
  value       = aws_eip.seed[*].public_ip
}

output "seed_private_addresses" {
  description = "Private IPv4 addresses of the seed nodes, which stay when a seed is replaced."
  value       = local.seed_addresses
}

output "seed_instance_ids" {
  description = "Instances of the seed nodes."
  value       = aws_instance.seed[*].id
}

output "vpc_id" {
  description = "The VPC that the nodes are in."
  value       = local.vpc_id
}

output "subnet_ids" {
  description = "The subnets that the nodes are in."
  value       = local.subnet_ids
}

output "security_group_id" {
  description = "The security group of all nodes."
  value       = aws_security_group.node.id
}

output "launch_template" {
  description = "Launch template that the leader uses, and its version."
  value = {
    id      = aws_launch_template.node.id
    version = aws_launch_template.node.latest_version
  }
}

output "seed_role_arn" {
  description = "Role of the seed nodes."
  value       = aws_iam_role.seed.arn
}

output "node_role_arn" {
  description = "Role of launched nodes."
  value       = aws_iam_role.node.arn
}

output "parameter_names" {
  description = "The parameters that must be in the Parameter Store before the first seed starts."
  value       = concat([for name in local.node_secrets : "${local.parameter_path}/node/${name}"], [for name in local.seed_secrets : "${local.parameter_path}/seed/${name}"])
}

output "seed_config" {
  description = "Configuration of the first seed node as it would be written today, without secrets. Compare it with /etc/skein/node.toml there: what differs counts once the seed is replaced."
  value       = local.node_config[local.seed_names[0]]
}
