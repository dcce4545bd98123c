//! What a launched machine is told, as a function of its number and the configuration, which all voters share.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use skein_bootstrap::config::{CloudKind, Config};
use skein_bootstrap::enrolment::{Secret, SecretError, enrolment_environment};
use skein_bootstrap::seeds::Seed;
use std::io;
use std::path::PathBuf;

/// What stands for the lines that a machine enrols with, in base64, in a template.
const PLACEHOLDER: &str = "${SKEIN_ENVIRONMENT}";

/// Why there is nothing to tell a machine.
#[derive(Debug, thiserror::Error)]
pub enum UserDataError {
    /// A file cannot be read.
    #[error("{key} {}: {problem}", path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        problem: io::Error,
    },
    /// The mesh's secret.
    #[error("enrol.secret_file: {0}")]
    Secret(#[from] SecretError),
    /// It is needed and not given.
    #[error("enrol.secret_file: is missing, and machines of scaling.cloud could not enrol")]
    NoSecret,
    /// The template has no place for what a machine has to know.
    #[error("{0}: has no {PLACEHOLDER}")]
    Placeholder(&'static str),
}

/// Makes the user data of launches.
#[derive(Debug)]
pub struct UserData {
    mesh: String,
    with: Option<Enrolment>,
}

#[derive(Debug)]
struct Enrolment {
    secret: Secret,
    seeds: Vec<Seed>,
    authority_pem: String,
    template: Option<String>,
}

impl UserData {
    /// Reads what it takes. Processes on this machine need nothing.
    ///
    /// # Errors
    /// Names the key of what is missing or cannot be read.
    pub fn read(config: &Config) -> Result<Self, UserDataError> {
        let scaling = &config.scaling;
        let mesh = config.mesh.name.clone();
        let (key, template) = match scaling.cloud {
            CloudKind::None | CloudKind::Process => return Ok(Self { mesh, with: None }),
            CloudKind::Ec2 => ("scaling.ec2.user_data_template", &scaling.ec2.user_data_template),
            CloudKind::DigitalOcean => {
                ("scaling.digitalocean.user_data_template", &scaling.digitalocean.user_data_template)
            }
        };
        let read = |key: &'static str, path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|problem| UserDataError::File {
                key,
                path: path.clone(),
                problem,
            })
        };
        let secret = Secret::read(config.enrol.secret_file.as_ref().ok_or(UserDataError::NoSecret)?)?;
        let authority_pem = read("mesh.ca", &config.mesh.ca)?;
        let template = template.as_ref().map(|path| read(key, path)).transpose()?;
        if template.as_ref().is_some_and(|template| !template.contains(PLACEHOLDER)) {
            return Err(UserDataError::Placeholder(key));
        }
        let mut seeds = config.mesh.seeds.clone();
        // Each seed's list may leave out the seed itself; together they are the same on all.
        seeds.push(config.mesh.advertised().into());
        Ok(Self { mesh, with: Some(Enrolment { secret, seeds, authority_pem, template }) })
    }

    /// The user data of a launch.
    pub fn of(&self, number: u64) -> String {
        let Some(Enrolment { secret, seeds, authority_pem, template }) = &self.with else {
            return String::new();
        };
        let lines = enrolment_environment(&self.mesh, secret, number, seeds, authority_pem);
        match template {
            Some(template) => template.replace(PLACEHOLDER, &STANDARD.encode(lines)),
            None => lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &tempfile::TempDir, own: &str, other: &str, more: &[&str]) -> Config {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut settings = vec![
            "node.id=seed-1".to_owned(),
            format!("mesh.listen={own}"),
            format!("mesh.seeds=[\"{other}\"]"),
            format!("mesh.ca={}", path("ca.pem")),
            format!("mesh.cert={}", path("c.pem")),
            format!("mesh.key={}", path("c.key")),
            "election.voters=[\"seed-1\"]".to_owned(),
            "scaling.cloud=ec2".to_owned(),
            "scaling.ec2.launch_template=lt-1".to_owned(),
            "scaling.ec2.launch_template_version=3".to_owned(),
            "scaling.ec2.subnets=[\"subnet-1\"]".to_owned(),
            "scaling.types=[{ name = \"m\", streams = 10 }]".to_owned(),
        ];
        settings.extend(more.iter().map(|more| (*more).to_owned()));
        Config::load(None, [], &settings).expect("is right")
    }

    #[test]
    fn two_leaders_tell_the_same_machine_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("ca.pem"), "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")
            .expect("writes");
        std::fs::write(file("t"), "#cloud-config\ndata: ${SKEIN_ENVIRONMENT}\n").expect("writes");
        Secret::generate().expect("makes").write(&file("secret")).expect("writes");
        let secret = format!("enrol.secret_file={}", file("secret").display());
        let authority = format!("enrol.authority_key={}", file("ca.key").display());
        let template = format!("scaling.ec2.user_data_template={}", file("t").display());
        let more = [secret.as_str(), &authority, &template];
        let (a, b) = ("127.0.0.1:1", "127.0.0.1:2");
        let of = |own, other| UserData::read(&config(&folder, own, other, &more)).expect("reads");
        let told = of(a, b).of(7);
        assert_eq!(told, of(b, a).of(7));
        assert_ne!(told, of(a, b).of(8));
        let lines = told.strip_prefix("#cloud-config\ndata: ").expect("the template").trim();
        let lines = String::from_utf8(STANDARD.decode(lines).expect("base64")).expect("text");
        assert!(lines.contains("SKEIN_ENROL_NODE=dev-7\n"), "{lines}");
        let error = UserData::read(&config(&folder, a, b, &[])).expect_err("no secret").to_string();
        assert!(error.starts_with("enrol.secret_file"), "{error}");
        std::fs::write(file("t"), "nothing").expect("writes");
        let error = UserData::read(&config(&folder, a, b, &more)).expect_err("no place").to_string();
        assert!(error.starts_with("scaling.ec2.user_data_template"), "{error}");
    }
}
