//! What the module allows and opens is what it should, and no more.

use super::module::{Module, folder, labels, written};
use anyhow::{Context, ensure};
use hcl_edit::structure::{Block, Body};
use std::collections::{BTreeMap, BTreeSet};

/// The texts of a list of literals.
fn texts(body: &Body, name: &str) -> Vec<String> {
    let array = body.get_attribute(name).and_then(|attribute| attribute.value.as_array());
    array.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// A statement of a policy, as it is written.
#[derive(Debug)]
struct Statement {
    actions: BTreeSet<String>,
    resources: String,
    /// What is tested, and with which values.
    conditions: BTreeMap<String, String>,
}

fn statements(module: &Module, policy: &str) -> anyhow::Result<BTreeMap<String, Statement>> {
    let document = module.block("data", &["aws_iam_policy_document", policy])?;
    let dynamic = document.body.get_blocks("dynamic").flat_map(|block| block.body.get_blocks("content"));
    let mut all = BTreeMap::new();
    for block in document.body.get_blocks("statement").chain(dynamic) {
        let sid = block.body.get_attribute("sid").and_then(|sid| sid.value.as_str());
        let sid = sid.context("a statement without a name")?.to_owned();
        ensure!(!block.body.has_attribute("effect"), "{sid} has an effect of its own");
        ensure!(!block.body.has_attribute("not_actions"), "{sid} allows all but something");
        ensure!(!block.body.has_attribute("not_resources"), "{sid} allows all but something");
        let actions = texts(&block.body, "actions");
        let conditions = block.body.get_blocks("condition").map(|condition| {
            let variable = condition.body.get_attribute("variable").and_then(|name| name.value.as_str());
            let values = written(&condition.body, "values").unwrap_or_default();
            let test = written(&condition.body, "test").unwrap_or_default();
            (variable.unwrap_or_default().to_owned(), format!("{test} {values}"))
        });
        let resources = written(&block.body, "resources").unwrap_or_default();
        let statement =
            Statement { actions: actions.into_iter().collect(), resources, conditions: conditions.collect() };
        ensure!(all.insert(sid.clone(), statement).is_none(), "{sid} is there twice");
    }
    Ok(all)
}

impl Statement {
    #[track_caller]
    fn allows(&self, actions: &[&str]) {
        assert_eq!(self.actions.iter().map(String::as_str).collect::<Vec<_>>(), actions);
    }

    #[track_caller]
    fn asks_for(&self, variable: &str, value: &str) {
        let given = self.conditions.get(variable).map(String::as_str);
        assert_eq!(given, Some(value), "{variable}");
    }
}

const TEMPLATE: (&str, &str) = ("ec2:LaunchTemplate", "\"ArnEquals\" [aws_launch_template.node.arn]");
const OF_TEMPLATE: (&str, &str) = ("ec2:IsLaunchTemplateResource", "\"Bool\" [\"true\"]");

#[test]
fn seeds_launch_from_the_template_and_end_what_the_mesh_launched() -> anyhow::Result<()> {
    let module = Module::read(&folder())?;
    let all = statements(&module, "seed")?;
    let names: Vec<_> = all.keys().map(String::as_str).collect();
    let expected = [
        "GiveMachinesTheirRole",
        "LaunchFromTheTemplate",
        "LaunchIntoTheSubnets",
        "LaunchTaggedMachines",
        "ReadSeedParameters",
        "RetireLaunchedMachines",
        "See",
        "TagAtLaunch",
    ];
    assert_eq!(names, expected);

    let machines = &all["LaunchTaggedMachines"];
    machines.allows(&["ec2:RunInstances"]);
    machines.asks_for(TEMPLATE.0, TEMPLATE.1);
    machines.asks_for(OF_TEMPLATE.0, OF_TEMPLATE.1);
    machines.asks_for("aws:RequestTag/skein:mesh", "\"StringEquals\" [var.mesh]");
    machines.asks_for("aws:RequestTag/skein:role", "\"StringEquals\" [\"node\"]");
    machines.asks_for("ec2:InstanceType", "\"StringEquals\" var.machine_types[*].name");

    let parts = &all["LaunchFromTheTemplate"];
    parts.allows(&["ec2:RunInstances"]);
    parts.asks_for(TEMPLATE.0, TEMPLATE.1);
    parts.asks_for(OF_TEMPLATE.0, OF_TEMPLATE.1);
    ensure!(!parts.resources.contains(":instance/"), "instances need the tag too: {}", parts.resources);

    let place = &all["LaunchIntoTheSubnets"];
    place.allows(&["ec2:RunInstances"]);
    place.asks_for(TEMPLATE.0, TEMPLATE.1);
    ensure!(!place.resources.contains(":instance/"), "instances need the tag too: {}", place.resources);
    ensure!(!place.resources.contains("subnet/*"), "any subnet: {}", place.resources);

    let tag = &all["TagAtLaunch"];
    tag.allows(&["ec2:CreateTags"]);
    tag.asks_for("ec2:CreateAction", "\"StringEquals\" [\"RunInstances\"]");
    tag.asks_for("aws:RequestTag/skein:mesh", "\"StringEquals\" [var.mesh]");

    let retire = &all["RetireLaunchedMachines"];
    retire.allows(&["ec2:StartInstances", "ec2:StopInstances", "ec2:TerminateInstances"]);
    retire.asks_for("aws:ResourceTag/skein:mesh", "\"StringEquals\" [var.mesh]");
    retire.asks_for("aws:ResourceTag/skein:role", "\"StringEquals\" [\"node\"]");

    let role = &all["GiveMachinesTheirRole"];
    role.allows(&["iam:PassRole"]);
    assert_eq!(role.resources, "[aws_iam_role.node.arn]");
    role.asks_for("iam:PassedToService", "\"StringEquals\" [\"ec2.amazonaws.com\"]");
    Ok(())
}

#[test]
fn nodes_read_their_own_parameters_and_find_seeds_and_nothing_else() -> anyhow::Result<()> {
    let module = Module::read(&folder())?;
    let all = statements(&module, "node")?;
    let names: Vec<_> = all.keys().map(String::as_str).collect();
    assert_eq!(names, ["DecryptParameters", "FindSeeds", "ReadOwnParameters"]);
    let find = &all["FindSeeds"];
    find.allows(&["ec2:DescribeInstances"]);
    // The module's own region, and only where they are to look.
    find.asks_for("ec2:Region", "\"StringEquals\" [statement.value]");
    let document = module.block("data", &["aws_iam_policy_document", "node"])?.body.to_string();
    ensure!(document.contains("for_each = var.find_seeds_by_tags ? [local.region] : []"), "{document}");
    all["ReadOwnParameters"].allows(&["ssm:GetParameter"]);
    ensure!(all["ReadOwnParameters"].resources.contains("local.node_secrets"));
    all["DecryptParameters"].allows(&["kms:Decrypt"]);
    ensure!(all["DecryptParameters"].conditions.contains_key("kms:ViaService"));

    let locals: BTreeMap<_, _> = module.locals().map(|local| (local.key.as_str(), &local.value)).collect();
    let node_secrets = locals["node_secrets"].to_string();
    for secret in ["ca-key", "enrolment-secret"] {
        ensure!(!node_secrets.contains(secret), "launched nodes can read {secret}");
        ensure!(locals["seed_secrets"].to_string().contains(secret), "seed nodes cannot read {secret}");
    }
    Ok(())
}

#[test]
fn only_describing_is_allowed_on_everything() -> anyhow::Result<()> {
    let module = Module::read(&folder())?;
    let mut documents = 0;
    for block in module.blocks("data").filter(|block| labels(block)[0] == "aws_iam_policy_document") {
        let policy = labels(block)[1];
        if policy == "ec2" {
            // Who may take the roles: EC2.
            let text = block.body.to_string();
            ensure!(
                text.contains("[\"sts:AssumeRole\"]") && text.contains("[\"ec2.amazonaws.com\"]"),
                "{text}"
            );
            continue;
        }
        documents += 1;
        for (sid, statement) in statements(&module, policy)? {
            ensure!(!statement.actions.is_empty(), "{sid}: its actions are not plain to see");
            for action in &statement.actions {
                ensure!(!action.contains('*'), "{sid} allows {action}");
                let all = statement.resources.contains("\"*\"");
                ensure!(!all || action.starts_with("ec2:Describe"), "{sid} allows {action} on everything");
            }
        }
    }
    assert_eq!(documents, 2, "policies");
    Ok(())
}

/// Protocol, first and last port, and who may, as they are written.
fn rule(block: &Block) -> [String; 4] {
    let get = |name: &str| written(&block.body, name).unwrap_or_default().replace('"', "");
    let who = ["cidr_ipv4", "cidr_ipv6", "prefix_list_id", "referenced_security_group_id"];
    [get("ip_protocol"), get("from_port"), get("to_port"), who.map(get).concat()]
}

#[test]
fn nothing_is_open_but_media_clients_and_nodes_among_each_other() -> anyhow::Result<()> {
    let module = Module::read(&folder())?;
    let of = |kind: &str| {
        let blocks = module.blocks("resource").filter(|block| labels(block)[0] == kind);
        blocks.map(rule).collect::<BTreeSet<_>>()
    };
    let expected = [
        ["tcp", "var.http_port", "var.http_port", "0.0.0.0/0"],
        ["tcp", "var.media_ports.first", "var.media_ports.last", "0.0.0.0/0"],
        ["udp", "var.media_ports.first", "var.media_ports.last", "0.0.0.0/0"],
        ["udp", "var.mesh_port", "var.mesh_port", "aws_security_group.node.id"],
        ["udp", "var.pipe_ports.first", "var.pipe_ports.last", "aws_security_group.node.id"],
    ];
    let expected: BTreeSet<_> = expected.map(|rule| rule.map(str::to_owned)).into();
    assert_eq!(of("aws_vpc_security_group_ingress_rule"), expected);
    let out = [["-1", "", "", "0.0.0.0/0"].map(str::to_owned)];
    assert_eq!(of("aws_vpc_security_group_egress_rule"), out.into());
    // There is no other way to open something.
    for block in module.blocks("resource") {
        let kind = labels(block)[0];
        ensure!(!["aws_security_group_rule", "aws_network_acl"].contains(&kind), "{kind}");
        for inline in ["ingress", "egress"] {
            ensure!(block.body.get_blocks(inline).next().is_none(), "{kind} has rules of its own");
        }
    }
    Ok(())
}

#[test]
fn machines_ask_for_tokens_and_encrypt_their_disks() -> anyhow::Result<()> {
    let module = Module::read(&folder())?;
    let template = module.block("resource", &["aws_launch_template", "node"])?;
    let seed = module.block("resource", &["aws_instance", "seed"])?;
    let mapping = template.body.get_blocks("block_device_mappings").next().context("no disk")?;
    for (machine, disk) in [
        (template, mapping.body.get_blocks("ebs").next()),
        (seed, seed.body.get_blocks("root_block_device").next()),
    ] {
        let disk = &disk.context("no disk")?.body;
        assert_eq!(written(disk, "encrypted").as_deref(), Some("true"));
        assert_eq!(written(disk, "volume_type").as_deref(), Some("\"gp3\""));
        let metadata =
            &machine.body.get_blocks("metadata_options").next().context("no metadata options")?.body;
        assert_eq!(written(metadata, "http_tokens").as_deref(), Some("\"required\""));
        assert_eq!(written(metadata, "http_put_response_hop_limit").as_deref(), Some("1"));
        ensure!(!machine.body.has_attribute("key_name"), "a key for SSH");
    }
    // With a network interface of its own a template cannot be launched into the subnet that a call names.
    ensure!(
        template.body.get_blocks("network_interfaces").next().is_none(),
        "network_interfaces in the template"
    );
    Ok(())
}

#[test]
fn tags_are_the_ones_that_the_leader_looks_for() -> anyhow::Result<()> {
    let module = Module::read(&folder())?;
    let locals: BTreeMap<_, _> =
        module.locals().map(|local| (local.key.as_str(), local.value.to_string())).collect();
    ensure!(locals["tags"].contains("\"skein:mesh\" = var.mesh"), "{}", locals["tags"]);
    ensure!(locals["seed_tags"].contains("\"skein:role\" = \"seed\""), "{}", locals["seed_tags"]);
    for block in module.blocks("resource") {
        let takes_tags =
            !["aws_route", "aws_route_table_association", "aws_iam_role_policy", "aws_route53_record"]
                .contains(&labels(block)[0]);
        ensure!(!takes_tags || block.body.has_attribute("tags"), "{:?} has no tags", labels(block));
    }
    Ok(())
}

#[test]
fn secrets_are_kept_in_no_state() -> anyhow::Result<()> {
    let module = Module::read(&folder())?;
    let variable = module.block("variable", &["secrets"])?;
    for flag in ["ephemeral", "sensitive"] {
        assert_eq!(written(&variable.body, flag).as_deref(), Some("true"), "{flag}");
    }
    let parameter = module.block("resource", &["aws_ssm_parameter", "secret"])?;
    assert_eq!(written(&parameter.body, "type").as_deref(), Some("\"SecureString\""));
    ensure!(parameter.body.has_attribute("value_wo") && !parameter.body.has_attribute("value"));
    Ok(())
}
