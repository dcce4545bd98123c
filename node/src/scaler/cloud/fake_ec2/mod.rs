//! Amazon EC2 as far as a mesh uses it, on loopback, for tests: stricter than EC2 where strictness finds mistakes,
//! and as unhelpful as EC2 can be: instances that are not visible yet, throttling, no capacity, answers that are lost.
//!
//! It speaks EC2's query protocol (form in, XML out) and checks that a request is signed by a key that it knows, not
//! the signature itself. Parameters that it does not know are errors. Its clock moves by [`FakeEc2::advance`].

mod wire;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use wire::{escape, filters, form, item, matches, numbered, only, tags};

/// How the fake behaves.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The access key id that requests are signed by.
    pub access_key: String,
    /// The launch templates that exist, as id and version.
    pub templates: BTreeSet<(String, String)>,
    /// The subnets that exist, each with its zone.
    pub subnets: BTreeMap<String, String>,
    /// The instance types that exist.
    pub types: BTreeSet<String>,
    /// What cannot be had now, as zone and type. EC2 says so with HTTP 500.
    pub no_capacity: BTreeSet<(String, String)>,
    /// The most instances that are not terminated.
    pub quota: usize,
    /// From how many `DescribeInstances` on a new instance is visible.
    pub unseen: u32,
    /// Every n-th request is throttled.
    pub throttle_every: Option<u64>,
    /// The most instances in one page, whatever is asked for.
    pub page: usize,
    /// From pending to running, on the fake's clock.
    pub boot: Duration,
    /// From stopping to stopped and from shutting down to terminated.
    pub end: Duration,
    /// For so long a terminated instance is listed.
    pub listed_after_end: Duration,
    /// Whether a token whose instance is terminated is answered with the error `IdempotentInstanceTerminated`; with
    /// the terminated instance otherwise. EC2 does both.
    pub ended_is_error: bool,
    /// Whether the clock also moves by itself, as whole-mesh tests need it.
    pub real_time: bool,
}

impl Default for Rules {
    fn default() -> Self {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Self {
            access_key: "AKIDFAKE".to_owned(),
            templates: [("lt-0123456789abcdef0".to_owned(), "3".to_owned())].into(),
            subnets: texts(&["subnet-a", "subnet-b"]).into_iter().zip(texts(&["zone-a", "zone-b"])).collect(),
            types: texts(&["c7a.large", "c7a.xlarge"]).into_iter().collect(),
            no_capacity: BTreeSet::new(),
            quota: 1000,
            unseen: 0,
            throttle_every: None,
            page: 1000,
            boot: Duration::from_secs(20),
            end: Duration::from_secs(20),
            listed_after_end: Duration::from_secs(3600),
            ended_is_error: false,
            real_time: false,
        }
    }
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// An error of EC2's, and nothing is done.
    Error {
        /// The HTTP status.
        status: u16,
        /// EC2's code, such as `UnauthorizedOperation`.
        code: &'static str,
    },
    /// It is not allowed, which EC2 says in these words, and nothing is done.
    Denied {
        /// EC2's message.
        message: &'static str,
    },
    /// It is done, and the connection breaks within the answer.
    LostAnswer,
    /// Nothing is done, and the connection breaks.
    LostAsking,
    /// Nothing is done and nothing answered, and the connection stays.
    Silence,
}

/// An instance.
#[derive(Debug, Clone)]
pub struct FakeInstance {
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Its zone.
    pub zone: String,
    /// Its subnet.
    pub subnet: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The tags of its volumes.
    pub volume_tags: BTreeMap<String, String>,
    /// What it was launched with, still in base64.
    pub user_data: String,
    /// Whether it is a spot instance.
    pub spot: bool,
    /// How it is now: EC2's name of the state.
    pub state: &'static str,
    /// When it was launched or started last.
    pub launched: SystemTime,
    address: String,
    changes: Vec<(SystemTime, &'static str)>,
    unseen: u32,
}

impl FakeInstance {
    fn state_at(&self, now: SystemTime) -> &'static str {
        self.changes.iter().rev().find(|(at, _)| *at <= now).map_or("pending", |(_, state)| state)
    }

    fn goes(&mut self, now: SystemTime, after: Duration, first: &'static str, then: &'static str) {
        self.changes = vec![(now, first), (now + after, then)];
    }
}

struct World {
    rules: Rules,
    now: SystemTime,
    instances: Vec<FakeInstance>,
    /// By token and zone: the parameters, and which instance they gave.
    tokens: BTreeMap<(String, String), (Parameters, usize)>,
    failures: VecDeque<(&'static str, Failure)>,
    calls: BTreeMap<String, u64>,
    requests: u64,
}

type Parameters = BTreeMap<String, String>;

/// The server; it ends with this value.
pub struct FakeEc2 {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for FakeEc2 {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeEc2 {
    /// Starts one on a free port of loopback.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn start(rules: Rules) -> std::io::Result<Self> {
        let world = World {
            rules,
            now: SystemTime::now(),
            instances: Vec::new(),
            tokens: BTreeMap::new(),
            failures: VecDeque::new(),
            calls: BTreeMap::new(),
            requests: 0,
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

    /// Its address: what `scaling.ec2.endpoint` says.
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

    /// The next requests of this action fail so, in the order of these calls.
    pub fn fail_next(&self, action: &'static str, failures: impl IntoIterator<Item = Failure>) {
        self.world.lock().failures.extend(failures.into_iter().map(|failure| (action, failure)));
    }

    /// All instances, whose ever they are, as they are now.
    pub fn instances(&self) -> Vec<FakeInstance> {
        let mut world = self.world.lock();
        let now = world.clock();
        let state =
            |instance: &FakeInstance| FakeInstance { state: instance.state_at(now), ..instance.clone() };
        world.instances.iter().map(state).collect()
    }

    /// How many requests of an action arrived, failed ones among them.
    pub fn calls(&self, action: &str) -> u64 {
        self.world.lock().calls.get(action).copied().unwrap_or(0)
    }

    /// The cloud takes an instance away at once.
    pub fn kill(&self, id: &str) {
        let mut world = self.world.lock();
        let now = world.clock();
        if let Some(instance) = world.instances.iter_mut().find(|instance| instance.id == id) {
            instance.goes(now, Duration::ZERO, "terminated", "terminated");
        }
    }

    /// Gives an instance another private address.
    pub fn set_address(&self, id: &str, address: &str) {
        let mut world = self.world.lock();
        if let Some(instance) = world.instances.iter_mut().find(|instance| instance.id == id) {
            address.clone_into(&mut instance.address);
        }
    }

    /// A running instance that nobody launched here.
    pub fn add(&self, tags: &[(&str, &str)]) -> String {
        let mut world = self.world.lock();
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let index = world.add(Parameters::new(), "zone-a".to_owned(), tags, BTreeMap::new());
        let now = world.clock();
        let instance = &mut world.instances[index];
        instance.goes(now, Duration::ZERO, "running", "running");
        instance.unseen = 0;
        instance.id.clone()
    }
}

struct Wrong(u16, &'static str, String);

fn wrong<T>(code: &'static str, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong(400, code, message.into()))
}

async fn answer(State(world): State<Arc<Mutex<World>>>, headers: HeaderMap, body: Bytes) -> Response {
    let parameters = form(&body);
    let action = parameters.get("Action").cloned().unwrap_or_default();
    let (failure, answer) = {
        let mut world = world.lock();
        let failure = world.failure(&action);
        match &failure {
            Some(Failure::LostAsking | Failure::Silence) => (failure, Ok(String::new())),
            Some(Failure::Error { status, code }) => {
                let answer = Err(Wrong(*status, code, "so it was ordered".to_owned()));
                (failure, answer)
            }
            Some(Failure::Denied { message }) => {
                let answer = Err(Wrong(403, "UnauthorizedOperation", (*message).to_owned()));
                (failure, answer)
            }
            _ => (failure, world.perform(&action, &headers, parameters)),
        }
    };
    match failure {
        Some(Failure::Silence) => std::future::pending::<Response>().await,
        Some(Failure::LostAsking | Failure::LostAnswer) => {
            let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("broken")) });
            ([(header::CONTENT_LENGTH, "1000")], Body::from_stream(broken)).into_response()
        }
        _ => {
            let kind = [(header::CONTENT_TYPE, "text/xml;charset=UTF-8")];
            match answer {
                Ok(xml) => (kind, xml).into_response(),
                Err(Wrong(status, code, message)) => {
                    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
                    let message = escape(&message);
                    let xml = format!(
                        "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
                         <RequestID>fake</RequestID></Response>"
                    );
                    (status, kind, xml).into_response()
                }
            }
        }
    }
}

impl World {
    fn clock(&mut self) -> SystemTime {
        if self.rules.real_time {
            // What `advance` added stays: the clock never goes back.
            self.now = self.now.max(SystemTime::now());
        }
        self.now
    }

    fn failure(&mut self, action: &str) -> Option<Failure> {
        *self.calls.entry(action.to_owned()).or_default() += 1;
        self.requests += 1;
        if let Some(at) = self.failures.iter().position(|(of, _)| *of == action) {
            return self.failures.remove(at).map(|(_, failure)| failure);
        }
        let throttled = self.rules.throttle_every.is_some_and(|every| self.requests.is_multiple_of(every));
        throttled.then_some(Failure::Error { status: 503, code: "RequestLimitExceeded" })
    }

    fn perform(
        &mut self,
        action: &str,
        headers: &HeaderMap,
        mut parameters: Parameters,
    ) -> Result<String, Wrong> {
        let signed =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !signed.starts_with(&format!("AWS4-HMAC-SHA256 Credential={}/", self.rules.access_key)) {
            return Err(Wrong(401, "AuthFailure", "the request is not signed by a known key".to_owned()));
        }
        parameters.remove("Action");
        if parameters.remove("Version").as_deref() != Some("2016-11-15") {
            return wrong("NoSuchVersion", "the version is not 2016-11-15");
        }
        match action {
            "RunInstances" => self.run(parameters),
            "DescribeInstances" => self.describe(&parameters),
            "TerminateInstances" => self.change(action, &parameters),
            "StartInstances" => self.change(action, &parameters),
            "StopInstances" => self.change(action, &parameters),
            _ => wrong("InvalidAction", format!("the action {action} is not valid for this web service")),
        }
    }

    fn run(&mut self, mut parameters: Parameters) -> Result<String, Wrong> {
        only(
            &parameters,
            &[
                "ClientToken",
                "InstanceMarketOptions.MarketType",
                "InstanceType",
                "LaunchTemplate.",
                "MaxCount",
                "MinCount",
                "SubnetId",
                "TagSpecification.",
                "UserData",
            ],
        )?;
        let of = |key: &str| parameters.get(key).map(String::as_str).unwrap_or_default();
        if (of("MinCount"), of("MaxCount")) != ("1", "1") {
            return wrong("InvalidParameterValue", "MinCount and MaxCount must be 1 here");
        }
        let template = (of("LaunchTemplate.LaunchTemplateId"), of("LaunchTemplate.Version"));
        if !self.rules.templates.iter().any(|(id, _)| id == template.0) {
            return wrong("InvalidLaunchTemplateId.NotFound", format!("{} does not exist", template.0));
        }
        if !self.rules.templates.contains(&(template.0.to_owned(), template.1.to_owned())) {
            return wrong("InvalidLaunchTemplateId.VersionNotFound", format!("version {}", template.1));
        }
        if !self.rules.types.contains(of("InstanceType")) {
            return wrong(
                "InvalidParameterValue",
                format!("Invalid value '{}' for InstanceType", of("InstanceType")),
            );
        }
        let Some(zone) = self.rules.subnets.get(of("SubnetId")).cloned() else {
            return wrong(
                "InvalidSubnetID.NotFound",
                format!("The subnet ID '{}' does not exist", of("SubnetId")),
            );
        };
        let token = of("ClientToken").to_owned();
        if token.is_empty() || token.len() > 64 || !token.is_ascii() {
            return wrong("InvalidParameterValue", "ClientToken must be 1 to 64 ASCII characters here");
        }
        let user_data = of("UserData").to_owned();
        if user_data.len() % 4 != 0
            || !user_data.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
        {
            return wrong("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data");
        }
        let kind = of("InstanceType").to_owned();
        parameters.remove("ClientToken");
        let key = (token, zone.clone());
        if let Some((before, index)) = self.tokens.get(&key) {
            if *before != parameters {
                return wrong(
                    "IdempotentParameterMismatch",
                    "Arguments on this idempotent request are inconsistent",
                );
            }
            let (index, now) = (*index, self.clock());
            let ended = self.instances[index].state_at(now) == "terminated";
            if ended && self.rules.ended_is_error {
                return wrong(
                    "IdempotentInstanceTerminated",
                    "the instance of this client token is terminated",
                );
            }
            return Ok(self.ran(index));
        }
        if self.rules.no_capacity.contains(&(zone.clone(), kind.clone())) {
            let message = format!("We currently do not have sufficient {kind} capacity in {zone}");
            return Err(Wrong(500, "InsufficientInstanceCapacity", message));
        }
        let now = self.clock();
        let alive = self.instances.iter().filter(|instance| instance.state_at(now) != "terminated").count();
        if alive >= self.rules.quota {
            return wrong(
                "VcpuLimitExceeded",
                "You have requested more vCPU capacity than your current limit",
            );
        }
        let (tags, volume_tags) = (tags(&parameters, "instance")?, tags(&parameters, "volume")?);
        let index = self.add(parameters.clone(), zone, tags, volume_tags);
        self.tokens.insert(key, (parameters, index));
        Ok(self.ran(index))
    }

    fn add(
        &mut self,
        mut parameters: Parameters,
        zone: String,
        tags: BTreeMap<String, String>,
        volume_tags: BTreeMap<String, String>,
    ) -> usize {
        let (index, now) = (self.instances.len(), self.clock());
        let mut take = |key: &str| parameters.remove(key).unwrap_or_default();
        let mut instance = FakeInstance {
            id: format!("i-{:017x}", index + 1),
            kind: take("InstanceType"),
            zone,
            subnet: take("SubnetId"),
            tags,
            volume_tags,
            user_data: take("UserData"),
            spot: take("InstanceMarketOptions.MarketType") == "spot",
            state: "pending",
            launched: now,
            address: format!("10.0.{}.{}", index / 250, index % 250 + 4),
            changes: Vec::new(),
            unseen: self.rules.unseen,
        };
        instance.goes(now, self.rules.boot, "pending", "running");
        self.instances.push(instance);
        index
    }

    fn ran(&mut self, index: usize) -> String {
        let now = self.clock();
        let item = item(&self.instances[index], now);
        format!(
            "<RunInstancesResponse><reservationId>r-1</reservationId><instancesSet>{item}</instancesSet></RunInstancesResponse>"
        )
    }

    fn describe(&mut self, parameters: &Parameters) -> Result<String, Wrong> {
        only(parameters, &["Filter.", "InstanceId.", "MaxResults", "NextToken"])?;
        let now = self.clock();
        let ids = numbered(parameters, "InstanceId");
        if !ids.is_empty() && parameters.contains_key("MaxResults") {
            return wrong(
                "InvalidParameterCombination",
                "MaxResults and InstanceIds cannot be used together",
            );
        }
        let mut most = self.rules.page;
        if let Some(asked) = parameters.get("MaxResults") {
            match asked.parse::<usize>() {
                Ok(asked) if (5..=1000).contains(&asked) => most = most.min(asked),
                _ => return wrong("InvalidParameterValue", format!("MaxResults {asked}")),
            }
        }
        let from = match parameters.get("NextToken").map(|token| token.strip_prefix("page-").map(str::parse))
        {
            None => 0,
            Some(Some(Ok(from))) => from,
            Some(_) => return wrong("InvalidParameterValue", "Unable to parse pagination token"),
        };
        let filters = filters(parameters)?;
        let mut shown = Vec::new();
        for (index, instance) in self.instances.iter_mut().enumerate() {
            let gone = instance.state_at(now) == "terminated"
                && instance.changes.last().is_some_and(|(at, _)| *at + self.rules.listed_after_end <= now);
            if instance.unseen > 0 {
                instance.unseen -= 1;
            } else if !gone {
                shown.push(index);
            }
        }
        if let Some(id) = ids.iter().find(|id| !shown.iter().any(|index| self.instances[*index].id == **id)) {
            return wrong("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"));
        }
        shown.retain(|index| {
            let instance = &self.instances[*index];
            let chosen = ids.is_empty() || ids.contains(&instance.id);
            *index >= from && chosen && filters.iter().all(|filter| matches(filter, instance, now))
        });
        let next = shown.get(most).map(|index| format!("<nextToken>page-{index}</nextToken>"));
        let mut sets = String::new();
        for index in shown.iter().take(most) {
            let item = item(&self.instances[*index], now);
            let _ = write!(
                sets,
                "<item><reservationId>r-{index}</reservationId><instancesSet>{item}</instancesSet></item>"
            );
        }
        let next = next.unwrap_or_default();
        Ok(format!(
            "<DescribeInstancesResponse><reservationSet>{sets}</reservationSet>{next}</DescribeInstancesResponse>"
        ))
    }

    fn change(&mut self, action: &str, parameters: &Parameters) -> Result<String, Wrong> {
        only(parameters, &["InstanceId."])?;
        let (now, end, boot) = (self.clock(), self.rules.end, self.rules.boot);
        let ids = numbered(parameters, "InstanceId");
        let [id] = &ids[..] else { return wrong("InvalidParameterValue", "one instance id is needed here") };
        let Some(instance) =
            self.instances.iter_mut().find(|instance| instance.id == *id && instance.unseen == 0)
        else {
            return wrong("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"));
        };
        match (action, instance.state_at(now)) {
            ("TerminateInstances", "terminated" | "shutting-down") => {}
            ("TerminateInstances", _) => instance.goes(now, end, "shutting-down", "terminated"),
            ("StopInstances", "stopping" | "stopped") | ("StartInstances", "pending" | "running") => {}
            ("StopInstances", _) if instance.spot => {
                return wrong("UnsupportedOperation", "a one-time spot instance cannot be stopped");
            }
            ("StopInstances", "running") => instance.goes(now, end, "stopping", "stopped"),
            ("StartInstances", "stopped") => {
                instance.goes(now, boot, "pending", "running");
                instance.launched = now;
            }
            (_, state) => {
                let message =
                    format!("The instance '{id}' is not in a state from which this is possible: {state}");
                return wrong("IncorrectInstanceState", message);
            }
        }
        let state = instance.state_at(now);
        let item = format!("<instanceId>{id}</instanceId><currentState><name>{state}</name></currentState>");
        Ok(format!("<{action}Response><instancesSet><item>{item}</item></instancesSet></{action}Response>"))
    }
}
