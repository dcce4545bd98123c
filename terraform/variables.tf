# Who it is

variable "mesh" {
  description = "The mesh's name, as `skein init` was told: lower-case letters, digits and inner hyphens, at most 28. All resources are tagged skein:mesh with it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,26}[a-z0-9])?$", var.mesh))
    error_message = "mesh is not a name of lower-case letters, digits and inner hyphens, at most 28."
  }
}

variable "tags" {
  description = "More tags for everything that the module makes. None may start with skein:, those are the mesh's own."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(key, "skein:")])
    error_message = "tags may not hold keys that start with skein:."
  }
}

# The network

variable "network" {
  description = "An existing network to use instead of a new one. Its subnets must give new machines a public IPv4 address and route to an internet gateway."
  type = object({
    vpc_id     = string
    subnet_ids = list(string)
  })
  default = null

  validation {
    condition     = var.network == null ? true : length(var.network.subnet_ids) > 0 && startswith(var.network.vpc_id, "vpc-")
    error_message = "network needs a vpc_id that starts with vpc- and at least one subnet id."
  }
}

variable "vpc_cidr" {
  description = "IPv4 range of the new network, /16 to /22; each zone gets a sixteenth of it. Not used with an existing network."
  type        = string
  default     = "10.80.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && can(regex("/(1[6-9]|2[0-2])$", var.vpc_cidr))
    error_message = "vpc_cidr is not an IPv4 range from /16 to /22."
  }
}

variable "zones" {
  description = "Availability zones for the new network; the region's first three where none is named. Not used with an existing network."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.zones) <= 16 && length(distinct(var.zones)) == length(var.zones)
    error_message = "zones names one twice, or more than 16."
  }
}

variable "seed_addresses" {
  description = "Fixed private addresses of the seed nodes, seed n in subnet n and so on in turn. The 10th address of the subnet and those after it where none is given."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = contains([0, var.seeds], length(var.seed_addresses))
    error_message = "seed_addresses needs one address for each seed node, or none."
  }

  validation {
    condition     = alltrue([for address in var.seed_addresses : can(cidrhost("${address}/32", 0))])
    error_message = "seed_addresses holds something that is not an IPv4 address."
  }
}

variable "http_port" {
  description = "TCP port for clients and operators: HTTPS and WebSocket."
  type        = number
  default     = 443
  nullable    = false

  validation {
    condition     = var.http_port >= 1 && var.http_port <= 65535 && floor(var.http_port) == var.http_port
    error_message = "http_port is not a port."
  }
}

variable "mesh_port" {
  description = "UDP port for QUIC between nodes. Open between nodes only."
  type        = number
  default     = 4440
  nullable    = false

  validation {
    condition     = var.mesh_port >= 1024 && var.mesh_port <= 65535 && floor(var.mesh_port) == var.mesh_port
    error_message = "mesh_port is not a port from 1024 up."
  }
}

variable "media_ports" {
  description = "First and last UDP and TCP port for clients' media, open to everyone. A node uses one for each of its workers, which is one for each vCPU."
  type        = object({ first = number, last = number })
  default     = { first = 10000, last = 10063 }
  nullable    = false

  validation {
    condition     = var.media_ports.first >= 1024 && var.media_ports.last <= 65535 && var.media_ports.first <= var.media_ports.last && var.media_ports.last - var.media_ports.first < 256
    error_message = "media_ports is not a range of 1 to 256 ports from 1024 up."
  }

  validation {
    condition     = alltrue([for port in [var.http_port, var.mesh_port] : port < var.media_ports.first || port > var.media_ports.last])
    error_message = "media_ports holds http_port or mesh_port."
  }
}

variable "pipe_ports" {
  description = "First and last UDP port for media between nodes, open between nodes only."
  type        = object({ first = number, last = number })
  default     = { first = 40000, last = 49999 }
  nullable    = false

  validation {
    condition     = var.pipe_ports.first >= 1024 && var.pipe_ports.last <= 65535 && var.pipe_ports.first <= var.pipe_ports.last
    error_message = "pipe_ports is not a range of ports from 1024 up."
  }

  validation {
    condition     = var.pipe_ports.last < var.media_ports.first || var.pipe_ports.first > var.media_ports.last
    error_message = "pipe_ports and media_ports overlap."
  }

  validation {
    condition     = var.mesh_port < var.pipe_ports.first || var.mesh_port > var.pipe_ports.last
    error_message = "pipe_ports holds mesh_port."
  }
}

# The machines

variable "seeds" {
  description = "How many seed nodes: 1, 3 or 5. They vote for the leader, so one of three may fail, and two of five."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = contains([1, 3, 5], var.seeds)
    error_message = "seeds is not 1, 3 or 5."
  }
}

variable "find_seeds_by_tags" {
  description = "Whether nodes look for seeds among the account's instances too, by their tags, beside the fixed addresses: what has run since before a seed was added or moved finds it then. Launched nodes may list all instances of the region for it (ec2:DescribeInstances)."
  type        = bool
  default     = true
  nullable    = false
}

variable "seed_type" {
  description = "Instance type of the seed nodes; its architecture must be that of the image."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", var.seed_type))
    error_message = "seed_type is not an instance type, such as c7a.large."
  }
}

variable "machine_types" {
  description = "The instance types that the leader may launch: reference streams (720p video at 1.5 Mbit/s) that one carries, workers (one for each vCPU), price an hour, and seconds from launch until it takes peers before any launch has shown it."
  type = list(object({
    name    = string
    streams = number
    workers = number
    price   = number
    boot_s  = optional(number, 90)
  }))
  nullable = false

  validation {
    condition     = length(var.machine_types) > 0 && length(distinct(var.machine_types[*].name)) == length(var.machine_types)
    error_message = "machine_types is empty or names one twice."
  }

  validation {
    condition = alltrue([
      for type in var.machine_types :
      can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", type.name)) && type.streams >= 1 && type.workers >= 1 && type.price >= 0 && type.boot_s >= 0
    ])
    error_message = "machine_types holds one without streams or workers, with a price below 0, or with a name that is no instance type."
  }

  validation {
    condition     = alltrue([for type in var.machine_types : type.workers <= var.media_ports.last - var.media_ports.first + 1])
    error_message = "machine_types holds one with more workers than media_ports has ports."
  }
}

variable "scaling" {
  description = "How the mesh grows and shrinks, as the keys of the same names under `scaling` in the node's configuration. min_nodes and max_nodes count the seed nodes. max_cost_per_hour is for launched machines, in the currency of the prices."
  type = object({
    max_nodes         = number
    min_nodes         = optional(number)
    max_cost_per_hour = optional(number)
    spare_streams     = optional(number)
    idle_minutes      = optional(number, 10)
    drain_minutes     = optional(number, 10)
    join_deadline_s   = optional(number, 300)
    warm              = optional(number, 0)
    spot              = optional(bool, false)
  })
  nullable = false

  validation {
    condition     = var.scaling.max_nodes >= coalesce(var.scaling.min_nodes, var.seeds) && var.scaling.max_nodes <= 1000
    error_message = "scaling.max_nodes is less than the seed nodes or scaling.min_nodes, or more than 1000."
  }

  validation {
    condition     = coalesce(var.scaling.min_nodes, var.seeds) >= var.seeds
    error_message = "scaling.min_nodes is less than the seed nodes, which are never retired."
  }

  validation {
    condition     = alltrue([for value in [var.scaling.idle_minutes, var.scaling.drain_minutes, var.scaling.join_deadline_s, var.scaling.warm] : value >= 0])
    error_message = "scaling holds a number below 0."
  }
}

variable "settings" {
  description = "More of the node's configuration, the same on all nodes, by key: { \"room.size\" = \"200\" }. Comes before what the module writes."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.settings : can(regex("^[a-z0-9_]+(\\.[a-z0-9_]+)+$", key)) && !can(regex("['\\r\\n]", value))])
    error_message = "settings holds a key that is not like room.size, or a value with a single quote or more than one line."
  }

  validation {
    condition     = alltrue([for key in keys(var.settings) : !startswith(key, "auth.")])
    error_message = "settings may not hold auth.…: user data is no place for secrets. Use the parameters."
  }
}

variable "disk_gib" {
  description = "Size of the encrypted root disk of every machine, GiB."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.disk_gib >= 8 && var.disk_gib <= 1024
    error_message = "disk_gib is not between 8 and 1024."
  }
}

# What is on them

variable "architecture" {
  description = "x86_64 or arm64: of the image, the package and all instance types."
  type        = string
  default     = "x86_64"
  nullable    = false

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture is not x86_64 or arm64."
  }
}

variable "image_id" {
  description = "Image for all machines: Debian 12 or newer, or Ubuntu 24.04 or newer. Debian's newest image of release 12 where none is given."
  type        = string
  default     = null

  validation {
    condition     = var.image_id == null ? true : startswith(var.image_id, "ami-")
    error_message = "image_id does not start with ami-."
  }
}

variable "package" {
  description = "Where machines get Skein's Debian package at their first start, and its SHA-256. Leave it out where the image has the package, AWS's command line client and curl on it, which starts about a minute sooner."
  type = object({
    url    = string
    sha256 = string
  })
  default = null

  validation {
    condition     = var.package == null ? true : can(regex("^https://[A-Za-z0-9._~:/?%=&+@-]+$", var.package.url)) && can(regex("^[0-9a-f]{64}$", var.package.sha256))
    error_message = "package needs a url that starts with https:// and a sha256 of 64 lower-case hexadecimal digits."
  }

  validation {
    condition     = var.package != null || var.image_id != null
    error_message = "package is needed, or an image_id that has it installed."
  }
}

# Who may use it

variable "tls" {
  description = "Whether nodes speak HTTPS, with the certificate from the parameters tls-certificate and tls-key. Browsers give no camera or microphone to pages without it."
  type        = bool
  default     = true
  nullable    = false
}

variable "parameter_path" {
  description = "Path in the Parameter Store below which the mesh's secrets are; /skein/MESH where none is given."
  type        = string
  default     = null

  validation {
    condition     = var.parameter_path == null ? true : can(regex("^(/[A-Za-z0-9_.-]+)+$", var.parameter_path)) && !startswith(coalesce(var.parameter_path, "/"), "/aws")
    error_message = "parameter_path is not a path such as /skein/meet."
  }
}

variable "parameter_key_arn" {
  description = "The KMS key that encrypts the parameters, where it is not the account's own for the Parameter Store."
  type        = string
  default     = null

  validation {
    condition     = var.parameter_key_arn == null ? true : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/", var.parameter_key_arn))
    error_message = "parameter_key_arn is not the ARN of a KMS key."
  }
}

variable "secrets" {
  description = "The mesh's secrets, for the module to put into the Parameter Store. They are written and never kept in the state or a plan. Leave it out where they were put there by other means. tls_certificate and tls_key only with tls."
  type = object({
    ca_certificate   = string
    ca_key           = string
    enrolment_secret = string
    client_key       = string
    operator_token   = string
    tls_certificate  = optional(string)
    tls_key          = optional(string)
  })
  default   = null
  sensitive = true
  ephemeral = true
}

variable "secrets_version" {
  description = "0 where the parameters are made by other means; else 1, and one more whenever `secrets` has changed: Terraform cannot compare what it does not keep."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.secrets_version >= 0 && floor(var.secrets_version) == var.secrets_version
    error_message = "secrets_version is not a whole number from 0 up."
  }
}

# Names

variable "dns" {
  description = "Route 53 zone and name: NAME leads to the seed nodes that are ready, seed-1.NAME and so on to one each."
  type = object({
    zone_id = string
    name    = string
  })
  default = null

  validation {
    condition     = var.dns == null ? true : can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", var.dns.name)) && can(regex("^[A-Z0-9]+$", var.dns.zone_id))
    error_message = "dns needs a zone_id such as Z0123456789ABC and a name such as meet.example.org."
  }
}
