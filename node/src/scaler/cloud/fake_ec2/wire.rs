//! EC2's query protocol: parameters of a request, and the XML of an answer.

use super::{FakeInstance, Parameters, Wrong, wrong};
use std::collections::BTreeMap;
use std::time::SystemTime;

pub(super) fn item(instance: &FakeInstance, now: SystemTime) -> String {
    let tags: String = instance
        .tags
        .iter()
        .map(|(key, value)| {
            format!("<item><key>{}</key><value>{}</value></item>", escape(key), escape(value))
        })
        .collect();
    format!(
        "<item><instanceId>{}</instanceId><instanceState><name>{}</name></instanceState>\
         <privateIpAddress>{}</privateIpAddress><instanceType>{}</instanceType><launchTime>{}</launchTime>\
         <placement><availabilityZone>{}</availabilityZone></placement><subnetId>{}</subnetId>\
         <tagSet>{tags}</tagSet></item>",
        instance.id,
        instance.state_at(now),
        instance.address,
        instance.kind,
        humantime::format_rfc3339_seconds(instance.launched),
        instance.zone,
        instance.subnet,
    )
}

pub(super) fn matches(
    (name, values): &(String, Vec<String>),
    instance: &FakeInstance,
    now: SystemTime,
) -> bool {
    let value = match name.strip_prefix("tag:") {
        Some(key) => instance.tags.get(key).map(String::as_str),
        None => Some(instance.state_at(now)),
    };
    value.is_some_and(|value| values.iter().any(|wanted| wanted == value))
}

pub(super) fn filters(parameters: &Parameters) -> Result<Vec<(String, Vec<String>)>, Wrong> {
    let mut filters = Vec::new();
    for n in 1.. {
        let Some(name) = parameters.get(&format!("Filter.{n}.Name")) else { break };
        if !name.starts_with("tag:") && name != "instance-state-name" {
            return wrong("InvalidParameterValue", format!("The filter '{name}' is invalid"));
        }
        filters.push((name.clone(), numbered(parameters, &format!("Filter.{n}.Value"))));
    }
    Ok(filters)
}

pub(super) fn tags(parameters: &Parameters, resource: &str) -> Result<BTreeMap<String, String>, Wrong> {
    let mut tags = BTreeMap::new();
    for n in 1.. {
        let Some(kind) = parameters.get(&format!("TagSpecification.{n}.ResourceType")) else { break };
        for m in (1..).take_while(|_| kind == resource) {
            let of = |part: &str| parameters.get(&format!("TagSpecification.{n}.Tag.{m}.{part}")).cloned();
            let (Some(key), Some(value)) = (of("Key"), of("Value")) else { break };
            if tags.insert(key.clone(), value).is_some() {
                return wrong("InvalidParameterValue", format!("Duplicate tag key '{key}' specified"));
            }
        }
    }
    Ok(tags)
}

pub(super) fn numbered(parameters: &Parameters, name: &str) -> Vec<String> {
    (1..).map_while(|n| parameters.get(&format!("{name}.{n}")).cloned()).collect()
}

/// Only these parameters; one that ends with a dot stands for all that start so.
pub(super) fn only(parameters: &Parameters, known: &[&str]) -> Result<(), Wrong> {
    let fits =
        |key: &str, known: &str| if known.ends_with('.') { key.starts_with(known) } else { key == known };
    match parameters.keys().find(|key| !known.iter().any(|known| fits(key, known))) {
        Some(key) => wrong("UnknownParameter", format!("The parameter {key} is not recognized")),
        None => Ok(()),
    }
}

pub(super) fn form(body: &[u8]) -> Parameters {
    let text = String::from_utf8_lossy(body);
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decoded(key), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut out) = (text.bytes(), Vec::new());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
                std::str::from_utf8(&digits).ok().and_then(|d| u8::from_str_radix(d, 16).ok()).unwrap_or(b'?')
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
