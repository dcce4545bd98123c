//! What an instance can ask about itself: the instance metadata service, version 2 (a token first).

use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_ec2::primitives::{DateTime, DateTimeFormat};
use serde::Deserialize;
use std::time::{Duration, SystemTime};

/// For one question. The service answers on the same host.
const ATTEMPT: Duration = Duration::from_secs(1);
/// For one question with its token and its second attempt.
const DEADLINE: Duration = Duration::from_secs(4);
/// Longest answer that is looked at, bytes. All of them are some dozens.
const MAX_ANSWER: usize = 4096;

/// Why the metadata service told nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Its configured address is none.
    #[error("scaling.ec2.metadata: {0}")]
    Address(String),
    /// It is not there, or slow: most often this is no EC2 instance, or a container one hop too far.
    #[error("the metadata service does not answer: {0}")]
    Unreachable(String),
    /// It has nothing of that name.
    #[error("the metadata service has no {0}")]
    Missing(&'static str),
    /// It answered what makes no sense.
    #[error("the metadata service answers {0} with what is none: {1}")]
    Senseless(&'static str, String),
}

/// The metadata service of the instance that this process runs on.
#[derive(Debug, Clone)]
pub struct Metadata {
    client: Client,
}

/// The notice that a spot instance gets two minutes before it is taken away (EC2 user guide, "Spot Instance
/// interruption notices").
#[derive(Deserialize)]
struct InstanceAction {
    time: String,
}

impl Metadata {
    /// The service at `endpoint`, or at the usual address.
    ///
    /// # Errors
    /// When the endpoint is no address.
    pub fn new(endpoint: Option<&str>) -> Result<Self, MetadataError> {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let mut builder = Client::builder()
            .configure(&ProviderConfig::without_region().with_http_client(http))
            .max_attempts(2)
            .connect_timeout(ATTEMPT)
            .read_timeout(ATTEMPT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(DEADLINE);
        if let Some(endpoint) = endpoint {
            let wrong = |error: Box<dyn std::error::Error + Send + Sync>| {
                MetadataError::Address(format!("{endpoint:?} is no address: {error}"))
            };
            builder = builder.endpoint(endpoint).map_err(wrong)?;
        }
        Ok(Self { client: builder.build() })
    }

    /// The own instance's id.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub async fn instance_id(&self) -> Result<String, MetadataError> {
        const WHAT: &str = "instance-id";
        self.get(WHAT).await?.ok_or(MetadataError::Missing(WHAT))
    }

    /// The zone that it is in.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub async fn zone(&self) -> Result<String, MetadataError> {
        const WHAT: &str = "placement/availability-zone";
        self.get(WHAT).await?.ok_or(MetadataError::Missing(WHAT))
    }

    /// When this spot instance will be taken away; none where it may stay, or is no spot instance.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub async fn interruption(&self) -> Result<Option<SystemTime>, MetadataError> {
        const WHAT: &str = "spot/instance-action";
        let Some(notice) = self.get(WHAT).await? else { return Ok(None) };
        let senseless = || MetadataError::Senseless(WHAT, notice.chars().take(200).collect());
        let action: InstanceAction = serde_json::from_str(&notice).map_err(|_| senseless())?;
        let time = DateTime::from_str(&action.time, DateTimeFormat::DateTime).map_err(|_| senseless())?;
        SystemTime::try_from(time).map(Some).map_err(|_| senseless())
    }

    async fn get(&self, what: &'static str) -> Result<Option<String>, MetadataError> {
        let asked = self.client.get(format!("/latest/meta-data/{what}"));
        // The client's own limits do not cover the token.
        let answer = tokio::time::timeout(DEADLINE, asked)
            .await
            .map_err(|_| MetadataError::Unreachable(format!("no answer within {DEADLINE:?}")))?;
        match answer {
            Ok(text) if text.as_ref().len() > MAX_ANSWER => {
                Err(MetadataError::Senseless(what, format!("{} bytes", text.as_ref().len())))
            }
            Ok(text) => Ok(Some(text.as_ref().to_owned())),
            Err(ImdsError::ErrorResponse(answer)) if answer.response().status().as_u16() == 404 => Ok(None),
            Err(error) => {
                let error = aws_sdk_ec2::error::DisplayErrorContext(&error).to_string();
                Err(MetadataError::Unreachable(error.chars().take(300).collect()))
            }
        }
    }
}
