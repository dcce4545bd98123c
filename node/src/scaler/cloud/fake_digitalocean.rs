//! DigitalOcean's API v2 as far as a mesh uses it, on loopback, for tests. Like the real one it has no client token:
//! two requests for one name make two droplets.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How the fake behaves.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The token that it takes.
    pub token: String,
    /// The sizes that exist, and what they cost an hour.
    pub sizes: BTreeMap<String, f64>,
    /// The most droplets of the account.
    pub limit: usize,
    /// How many lists do not show a new droplet yet.
    pub unseen: u32,
    /// The most droplets in one page, whatever is asked for.
    pub page: usize,
    /// From new to active, on the fake's clock.
    pub boot: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        let sizes = [("s-1vcpu-1gb", 0.00893), ("c-4", 0.125)];
        Self {
            token: "dop_v1_fake".to_owned(),
            sizes: sizes.into_iter().map(|(name, price)| (name.to_owned(), price)).collect(),
            limit: 1000,
            unseen: 0,
            page: 200,
            boot: Duration::from_secs(30),
        }
    }
}

/// What happens to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// This status, with this many seconds in `Retry-After` where there are any, and nothing is done.
    Status(u16, Option<u64>),
    /// It is done, and the connection breaks within the answer.
    LostAnswer,
    /// Nothing is done, and the connection breaks.
    LostAsking,
    /// An answer without end.
    Endless,
}

/// A droplet.
#[derive(Debug, Clone)]
pub struct FakeDroplet {
    /// Its id.
    pub id: u64,
    /// What it was made of: the body of the request.
    pub asked: Value,
    /// How it is.
    pub status: &'static str,
    created: SystemTime,
    unseen: u32,
}

struct World {
    rules: Rules,
    now: SystemTime,
    next: u64,
    droplets: Vec<FakeDroplet>,
    failures: VecDeque<(Method, Failure)>,
    requests: Vec<String>,
}

/// The server; it ends with this value.
pub struct FakeDigitalOcean {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for FakeDigitalOcean {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeDigitalOcean {
    /// Starts one on a free port of loopback.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn start(rules: Rules) -> std::io::Result<Self> {
        let world = World {
            rules,
            now: SystemTime::now(),
            next: 300_000_001,
            droplets: Vec::new(),
            failures: VecDeque::new(),
            requests: Vec::new(),
        };
        let world = Arc::new(Mutex::new(world));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(answer).with_state(Arc::clone(&world));
        let server = tokio::spawn(async move {
            // It ends when the test does.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, world, server })
    }

    /// Its address: what `scaling.digitalocean.endpoint` says.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Moves its clock.
    pub fn advance(&self, by: Duration) {
        self.world.lock().now += by;
    }

    /// Changes how it behaves from here on.
    pub fn change(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.world.lock().rules);
    }

    /// The next requests of this method fail so, in the order of these calls.
    pub fn fail_next(&self, method: &Method, failures: impl IntoIterator<Item = Failure>) {
        self.world.lock().failures.extend(failures.into_iter().map(|failure| (method.clone(), failure)));
    }

    /// All droplets, as they are now.
    pub fn droplets(&self) -> Vec<FakeDroplet> {
        let mut world = self.world.lock();
        world.boot();
        world.droplets.clone()
    }

    /// Each request that arrived, as method and path, failed ones among them.
    pub fn requests(&self) -> Vec<String> {
        self.world.lock().requests.clone()
    }

    /// A droplet made by hand, of which the body of the request would have been this.
    pub fn add(&self, asked: Value) -> u64 {
        let mut world = self.world.lock();
        let id = world.add(asked);
        if let Some(droplet) = world.droplets.last_mut() {
            droplet.unseen = 0;
        }
        id
    }
}

type Said = (u16, Value);

fn wrong(status: u16, id: &str, message: &str) -> Said {
    (status, json!({ "id": id, "message": message, "request_id": "fake" }))
}

async fn answer(
    State(world): State<Arc<Mutex<World>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (failure, (status, said)) = {
        let mut world = world.lock();
        world.requests.push(format!("{method} {}", uri.path()));
        let at = world.failures.iter().position(|(of, _)| *of == method);
        let failure = at.and_then(|at| world.failures.remove(at)).map(|(_, failure)| failure);
        let said = match &failure {
            Some(Failure::Status(status, _)) => wrong(*status, "ordered", "so it was ordered"),
            Some(Failure::LostAsking | Failure::Endless) => (200, Value::Null),
            _ => world.perform(&method, &uri, &headers, &body),
        };
        (failure, said)
    };
    match failure {
        Some(Failure::LostAsking | Failure::LostAnswer) => {
            let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("broken")) });
            return ([(header::CONTENT_LENGTH, "1000")], Body::from_stream(broken)).into_response();
        }
        Some(Failure::Endless) => {
            let spaces =
                futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 65_536])));
            return Body::from_stream(spaces).into_response();
        }
        _ => {}
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = if said.is_null() { String::new() } else { said.to_string() };
    let mut answer = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    if let Some(Failure::Status(_, Some(seconds))) = failure {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

impl World {
    fn boot(&mut self) {
        for droplet in &mut self.droplets {
            if droplet.status == "new" && droplet.created + self.rules.boot <= self.now {
                droplet.status = "active";
            }
        }
    }

    fn perform(&mut self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Said {
        self.boot();
        let signed = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if signed != Some(&format!("Bearer {}", self.rules.token)) {
            return wrong(401, "Unauthorized", "Unable to authenticate you");
        }
        let query: BTreeMap<&str, &str> =
            uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')).collect();
        let parts: Vec<&str> = uri.path().split('/').skip(1).collect();
        match (method.as_str(), &parts[..]) {
            ("GET", ["v2", "droplets"]) => self.list(uri.path(), &query),
            ("POST", ["v2", "droplets"]) => self.create(body),
            ("GET", ["v2", "sizes"]) => {
                let size = |(slug, price): (&String, &f64)| json!({ "slug": slug, "price_hourly": price });
                (200, json!({ "sizes": self.rules.sizes.iter().map(size).collect::<Vec<_>>(), "links": {} }))
            }
            (_, ["v2", "droplets", id, rest @ ..]) => {
                let index = self.droplets.iter().position(|droplet| droplet.id.to_string() == **id);
                let Some(index) = index else {
                    return wrong(404, "not_found", "The resource you requested could not be found.");
                };
                match (method.as_str(), rest) {
                    ("GET", []) => (200, json!({ "droplet": shown(&self.droplets[index]) })),
                    ("DELETE", []) => {
                        self.droplets.remove(index);
                        (204, Value::Null)
                    }
                    ("POST", ["actions"]) => self.act(index, body),
                    _ => wrong(404, "not_found", "no such call"),
                }
            }
            _ => wrong(404, "not_found", "no such call"),
        }
    }

    fn list(&mut self, path: &str, query: &BTreeMap<&str, &str>) -> Said {
        if query.contains_key("tag_name") && query.contains_key("name") {
            return wrong(422, "unprocessable_entity", "tag_name and name cannot be combined");
        }
        if let Some(key) = query.keys().find(|key| !["tag_name", "name", "per_page", "page"].contains(*key)) {
            return wrong(400, "bad_request", &format!("{key} is not known"));
        }
        let number = |key: &str, or: usize| query.get(key).map_or(Some(or), |value| value.parse().ok());
        let (Some(per_page @ 1..=200), Some(page @ 1..)) = (number("per_page", 20), number("page", 1)) else {
            return wrong(422, "unprocessable_entity", "per_page or page is out of range");
        };
        let per_page = per_page.min(self.rules.page);
        let mut chosen = Vec::new();
        for droplet in &mut self.droplets {
            let tagged =
                |tag: &&str| droplet.asked["tags"].as_array().is_some_and(|tags| tags.contains(&json!(tag)));
            if !query.get("tag_name").is_none_or(tagged)
                || !query.get("name").is_none_or(|name| droplet.asked["name"] == **name)
            {
                continue;
            }
            if droplet.unseen > 0 {
                droplet.unseen -= 1;
            } else {
                chosen.push(shown(droplet));
            }
        }
        let more = chosen.len() > page * per_page;
        let next = format!("https://elsewhere.invalid{path}?page={}", page + 1);
        let links = if more { json!({ "pages": { "next": next } }) } else { json!({}) };
        let droplets: Vec<_> = chosen.into_iter().skip((page - 1) * per_page).take(per_page).collect();
        (200, json!({ "droplets": droplets, "links": links, "meta": {} }))
    }

    fn create(&mut self, body: &[u8]) -> Said {
        let Ok(Value::Object(asked)) = serde_json::from_slice::<Value>(body) else {
            return wrong(400, "bad_request", "the body is no JSON object");
        };
        let known = ["name", "region", "size", "image", "ssh_keys", "vpc_uuid", "user_data", "tags"];
        if let Some(key) = asked.keys().find(|key| !known.contains(&key.as_str())) {
            return wrong(422, "unprocessable_entity", &format!("{key} is not known"));
        }
        let name = asked.get("name").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) {
            return wrong(422, "unprocessable_entity", "Only valid hostname characters are allowed.");
        }
        let tags = asked.get("tags").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let fits = |tag: &str| tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:".contains(&b));
        if !tags.iter().all(|tag| tag.as_str().is_some_and(fits)) {
            return wrong(422, "unprocessable_entity", "a tag has characters that tags do not have");
        }
        let size = asked.get("size").and_then(Value::as_str).unwrap_or_default();
        if !self.rules.sizes.contains_key(size) {
            return wrong(422, "unprocessable_entity", "You specified an invalid size for Droplet creation.");
        }
        if self.droplets.len() >= self.rules.limit {
            let message = "creating this/these droplet(s) will exceed your droplet limit";
            return wrong(422, "unprocessable_entity", message);
        }
        self.add(Value::Object(asked));
        (202, json!({ "droplet": self.droplets.last().map(shown), "links": {} }))
    }

    fn add(&mut self, asked: Value) -> u64 {
        let id = self.next;
        self.next += 1;
        let unseen = self.rules.unseen;
        self.droplets.push(FakeDroplet { id, asked, status: "new", created: self.now, unseen });
        id
    }

    fn act(&mut self, index: usize, body: &[u8]) -> Said {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let droplet = &mut self.droplets[index];
        droplet.status = match (asked["type"].as_str(), droplet.status) {
            (Some("power_on"), "off") => "active",
            (Some("power_off"), "active") => "off",
            (Some("power_on" | "power_off"), _) => {
                return wrong(422, "unprocessable_entity", "Droplet is not in a state for that");
            }
            _ => return wrong(422, "unprocessable_entity", "no such action"),
        };
        (201, json!({ "action": { "id": 1, "status": "in-progress" } }))
    }
}

fn shown(droplet: &FakeDroplet) -> Value {
    let host = droplet.id % 250;
    json!({
        "id": droplet.id,
        "name": droplet.asked["name"],
        "status": droplet.status,
        "size_slug": droplet.asked["size"],
        "created_at": humantime::format_rfc3339_seconds(droplet.created).to_string(),
        "tags": droplet.asked["tags"],
        "networks": { "v4": [
            { "ip_address": format!("203.0.113.{host}"), "type": "public" },
            { "ip_address": format!("10.1.0.{host}"), "type": "private" },
        ], "v6": [] },
    })
}
