//! What a machine needs to enrol, as lines of `KEY=value`: for user data, a file, or the environment.

use super::Secret;
use crate::identity::mesh_of;
use crate::seeds::Seed;
use skein_proto::ids::NodeId;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

/// Names of the environment variables that a machine is told what it needs by.
pub mod variable {
    /// The mesh's name.
    pub const MESH: &str = "SKEIN_ENROL_MESH";
    /// The name of the node that the machine is to be.
    pub const NODE: &str = "SKEIN_ENROL_NODE";
    /// What lets it in.
    pub const TOKEN: &str = "SKEIN_ENROL_TOKEN";
    /// Where seeds are: `host:port`, with commas between them.
    pub const SEEDS: &str = "SKEIN_ENROL_SEEDS";
    /// The certificate of the mesh's authority: the text of its PEM on one line, without the lines that begin and end
    /// it. Several with commas between them.
    pub const AUTHORITY: &str = "SKEIN_ENROL_AUTHORITY";
}

/// What a machine needs to enrol.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The mesh.
    pub mesh: String,
    /// The node that the machine is to be.
    pub node: NodeId,
    /// What lets it in.
    pub token: String,
    /// Where to ask.
    pub seeds: Vec<Seed>,
    /// Certificates of the mesh's authority, PEM: only who shows one that it signed is asked.
    pub authority_pem: String,
}

/// Why something is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// A variable is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A variable has something else.
    #[error("{name}: {problem}")]
    Value {
        /// Which.
        name: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A line is no `KEY=value`.
    #[error("line {0} is not KEY=value")]
    Line(usize),
}

impl Ticket {
    /// Lines of `KEY=value`.
    pub fn environment(&self) -> String {
        environment(&self.mesh, self.node.as_str(), &self.token, &self.seeds, &self.authority_pem)
    }

    /// Reads lines of `KEY=value`.
    ///
    /// # Errors
    /// Names what is missing or wrong.
    pub fn from_environment(text: &str) -> Result<Self, TicketError> {
        let variables = variables(text)?;
        Self::from_variables(|name| variables.get(name).cloned())
    }

    /// Reads variables. Where none names the mesh, it is the one that the authority was made for.
    ///
    /// # Errors
    /// Names what is missing or wrong.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, TicketError> {
        let find = |name: &str| get(name).filter(|value| !value.is_empty());
        let need = |name: &'static str| find(name).ok_or(TicketError::Missing(name));
        let wrong = |name: &'static str| move |problem: String| TicketError::Value { name, problem };
        let authority_pem = unfold(&need(variable::AUTHORITY)?).map_err(wrong(variable::AUTHORITY))?;
        let mesh = find(variable::MESH).or_else(|| mesh_of(&authority_pem));
        Ok(Self {
            mesh: mesh.ok_or(TicketError::Missing(variable::MESH))?,
            node: need(variable::NODE)?.parse().map_err(|e| wrong(variable::NODE)(format!("{e}")))?,
            token: need(variable::TOKEN)?,
            seeds: seeds(&need(variable::SEEDS)?).map_err(wrong(variable::SEEDS))?,
            authority_pem,
        })
    }
}

/// Reads lines of `KEY=value`, quoted or not, as systemd does. Empty lines and comments (`#`) are left out; of two lines
/// with one key the last counts.
///
/// # Errors
/// Names the line that is something else.
pub fn variables(text: &str) -> Result<HashMap<String, String>, TicketError> {
    let mut all = HashMap::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or(TicketError::Line(index + 1))?;
        let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        all.insert(name.to_owned(), unquoted.unwrap_or(value).to_owned());
    }
    Ok(all)
}

// By hand, so that no token reaches a log.
impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket")
            .field("mesh", &self.mesh)
            .field("node", &self.node)
            .field("seeds", &self.seeds)
            .finish_non_exhaustive()
    }
}

/// What the machine of a launch is told, as lines of `KEY=value` for its user data: a function of the arguments alone,
/// in whatever order the seeds are, so that two leaders who launch one number send the same. The node is named after
/// the mesh and the number.
pub fn enrolment_environment(
    mesh: &str,
    secret: &Secret,
    number: u64,
    seeds: &[Seed],
    authority_pem: &str,
) -> String {
    let token = secret.launch_token(mesh, number);
    environment(mesh, &format!("{mesh}-{number}"), &token, seeds, authority_pem)
}

fn environment(mesh: &str, node: &str, token: &str, seeds: &[Seed], authority_pem: &str) -> String {
    let seeds: BTreeSet<_> = seeds.iter().collect();
    let seeds = seeds.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut text = String::new();
    for (name, value) in [
        (variable::MESH, mesh),
        (variable::NODE, node),
        (variable::TOKEN, token),
        (variable::SEEDS, &seeds),
        (variable::AUTHORITY, &fold(authority_pem)),
    ] {
        // Cannot fail: it is a String.
        let _ = writeln!(text, "{name}={value}");
    }
    text
}

/// A list of seeds with commas between them; at least one.
pub(super) fn seeds(text: &str) -> Result<Vec<Seed>, String> {
    let seeds = text.split(',').map(str::trim).filter(|each| !each.is_empty());
    let seeds: Vec<Seed> = seeds.map(str::parse).collect::<Result<_, _>>().map_err(|e| format!("{e}"))?;
    if seeds.is_empty() { Err("names no seed".to_owned()) } else { Ok(seeds) }
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// Length of a PEM's lines (RFC 7468, section 2).
const LINE: usize = 64;

/// Certificates in PEM on one line, as [`variable::AUTHORITY`] has them.
pub fn fold(pem: &str) -> String {
    let bodies = pem.split(BEGIN).skip(1).filter_map(|rest| rest.split(END).next());
    let bodies = bodies.map(|body| body.split_whitespace().collect::<String>());
    bodies.collect::<Vec<_>>().join(",")
}

/// [`fold`] undone.
fn unfold(text: &str) -> Result<String, String> {
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let mut pem = String::new();
    for body in text.split(',') {
        if body.is_empty() || !body.bytes().all(is_base64) {
            return Err("is not a certificate in base64, on one line".to_owned());
        }
        pem.push_str(BEGIN);
        pem.push('\n');
        for line in body.as_bytes().chunks(LINE) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str(END);
        pem.push('\n');
    }
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Authority, mesh_of};

    fn seeds_of(text: &str) -> Vec<Seed> {
        seeds(text).expect("seeds")
    }

    #[test]
    fn a_ticket_comes_back_from_its_lines() {
        let authority = Authority::generate("dev").expect("makes");
        let both = format!("{}{}", authority.certificate_pem(), authority.certificate_pem());
        for authority_pem in [authority.certificate_pem().to_owned(), both] {
            let ticket = Ticket {
                mesh: "dev".to_owned(),
                node: "n1".parse().expect("a name"),
                token: "invite.1.00".to_owned(),
                seeds: seeds_of("10.0.0.1:1,a.example:2"),
                authority_pem,
            };
            let text = format!("# a comment\n\nPATH=/bin\n{}", ticket.environment());
            let read = Ticket::from_environment(&text).expect("reads");
            assert_eq!((&read.mesh, &read.node, &read.token), (&ticket.mesh, &ticket.node, &ticket.token));
            assert_eq!(read.seeds, ticket.seeds);
            assert_eq!(mesh_of(&read.authority_pem).as_deref(), Some("dev"));
            assert_eq!(fold(&read.authority_pem), fold(&ticket.authority_pem));
            assert!(!format!("{read:?}").contains("invite"));
        }
    }

    #[test]
    fn two_leaders_send_the_same() {
        let secret = Secret::generate().expect("makes");
        let authority = Authority::generate("dev").expect("makes");
        let text = |seeds: &str, number| {
            enrolment_environment("dev", &secret, number, &seeds_of(seeds), authority.certificate_pem())
        };
        let first = text("10.0.0.1:1,10.0.0.2:1", 3);
        assert_eq!(first, text("10.0.0.2:1, 10.0.0.1:1,10.0.0.1:1", 3));
        assert_ne!(first, text("10.0.0.1:1,10.0.0.2:1", 4));
        let ticket = Ticket::from_environment(&first).expect("reads");
        assert_eq!(ticket.node.as_str(), "dev-3");
        assert_eq!(ticket.token, secret.launch_token("dev", 3));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let secret = Secret::generate().expect("makes");
        let authority = Authority::generate("dev").expect("makes");
        let good =
            enrolment_environment("dev", &secret, 1, &seeds_of("10.0.0.1:1"), authority.certificate_pem());
        for name in [variable::NODE, variable::TOKEN, variable::SEEDS, variable::AUTHORITY] {
            let without: String =
                good.lines().filter(|line| !line.starts_with(name)).map(|line| format!("{line}\n")).collect();
            assert_eq!(Ticket::from_environment(&without), Err(TicketError::Missing(name)));
        }
        let without: String = good
            .lines()
            .filter(|line| !line.starts_with(variable::MESH))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(Ticket::from_environment(&without).map(|ticket| ticket.mesh), Ok("dev".to_owned()));
        for (name, bad) in
            [(variable::SEEDS, "here"), (variable::NODE, "a b"), (variable::AUTHORITY, "-----")]
        {
            let error = Ticket::from_environment(&format!("{good}{name}={bad}\n")).expect_err("is wrong");
            assert!(error.to_string().starts_with(name), "{error}");
        }
        assert_eq!(Ticket::from_environment("\nx"), Err(TicketError::Line(2)));
    }
}
