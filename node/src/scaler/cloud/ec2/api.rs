//! The SDK's client, and lists that are whole.

use super::errors::{Capacity, cloud_error};
use crate::scaler::cloud::CloudError;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{SharedCredentialsProvider, SharedHttpClient};
use aws_sdk_ec2::types::{Filter, Instance};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use skein_bootstrap::config::Ec2Cloud;
use std::time::Duration;

/// The most pages of a list. One mesh ends near 1,000 nodes and EC2 forgets what is gone within an hour: more means
/// that the pages go in a circle.
const MAX_PAGES: usize = 100;

/// How long calls may take, and how often they are tried.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For one call with all its attempts, and for a whole list.
    pub call: Duration,
    /// For one attempt.
    pub attempt: Duration,
    /// How often one call is tried, the first one counted.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles, with a random share of it taken off.
    pub backoff: Duration,
    /// Machines in one page of a list, from 5 to 1,000.
    pub page: i32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(30),
            attempt: Duration::from_secs(10),
            attempts: 6,
            backoff: Duration::from_millis(500),
            page: 500,
        }
    }
}

/// EC2's API of one region.
#[derive(Debug, Clone)]
pub(super) struct Api {
    pub(super) client: Client,
    limits: Limits,
}

impl Api {
    /// Region and endpoint are the settings', where they have them. Nothing else of them is looked at.
    ///
    /// # Errors
    /// When no region is to be found.
    pub(super) async fn new(
        settings: &Ec2Cloud,
        limits: Limits,
        credentials: Option<SharedCredentialsProvider>,
    ) -> Result<Self, CloudError> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(limits.attempt.min(Duration::from_secs(3)))
            .operation_attempt_timeout(limits.attempt)
            .operation_timeout(limits.call)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(limits.attempts)
            .with_initial_backoff(limits.backoff)
            .with_max_backoff(Duration::from_secs(5));
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http_client())
            .timeout_config(timeouts)
            .retry_config(retries);
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(credentials) = credentials {
            loader = loader.credentials_provider(credentials);
        }
        let shared = loader.load().await;
        if shared.region().is_none() {
            return Err(CloudError::Refused(
                "scaling.ec2.region is missing, and nothing else tells it".to_owned(),
            ));
        }
        let mut config = aws_sdk_ec2::config::Builder::from(&shared).retry_classifier(Capacity);
        if let Some(endpoint) = &settings.endpoint {
            // Of EC2 alone: the credentials' services have addresses of their own.
            config = config.endpoint_url(endpoint);
        }
        Ok(Self { client: Client::from_conf(config.build()), limits })
    }

    /// All instances that pass the filters, each a filter's name and the value that is wanted. Not within a deadline:
    /// see [`Api::within`].
    ///
    /// # Errors
    /// When the list is not whole: half a list is none.
    pub(super) async fn instances(&self, filters: &[(String, &str)]) -> Result<Vec<Instance>, CloudError> {
        let filters: Vec<_> =
            filters.iter().map(|(name, value)| Filter::builder().name(name).values(*value).build()).collect();
        let mut instances = Vec::new();
        let mut next: Option<String> = None;
        // By hand: the SDK's own paginator ends quietly where a token comes twice, and half a list is none.
        for _ in 0..MAX_PAGES {
            let page = self.client.describe_instances().max_results(self.limits.page);
            let page = page.set_filters(Some(filters.clone())).set_next_token(next.clone());
            let page = page.send().await.map_err(|error| cloud_error(&error, None, None))?;
            let token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            let reservations = page.reservations.unwrap_or_default();
            instances.extend(
                reservations.into_iter().flat_map(|reservation| reservation.instances.unwrap_or_default()),
            );
            if token.is_none() {
                return Ok(instances);
            }
            if token == next {
                return Err(CloudError::Unreachable("the pages of the list go in a circle".to_owned()));
            }
            next = token;
        }
        Err(CloudError::Unreachable(format!("the list has more than {MAX_PAGES} pages")))
    }

    /// Ends what takes longer than a call may.
    ///
    /// # Errors
    /// The call's, and that it did not end in time.
    pub(super) async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, CloudError>> + Send,
    ) -> Result<T, CloudError> {
        let late = || CloudError::Unreachable(format!("no answer within {:?}", self.limits.call));
        tokio::time::timeout(self.limits.call, call).await.unwrap_or_else(|_| Err(late()))
    }
}

/// One HTTP client for calls and credentials, with the system's certificates.
fn http_client() -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new();
    builder.tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc)).build_https()
}
