locals {
  scheme      = var.tls ? "https" : "http"
  port_suffix = var.http_port == (var.tls ? 443 : 80) ? "" : ":${var.http_port}"

  # Names of the seeds, where they have any.
  seed_hosts = { for n, name in local.seed_names : name => "seed-${n + 1}.${try(var.dns.name, "")}" if var.dns != null }
}

# Asks each seed from outside whether it takes peers.
resource "aws_route53_health_check" "seed" {
  count             = var.dns == null ? 0 : var.seeds
  type              = var.tls ? "HTTPS" : "HTTP"
  ip_address        = aws_eip.seed[count.index].public_ip
  fqdn              = local.seed_hosts[local.seed_names[count.index]]
  enable_sni        = var.tls
  port              = var.http_port
  resource_path     = "/readyz"
  request_interval  = 10
  failure_threshold = 2
  tags              = merge(local.seed_tags, { Name = local.seed_names[count.index] })
}

# The mesh's name: the addresses of all seeds that are ready.
resource "aws_route53_record" "mesh" {
  count                            = var.dns == null ? 0 : var.seeds
  zone_id                          = var.dns.zone_id
  name                             = var.dns.name
  type                             = "A"
  ttl                              = 30
  records                          = [aws_eip.seed[count.index].public_ip]
  set_identifier                   = local.seed_names[count.index]
  health_check_id                  = aws_route53_health_check.seed[count.index].id
  multivalue_answer_routing_policy = true
}

# Each seed's own name, for clients that know several.
resource "aws_route53_record" "seed" {
  count   = var.dns == null ? 0 : var.seeds
  zone_id = var.dns.zone_id
  name    = local.seed_hosts[local.seed_names[count.index]]
  type    = "A"
  ttl     = 300
  records = [aws_eip.seed[count.index].public_ip]
}
