data "aws_availability_zones" "here" {
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  new_network = var.network == null
  zones       = length(var.zones) > 0 ? var.zones : slice(data.aws_availability_zones.here.names, 0, min(3, length(data.aws_availability_zones.here.names)))
  vpc_id      = local.new_network ? aws_vpc.mesh[0].id : var.network.vpc_id
  subnet_ids  = local.new_network ? aws_subnet.mesh[*].id : var.network.subnet_ids
  subnets     = local.new_network ? aws_subnet.mesh : data.aws_subnet.existing

  # Seed n is in subnet n, and so on in turn. AWS keeps the first four addresses of each for itself.
  seed_addresses = length(var.seed_addresses) > 0 ? var.seed_addresses : [
    for n in range(var.seeds) : cidrhost(local.subnets[n % length(local.subnet_ids)].cidr_block, 10 + n)
  ]
}

resource "aws_vpc" "mesh" {
  count                = local.new_network ? 1 : 0
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge(local.tags, { Name = var.mesh })
}

# Without rules: what is started without a group of its own talks to nobody.
resource "aws_default_security_group" "mesh" {
  count  = local.new_network ? 1 : 0
  vpc_id = aws_vpc.mesh[0].id
  tags   = merge(local.tags, { Name = "${var.mesh} default: unused" })
}

resource "aws_internet_gateway" "mesh" {
  count  = local.new_network ? 1 : 0
  vpc_id = aws_vpc.mesh[0].id
  tags   = merge(local.tags, { Name = var.mesh })
}

resource "aws_subnet" "mesh" {
  count                   = local.new_network ? length(local.zones) : 0
  vpc_id                  = aws_vpc.mesh[0].id
  availability_zone       = local.zones[count.index]
  cidr_block              = cidrsubnet(var.vpc_cidr, 4, count.index)
  map_public_ip_on_launch = true
  tags                    = merge(local.tags, { Name = "${var.mesh} ${local.zones[count.index]}" })
}

resource "aws_route_table" "mesh" {
  count  = local.new_network ? 1 : 0
  vpc_id = aws_vpc.mesh[0].id
  tags   = merge(local.tags, { Name = var.mesh })
}

resource "aws_route" "internet" {
  count                  = local.new_network ? 1 : 0
  route_table_id         = aws_route_table.mesh[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.mesh[0].id
}

resource "aws_route_table_association" "mesh" {
  count          = local.new_network ? length(local.zones) : 0
  subnet_id      = aws_subnet.mesh[count.index].id
  route_table_id = aws_route_table.mesh[0].id
}

data "aws_subnet" "existing" {
  count = local.new_network ? 0 : length(var.network.subnet_ids)
  id    = var.network.subnet_ids[count.index]

  lifecycle {
    postcondition {
      condition     = self.vpc_id == var.network.vpc_id
      error_message = "${self.id} is not a subnet of ${var.network.vpc_id}."
    }

    # The leader launches into a subnet by its id; whether the machine gets an address for clients is the subnet's say.
    postcondition {
      condition     = self.map_public_ip_on_launch
      error_message = "${self.id} gives new machines no public IPv4 address (MapPublicIpOnLaunch), and clients send media to every node."
    }
  }
}
