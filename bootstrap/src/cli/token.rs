//! `skein token`: signs a client token.

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use skein_bootstrap::token::{Claims, Signer};
use skein_proto::ids::{PeerId, RoomId};
use skein_proto::signaling::Role;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest life of a token. A longer one is a mistake more often than a wish.
const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3600);

/// Sign a token that lets a client into a room
///
/// The key is the mesh's `auth.client_key`: a shared secret of at least 32 bytes (the token is signed with HS256), or
/// an Ed25519 private key in PEM (EdDSA; the nodes have its public key).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  skein token --room standup --key-file client.key
  skein token --room standup --peer anna --role moderate --ttl 8h --key-file client.key
  SKEIN_AUTH__CLIENT_KEY=… skein token --room talk --role listen --ttl 2days")]
pub struct Token {
    /// The room that it opens
    #[arg(long)]
    room: RoomId,
    /// The only peer that may use it [default: any]
    #[arg(long)]
    peer: Option<PeerId>,
    /// What the peer may do
    #[arg(long, value_enum, default_value_t)]
    role: RoleName,
    /// How long it is good for, such as 90s, 30m, 1h or 2days
    #[arg(long, default_value = "1h", value_parser = parse_ttl)]
    ttl: Duration,
    /// The key. Others on this machine can read it in the list of processes: better use a file or the variable
    #[arg(long, env = "SKEIN_AUTH__CLIENT_KEY", hide_env_values = true)]
    key: Option<String>,
    /// A file with the key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// Roles, as they are typed.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum RoleName {
    /// Sends and receives
    #[default]
    Publish,
    /// Receives only
    Listen,
    /// Sends, receives, sends others away and closes the room
    Moderate,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Publish => Self::Publish,
            RoleName::Listen => Self::Listen,
            RoleName::Moderate => Self::Moderate,
        }
    }
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    super::parse_duration(text, Duration::from_secs(1), MAX_TTL)
}

impl Token {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).context("this machine's clock is before 1970")?;
        println!("{}", self.sign(now)?);
        Ok(ExitCode::SUCCESS)
    }

    fn sign(self, now: Duration) -> anyhow::Result<String> {
        let (key, source) = match (&self.key_file, self.key) {
            (Some(file), _) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("--key-file: cannot read {}", file.display()))?;
                (text, format!("--key-file {}", file.display()))
            }
            (None, Some(key)) => (key, "--key or SKEIN_AUTH__CLIENT_KEY".to_owned()),
            (None, None) => bail!("there is no key; give one by --key-file, SKEIN_AUTH__CLIENT_KEY or --key"),
        };
        // Editors end files with a line feed.
        let key = key.trim_end_matches(['\r', '\n']);
        ensure!(
            !key.contains("PUBLIC KEY-----"),
            "{source}: this is the public key, with which nodes check tokens; signing needs the private key"
        );
        let signer = Signer::new(key).with_context(|| source)?;
        let exp = (now + self.ttl).as_secs();
        let claims = Claims { room: self.room, peer: self.peer, role: self.role.into(), exp };
        signer.sign(&claims).context("cannot sign the token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, one_line};
    use clap::Parser;
    use skein_bootstrap::token::Verifier;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn token(key: &str, file: Option<PathBuf>) -> Token {
        Token {
            room: "standup".parse().expect("a name"),
            peer: Some("anna".parse().expect("a name")),
            role: RoleName::Moderate,
            ttl: Duration::from_secs(60),
            key: (!key.is_empty()).then(|| key.to_owned()),
            key_file: file,
        }
    }

    fn now() -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970")
    }

    #[test]
    fn a_token_opens_the_room_for_the_peer() {
        let signed = token(SECRET, None).sign(now()).expect("signs");
        let verifier = Verifier::new(SECRET).expect("a key");
        let (room, anna) = ("standup".parse().expect("a name"), "anna".parse().expect("a name"));
        let claims = verifier.verify(&signed, &room, &anna).expect("opens");
        assert_eq!(claims.role, Role::Moderate);
        assert!(claims.exp.abs_diff(now().as_secs() + 60) <= 2);
        assert!(verifier.verify(&signed, &room, &"bob".parse().expect("a name")).is_err());
    }

    #[test]
    fn a_key_file_may_end_with_a_line_feed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        std::fs::write(&file, format!("{SECRET}\n")).expect("writes");
        let now = now();
        let of_file = token("", Some(file)).sign(now).expect("signs");
        assert_eq!(of_file, token(SECRET, None).sign(now).expect("signs"));
    }

    #[test]
    fn bad_keys_say_what_is_wrong() {
        let short = token("short", None).sign(now()).expect_err("is too short");
        assert!(one_line(&short).contains("at least 32 bytes"), "{}", one_line(&short));
        let missing = token("", Some("/nowhere/key".into())).sign(now()).expect_err("is not there");
        assert!(one_line(&missing).contains("/nowhere/key"), "{}", one_line(&missing));
        let public = "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----";
        let public = token(public, None).sign(now()).expect_err("cannot sign");
        assert!(public.to_string().contains("private key"), "{public}");
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(parse_ttl("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_ttl("1h 30m"), Ok(Duration::from_secs(5400)));
        for bad in ["", "1", "h", "0s", "-1h", "10years"] {
            assert!(parse_ttl(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bad_names_are_refused_on_the_command_line() {
        let error =
            Cli::try_parse_from(["skein", "token", "--room", "a/b", "--key", SECRET]).expect_err("bad");
        assert!(error.to_string().contains("--room"), "{error}");
    }
}
