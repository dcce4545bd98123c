//! Where the node looks for others, besides its list of seeds.

use crate::scaler::cloud::CloudError;
use skein_bootstrap::config::Config;
#[cfg(not(feature = "ec2"))]
use skein_bootstrap::config::Ec2Seeds;
use skein_bootstrap::seeds::SeedSource;
use std::sync::Arc;

/// Opens the sources that are configured.
///
/// # Errors
/// When one cannot be used as it is configured, or is not in this program.
#[cfg(feature = "ec2")]
pub(super) async fn open(config: &Config) -> Result<Vec<Arc<dyn SeedSource>>, CloudError> {
    use crate::scaler::cloud::ec2::TaggedSeeds;
    let tagged = TaggedSeeds::new(config).await?;
    Ok(tagged.into_iter().map(|tagged| Arc::new(tagged) as Arc<dyn SeedSource>).collect())
}

/// Opens the sources that are configured.
///
/// # Errors
/// When one is configured: none is in this program.
#[cfg(not(feature = "ec2"))]
pub(super) async fn open(config: &Config) -> Result<Vec<Arc<dyn SeedSource>>, CloudError> {
    if config.mesh.seeds_from_ec2 == Ec2Seeds::None {
        return Ok(Vec::new());
    }
    Err(CloudError::Refused("this program was built without Amazon EC2".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &[&str]) -> Config {
        let given = ["node.id=n1", "mesh.ca=ca.pem", "mesh.cert=c.pem", "mesh.key=k.pem"];
        let settings: Vec<_> = given.iter().chain(more).map(|setting| (*setting).to_owned()).collect();
        Config::load(None, [], &settings).expect("loads")
    }

    #[tokio::test]
    async fn there_are_those_that_are_configured() {
        assert!(open(&config(&[])).await.expect("nothing to open").is_empty());
        let opened = open(&config(&["mesh.seeds_from_ec2=seeds", "scaling.ec2.region=eu-central-1"])).await;
        if cfg!(feature = "ec2") {
            assert_eq!(opened.expect("opens").len(), 1);
        } else {
            let problem = opened.expect_err("is not there").to_string();
            assert!(problem.contains("built without Amazon EC2"), "{problem}");
        }
    }
}
