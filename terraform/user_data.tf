# Both kinds of machines get a cloud-init document. A seed's is made here, whole. A launched node's is made by the leader:
# it reads the template that is on every seed (scaling.ec2.user_data_template), and puts what the launch is about, lines
# of KEY=value in base64, in place of the placeholder. It is the same on all seeds, so that two leaders ask for the same.
locals {
  placeholder   = "$${SKEIN_ENVIRONMENT}"
  template_path = "/etc/skein/launch.yaml"

  ec2_environment = { for name in concat(["node"], local.seed_names) : name => templatefile("${path.module}/templates/ec2.env.tftpl", {
    role           = name == "node" ? "node" : "seed"
    parameter_path = local.parameter_path
    mesh_port      = var.mesh_port
    http_port      = var.http_port
    tls            = var.tls
    host           = try(local.seed_hosts[name], "")
  }) }

  settings_environment = templatefile("${path.module}/templates/settings.env.tftpl", {
    settings = var.settings
  })

  node_config = { for name in concat(["node"], local.seed_names) : name => templatefile("${path.module}/templates/node.toml.tftpl", {
    mesh               = var.mesh
    seed               = name == "node" ? "" : name
    voters             = local.seed_names
    seed_sockets       = [for address in local.seed_addresses : "${address}:${var.mesh_port}"]
    region             = local.region
    find_seeds_by_tags = var.find_seeds_by_tags
    http_port          = var.http_port
    tls                = var.tls
    media_port         = var.media_ports.first
    pipe_ports         = [var.pipe_ports.first, var.pipe_ports.last]
    scaling            = local.scaling
    machine_types      = var.machine_types
    template           = { id = aws_launch_template.node.id, version = aws_launch_template.node.latest_version }
    template_path      = local.template_path
    subnets            = local.subnet_ids
  }) }

  scaling = merge(var.scaling, { min_nodes = coalesce(var.scaling.min_nodes, var.seeds) })

  install = templatefile("${path.module}/templates/install.sh.tftpl", {
    package = var.package == null ? { url = "", sha256 = "" } : var.package
  })

  common_files = [
    { path = "/etc/skein/node.env", permissions = "0644", content = base64encode(local.settings_environment) },
    { path = "/usr/local/sbin/skein-install", permissions = "0755", content = base64encode(local.install) },
  ]

  launch_document = templatefile("${path.module}/templates/cloud-init.yaml.tftpl", {
    install = var.package != null
    files = concat(local.common_files, [
      { path = "/etc/skein/ec2.env", permissions = "0644", content = base64encode(local.ec2_environment["node"]) },
      { path = "/etc/skein/node.toml", permissions = "0644", content = base64encode(local.node_config["node"]) },
      { path = "/etc/skein/enrol.env", permissions = "0600", content = local.placeholder },
    ])
  })

  seed_documents = { for name in local.seed_names : name => templatefile("${path.module}/templates/cloud-init.yaml.tftpl", {
    install = var.package != null
    files = concat(local.common_files, [
      { path = "/etc/skein/ec2.env", permissions = "0644", content = base64encode(local.ec2_environment[name]) },
      { path = "/etc/skein/node.toml", permissions = "0644", content = base64encode(local.node_config[name]) },
      { path = local.template_path, permissions = "0644", content = base64encode(local.launch_document) },
      {
        path        = "/etc/skein/enrol.env"
        permissions = "0600"
        content = base64encode(templatefile("${path.module}/templates/seed.env.tftpl", {
          mesh = var.mesh
          node = name
        }))
      },
    ])
  }) }
}
