//! The calls of DigitalOcean's API v2 that a mesh needs, with their limits.

use crate::scaler::cloud::CloudError;
use reqwest::{Method, Request, Response, StatusCode, Url, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

/// Droplets in one page: the most that the API gives.
const PAGE: u32 = 200;
/// The most pages of a list: more than 1,000 machines are not one mesh.
const MAX_PAGES: u32 = 10;
/// Longest answer, bytes. A droplet takes some 5,000.
const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// Longest part of an error's message that is passed on, characters.
const MAX_MESSAGE: usize = 300;

/// How long calls may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For one call of the trait, with all that it asks the API.
    pub call: Duration,
    /// For one request.
    pub request: Duration,
    /// The wait before a request is sent again, where the answer does not tell how long; it doubles.
    pub backoff: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(30),
            request: Duration::from_secs(10),
            backoff: Duration::from_millis(500),
        }
    }
}

/// A droplet, as far as it matters.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Droplet {
    pub id: u64,
    pub name: String,
    pub status: String,
    pub size_slug: String,
    pub created_at: String,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub networks: Networks,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Networks {
    #[serde(default)]
    pub v4: Vec<Network>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Network {
    pub ip_address: String,
    #[serde(rename = "type")]
    pub kind: String,
}

/// What a new droplet is to be.
#[derive(Debug, Serialize)]
pub(super) struct NewDroplet<'a> {
    pub name: String,
    pub region: &'a str,
    pub size: &'a str,
    pub image: serde_json::Value,
    pub ssh_keys: Vec<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc_uuid: Option<&'a str>,
    pub user_data: &'a str,
    pub tags: Vec<String>,
}

#[derive(Deserialize)]
struct Droplets {
    droplets: Vec<Droplet>,
    #[serde(default)]
    links: Links,
}

#[derive(Default, Deserialize)]
struct Links {
    #[serde(default)]
    pages: Pages,
}

#[derive(Default, Deserialize)]
struct Pages {
    next: Option<String>,
}

#[derive(Deserialize)]
struct One {
    droplet: Droplet,
}

#[derive(Deserialize)]
struct Sizes {
    sizes: Vec<Size>,
}

#[derive(Deserialize)]
struct Size {
    slug: String,
    price_hourly: f64,
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    id: String,
    #[serde(default)]
    message: String,
}

/// The API, with the token that opens it.
#[derive(Clone)]
pub(super) struct Api {
    client: reqwest::Client,
    endpoint: Url,
    authorization: header::HeaderValue,
    limits: Limits,
}

// By hand: the token must not be in any log.
impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("endpoint", &self.endpoint.as_str()).finish_non_exhaustive()
    }
}

impl Api {
    pub(super) fn new(endpoint: &str, token: &str, limits: Limits) -> Result<Self, String> {
        let endpoint: Url = endpoint
            .parse()
            .map_err(|error| format!("scaling.digitalocean.endpoint: {endpoint:?}: {error}"))?;
        if endpoint.cannot_be_a_base() {
            return Err(format!("scaling.digitalocean.endpoint: {endpoint} is no address of a server"));
        }
        let mut authorization = header::HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| "scaling.digitalocean.token_file has what is no token".to_owned())?;
        authorization.set_sensitive(true);
        let client = reqwest::Client::builder()
            .connect_timeout(limits.request.min(Duration::from_secs(3)))
            .timeout(limits.request)
            // Nothing moves there, and a token goes nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Self { client, endpoint, authorization, limits })
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.limits.call
    }

    /// All droplets for which the API's filter holds; `tag_name` or `name`.
    pub(super) async fn droplets(
        &self,
        filter: (&str, &str),
        deadline: Instant,
    ) -> Result<Vec<Droplet>, CloudError> {
        let mut droplets = Vec::new();
        for page in 1..=MAX_PAGES {
            let mut url = self.url("/v2/droplets");
            url.query_pairs_mut()
                .append_pair(filter.0, filter.1)
                .append_pair("per_page", &PAGE.to_string())
                .append_pair("page", &page.to_string());
            let answer: Droplets = self.get(url, deadline).await?;
            droplets.extend(answer.droplets);
            // Only whether there is one: its address need not be one that the token may go to.
            if answer.links.pages.next.is_none() {
                return Ok(droplets);
            }
        }
        Err(CloudError::Unreachable(format!("the list has more than {MAX_PAGES} pages")))
    }

    /// A droplet; none where there is none of that id.
    pub(super) async fn droplet(&self, id: u64, deadline: Instant) -> Result<Option<Droplet>, CloudError> {
        let url = self.url(&format!("/v2/droplets/{id}"));
        let answer = self.send(self.request(Method::GET, url), true, deadline).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            _ => Ok(Some(parsed::<One>(answer).await?.droplet)),
        }
    }

    /// Makes a droplet, once.
    pub(super) async fn create(
        &self,
        new: &NewDroplet<'_>,
        deadline: Instant,
    ) -> Result<Droplet, CloudError> {
        let url = self.url("/v2/droplets");
        Ok(parsed::<One>(self.post(url, new, deadline).await?).await?.droplet)
    }

    /// Has a droplet do something, such as `power_on`.
    pub(super) async fn act(&self, id: u64, what: &str, deadline: Instant) -> Result<(), CloudError> {
        let url = self.url(&format!("/v2/droplets/{id}/actions"));
        bounded(self.post(url, &serde_json::json!({ "type": what }), deadline).await?).await.map(drop)
    }

    /// Ends a droplet. One that is not there is ended.
    pub(super) async fn delete(&self, id: u64, deadline: Instant) -> Result<(), CloudError> {
        let url = self.url(&format!("/v2/droplets/{id}"));
        let answer = self.send(self.request(Method::DELETE, url), true, deadline).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(()),
            _ => bounded(answer).await.map(drop),
        }
    }

    /// What a size costs an hour, in US dollars.
    pub(super) async fn price(&self, size: &str, deadline: Instant) -> Option<f64> {
        let mut url = self.url("/v2/sizes");
        url.query_pairs_mut().append_pair("per_page", &PAGE.to_string());
        let sizes: Sizes = self.get(url, deadline).await.ok()?;
        sizes.sizes.into_iter().find(|one| one.slug == size).map(|one| one.price_hourly)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.endpoint.clone();
        url.set_path(path);
        url
    }

    fn request(&self, method: Method, url: Url) -> Request {
        let mut request = Request::new(method, url);
        request.headers_mut().insert(header::AUTHORIZATION, self.authorization.clone());
        request
    }

    async fn get<T: DeserializeOwned>(&self, url: Url, deadline: Instant) -> Result<T, CloudError> {
        parsed(self.send(self.request(Method::GET, url), true, deadline).await?).await
    }

    async fn post(&self, url: Url, body: &impl Serialize, deadline: Instant) -> Result<Response, CloudError> {
        let body = serde_json::to_vec(body).map_err(|error| CloudError::Refused(error.to_string()))?;
        let mut request = self.request(Method::POST, url);
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(body.into());
        self.send(request, false, deadline).await
    }

    /// Sends until there is an answer that means something or no time left. What may have been done is not sent again,
    /// unless doing it twice is as good as once.
    async fn send(&self, request: Request, again: bool, deadline: Instant) -> Result<Response, CloudError> {
        let mut wait = self.limits.backoff;
        loop {
            let copy =
                request.try_clone().ok_or_else(|| CloudError::Refused("cannot be sent twice".to_owned()))?;
            let left = deadline.saturating_duration_since(Instant::now());
            let sent = tokio::time::timeout(left, self.client.execute(copy)).await;
            let (error, pause) = match sent {
                Err(_) => {
                    return Err(CloudError::Unreachable(format!("no answer within {:?}", self.limits.call)));
                }
                Ok(Ok(answer))
                    if answer.status().is_success() || answer.status() == StatusCode::NOT_FOUND =>
                {
                    return Ok(answer);
                }
                Ok(Ok(answer)) => {
                    let pause = retry_after(&answer);
                    let error = refusal(answer).await;
                    match &error {
                        CloudError::Throttled(_) => (error, pause.unwrap_or(wait)),
                        CloudError::Unreachable(_) if again => (error, wait),
                        _ => return Err(error),
                    }
                }
                // Its address holds no secret, but says nothing that the caller does not know either.
                Ok(Err(error)) => {
                    let never_sent = error.is_connect();
                    let error = CloudError::Unreachable(with_causes(&error.without_url()));
                    if !(again || never_sent) {
                        return Err(error);
                    }
                    (error, wait)
                }
            };
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            wait = wait.saturating_mul(2);
        }
    }
}

/// For how many seconds nothing more is to be asked.
fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// What an answer means that is no success.
async fn refusal(answer: Response) -> CloudError {
    let status = answer.status();
    let said = match bounded(answer).await {
        Ok(body) => serde_json::from_slice(&body).unwrap_or_default(),
        Err(_) => Said::default(),
    };
    let text: String =
        format!("HTTP {status}: {} {}", said.id, said.message).chars().take(MAX_MESSAGE).collect();
    let message = said.message.to_lowercase();
    // There is no code for these: 422 stands for every wrong word as well.
    let full = ["droplet limit", "not available", "unavailable", "out of capacity"];
    match status.as_u16() {
        429 => CloudError::Throttled(text),
        422 if full.iter().any(|words| message.contains(words)) => CloudError::NoCapacity(text),
        400..500 => CloudError::Refused(text),
        _ => CloudError::Unreachable(text),
    }
}

async fn parsed<T: DeserializeOwned>(answer: Response) -> Result<T, CloudError> {
    if answer.status() == StatusCode::NOT_FOUND {
        return Err(refusal(answer).await);
    }
    let body = bounded(answer).await?;
    serde_json::from_slice(&body)
        .map_err(|error| CloudError::Unreachable(format!("an answer that is none: {error}")))
}

async fn bounded(mut answer: Response) -> Result<Vec<u8>, CloudError> {
    let mut body = Vec::new();
    let broken = |error: reqwest::Error| CloudError::Unreachable(with_causes(&error.without_url()));
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(CloudError::Unreachable(format!("an answer of more than {MAX_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error with what it comes from, which says what was wrong.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    causes.collect::<Vec<_>>().join(": ").chars().take(MAX_MESSAGE).collect()
}
