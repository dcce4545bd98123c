# One group for all nodes. What is not named here is closed: there is no SSH.
resource "aws_security_group" "node" {
  name        = "skein-${var.mesh}"
  description = "Nodes of the Skein mesh ${var.mesh}"
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = "skein-${var.mesh}" })
}

resource "aws_vpc_security_group_ingress_rule" "http" {
  security_group_id = aws_security_group.node.id
  description       = "Clients and operators: HTTPS and WebSocket"
  ip_protocol       = "tcp"
  from_port         = var.http_port
  to_port           = var.http_port
  cidr_ipv4         = "0.0.0.0/0"
  tags              = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "media_udp" {
  security_group_id = aws_security_group.node.id
  description       = "Clients: media over UDP"
  ip_protocol       = "udp"
  from_port         = var.media_ports.first
  to_port           = var.media_ports.last
  cidr_ipv4         = "0.0.0.0/0"
  tags              = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "media_tcp" {
  security_group_id = aws_security_group.node.id
  description       = "Clients: media over TCP, where UDP does not get through"
  ip_protocol       = "tcp"
  from_port         = var.media_ports.first
  to_port           = var.media_ports.last
  cidr_ipv4         = "0.0.0.0/0"
  tags              = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "mesh" {
  security_group_id            = aws_security_group.node.id
  description                  = "Nodes only: QUIC"
  ip_protocol                  = "udp"
  from_port                    = var.mesh_port
  to_port                      = var.mesh_port
  referenced_security_group_id = aws_security_group.node.id
  tags                         = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "pipes" {
  security_group_id            = aws_security_group.node.id
  description                  = "Nodes only: pipes, SRTP"
  ip_protocol                  = "udp"
  from_port                    = var.pipe_ports.first
  to_port                      = var.pipe_ports.last
  referenced_security_group_id = aws_security_group.node.id
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "all" {
  security_group_id = aws_security_group.node.id
  description       = "Media goes to wherever clients are"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  tags              = local.tags
}
