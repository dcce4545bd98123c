data "aws_iam_policy_document" "ec2" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

# Launched nodes: they read what every node needs, and where the seeds are, and nothing else.

resource "aws_iam_role" "node" {
  name               = "skein-${var.mesh}-node"
  description        = "Launched nodes of the Skein mesh ${var.mesh}"
  assume_role_policy = data.aws_iam_policy_document.ec2.json
  tags               = local.tags
}

resource "aws_iam_instance_profile" "node" {
  name = aws_iam_role.node.name
  role = aws_iam_role.node.name
  tags = local.tags
}

data "aws_iam_policy_document" "node" {
  statement {
    sid       = "ReadOwnParameters"
    actions   = ["ssm:GetParameter"]
    resources = [for name in local.node_secrets : "${local.parameter_arn}/node/${name}"]
  }

  # By their tags, in this region. EC2 knows no narrower form of it.
  dynamic "statement" {
    for_each = var.find_seeds_by_tags ? [local.region] : []

    content {
      sid       = "FindSeeds"
      actions   = ["ec2:DescribeInstances"]
      resources = ["*"]

      condition {
        test     = "StringEquals"
        variable = "ec2:Region"
        values   = [statement.value]
      }
    }
  }

  dynamic "statement" {
    for_each = var.parameter_key_arn[*]

    content {
      sid       = "DecryptParameters"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["ssm.${local.region}.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role_policy" "node" {
  name   = "skein"
  role   = aws_iam_role.node.id
  policy = data.aws_iam_policy_document.node.json
}

# Seed nodes: one of them leads, and launches and retires machines.

resource "aws_iam_role" "seed" {
  name               = "skein-${var.mesh}-seed"
  description        = "Seed nodes of the Skein mesh ${var.mesh}"
  assume_role_policy = data.aws_iam_policy_document.ec2.json
  tags               = local.tags
}

resource "aws_iam_instance_profile" "seed" {
  name = aws_iam_role.seed.name
  role = aws_iam_role.seed.name
  tags = local.tags
}

data "aws_iam_policy_document" "seed" {
  source_policy_documents = [data.aws_iam_policy_document.node.json]

  statement {
    sid       = "ReadSeedParameters"
    actions   = ["ssm:GetParameter"]
    resources = [for name in local.seed_secrets : "${local.parameter_arn}/seed/${name}"]
  }

  # EC2 knows no narrower form of these.
  statement {
    sid       = "See"
    actions   = ["ec2:DescribeInstances", "ec2:DescribeSpotPriceHistory"]
    resources = ["*"]
  }

  # A launch names the template, a subnet, a type, tags and user data. The machine itself must carry the mesh's tag
  # from its first moment, and be of a type that was agreed to.
  statement {
    sid       = "LaunchTaggedMachines"
    actions   = ["ec2:RunInstances"]
    resources = ["${local.ec2_arn}:instance/*"]

    condition {
      test     = "ArnEquals"
      variable = "ec2:LaunchTemplate"
      values   = [aws_launch_template.node.arn]
    }

    condition {
      test     = "Bool"
      variable = "ec2:IsLaunchTemplateResource"
      values   = ["true"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/skein:mesh"
      values   = [var.mesh]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/skein:role"
      values   = ["node"]
    }

    condition {
      test     = "StringEquals"
      variable = "ec2:InstanceType"
      values   = var.machine_types[*].name
    }
  }

  # The image, the disk and the security group are the template's, never the call's.
  statement {
    sid     = "LaunchFromTheTemplate"
    actions = ["ec2:RunInstances"]
    resources = [
      aws_launch_template.node.arn,
      aws_security_group.node.arn,
      "${local.ec2_arn}:volume/*",
      "${local.arn}:ec2:${local.region}::image/*",
    ]

    condition {
      test     = "ArnEquals"
      variable = "ec2:LaunchTemplate"
      values   = [aws_launch_template.node.arn]
    }

    condition {
      test     = "Bool"
      variable = "ec2:IsLaunchTemplateResource"
      values   = ["true"]
    }
  }

  # The subnet is the call's to choose, and the network interface is made for it.
  statement {
    sid     = "LaunchIntoTheSubnets"
    actions = ["ec2:RunInstances"]
    resources = concat(
      [for id in local.subnet_ids : "${local.ec2_arn}:subnet/${id}"],
      ["${local.ec2_arn}:network-interface/*"],
      var.scaling.spot ? ["${local.ec2_arn}:spot-instances-request/*"] : [],
    )

    condition {
      test     = "ArnEquals"
      variable = "ec2:LaunchTemplate"
      values   = [aws_launch_template.node.arn]
    }
  }

  # Tags are given at the launch and never later: nothing that exists can be made the mesh's.
  statement {
    sid       = "TagAtLaunch"
    actions   = ["ec2:CreateTags"]
    resources = ["${local.ec2_arn}:instance/*", "${local.ec2_arn}:volume/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["RunInstances"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/skein:mesh"
      values   = [var.mesh]
    }
  }

  # Seed nodes carry another role, so a leader cannot end them.
  statement {
    sid       = "RetireLaunchedMachines"
    actions   = ["ec2:TerminateInstances", "ec2:StartInstances", "ec2:StopInstances"]
    resources = ["${local.ec2_arn}:instance/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/skein:mesh"
      values   = [var.mesh]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/skein:role"
      values   = ["node"]
    }
  }

  statement {
    sid       = "GiveMachinesTheirRole"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.node.arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "seed" {
  name   = "skein"
  role   = aws_iam_role.seed.id
  policy = data.aws_iam_policy_document.seed.json
}
