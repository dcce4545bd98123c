# The addresses outlive the machines, so that a seed that is replaced is found where it was.
resource "aws_network_interface" "seed" {
  count           = var.seeds
  subnet_id       = local.subnet_ids[count.index % length(local.subnet_ids)]
  private_ips     = [local.seed_addresses[count.index]]
  security_groups = [aws_security_group.node.id]
  description     = "Skein seed node ${local.seed_names[count.index]}"
  tags            = merge(local.seed_tags, { Name = local.seed_names[count.index] })
}

resource "aws_eip" "seed" {
  count             = var.seeds
  domain            = "vpc"
  network_interface = aws_network_interface.seed[count.index].id
  tags              = merge(local.seed_tags, { Name = local.seed_names[count.index] })

  # A public address needs the way out to be there.
  depends_on = [aws_route.internet]
}

resource "aws_instance" "seed" {
  count                = var.seeds
  ami                  = local.image_id
  instance_type        = var.seed_type
  iam_instance_profile = aws_iam_instance_profile.seed.name
  user_data            = local.seed_documents[local.seed_names[count.index]]
  tags                 = merge(local.seed_tags, { Name = local.seed_names[count.index] })
  volume_tags          = merge(local.seed_tags, { Name = local.seed_names[count.index] })

  primary_network_interface {
    network_interface_id = aws_network_interface.seed[count.index].id
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = var.disk_gib
    encrypted   = true
  }

  lifecycle {
    # A newer image or other user data must not take all seeds down at once. They are replaced one at a time:
    # terraform apply -replace='module.skein.aws_instance.seed[0]'
    ignore_changes = [ami, user_data]

    precondition {
      condition     = length(local.seed_documents[local.seed_names[count.index]]) <= 16384
      error_message = "The seed's user data is larger than the 16 KiB that EC2 takes; settings or machine_types are too long."
    }
  }

  # At its first start it reads its secrets, and has its public address.
  depends_on = [aws_eip.seed, aws_iam_role_policy.seed, aws_ssm_parameter.secret]
}
