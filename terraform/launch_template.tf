# What the leader launches. Its version is fixed in the seeds' configuration: a change here is a new version, which
# counts once the seeds are replaced. User data is the leader's.
resource "aws_launch_template" "node" {
  name                                 = "skein-${var.mesh}-node"
  description                          = "Nodes that the leader of the Skein mesh ${var.mesh} launches"
  image_id                             = local.image_id
  instance_type                        = var.machine_types[0].name
  vpc_security_group_ids               = [aws_security_group.node.id]
  update_default_version               = true
  instance_initiated_shutdown_behavior = "terminate"
  tags                                 = local.tags

  iam_instance_profile {
    arn = aws_iam_instance_profile.node.arn
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = data.aws_ami.image.root_device_name

    ebs {
      volume_type           = "gp3"
      volume_size           = var.disk_gib
      encrypted             = true
      delete_on_termination = true
    }
  }

  # The instance's own tags are in the launch.
  tag_specifications {
    resource_type = "volume"
    tags          = merge(local.tags, { "skein:role" = "node", Name = "${var.mesh} node" })
  }
}

data "aws_ami" "image" {
  filter {
    name   = "image-id"
    values = [local.image_id]
  }

  lifecycle {
    postcondition {
      condition     = self.architecture == var.architecture
      error_message = "${self.id} is an image for ${self.architecture}, and architecture is ${var.architecture}."
    }
  }
}
