//! Clients that wait, at an entry whose rooms' homes and hosts do what a test says.

use super::*;
use crate::mesh::Incoming;
use crate::mesh::tests::World;
use axum::extract::{State, ws::rejection::WebSocketUpgradeRejection};
use axum::routing::get;
use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use skein_proto::gossip::Lead;
use skein_proto::ids::{SessionId, WorkerAddress};
use skein_proto::room::RoomMode;
use skein_proto::rpc::{Admit, Admitted, Call, InLine, Open, Refusal, Reply, SessionFrame, Wait};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const LONG: Duration = Duration::from_secs(30);
/// How long this home lets who waits wait for an answer.
const POLL: Duration = Duration::from_millis(300);

/// The home of all rooms, and the host of all peers.
struct Home {
    node: skein_proto::ids::NodeId,
    place: tokio::sync::watch::Sender<bool>,
    asked: Mutex<Vec<Admit>>,
    unwaited: Mutex<Vec<SessionId>>,
}

impl Home {
    async fn answer(&self, call: Call) -> Reply {
        match call {
            Call::Admit(admit) => {
                self.asked.lock().push(admit.clone());
                let session = admit.line.map_or(SessionId { admitted_ms: 5, nonce: 6 }, |line| line.session);
                let line = InLine { session, since_ms: 5 };
                let mut place = self.place.subscribe();
                let patience = if admit.line.is_some() { POLL } else { Duration::ZERO };
                if tokio::time::timeout(patience, place.wait_for(|place| *place)).await.is_err() {
                    return Reply::Wait(Wait { line, eta_s: 40 });
                }
                let host = WorkerAddress { node: self.node.clone(), worker: 0 };
                let options = skein_proto::room::RoomOptions {
                    mode: RoomMode::Conference,
                    size: 9,
                    guaranteed: false,
                    last_n: 0,
                };
                let role = Role::Publish;
                Reply::Admitted(Admitted { session, host, role, options, from: None, quiet: false })
            }
            Call::Unwait(unwait) => {
                self.unwaited.lock().push(unwait.session);
                Reply::Done
            }
            other => Reply::Failed(format!("{other:?}")),
        }
    }
}

/// Answers calls, and sends back what sessions say.
async fn serve(home: Arc<Home>, mut incoming: Incoming) {
    while let Some((_, open, mut stream)) = incoming.accept().await {
        let home = Arc::clone(&home);
        tokio::spawn(async move {
            match open {
                Open::Call(call) => {
                    let reply = home.answer(call).await;
                    let _ = stream.send(&reply).await;
                }
                Open::Session(_) => {
                    while let Ok(Some(frame)) = stream.recv::<SessionFrame>().await {
                        if stream.send(&frame).await.is_err() {
                            return;
                        }
                    }
                }
                _ => {}
            }
        });
    }
}

struct Edge {
    edge: Arc<Signaling>,
    home: Arc<Home>,
    address: String,
    _world: World,
}

async fn upgrade(
    State(edge): State<Arc<Signaling>>,
    headers: HeaderMap,
    axum::extract::Query(query): axum::extract::Query<Query>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    match upgrade {
        Ok(upgrade) => edge.upgrade(upgrade, &headers, &query),
        Err(rejection) => rejection.into_response(),
    }
}

async fn edge(patience: Duration, max_waiting: usize) -> Edge {
    let world = World::new();
    let (mesh, incoming) = world.mesh("n1", &[]).await;
    let home = Arc::new(Home {
        node: mesh.id().clone(),
        place: tokio::sync::watch::Sender::new(false),
        asked: Mutex::default(),
        unwaited: Mutex::default(),
    });
    tokio::spawn(serve(Arc::clone(&home), incoming));
    let edge = Arc::new(Signaling {
        mesh,
        limits: config::Signaling::default(),
        rooms: config::Room::default(),
        patience,
        max_waiting,
        verifier: None,
        sockets: Arc::default(),
        counts: Arc::default(),
        counters: SignalingCounters::default(),
        tasks: TaskTracker::new(),
        cancel: CancellationToken::new(),
    });
    let routes = axum::Router::new().route("/", get(upgrade)).with_state(Arc::clone(&edge));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Edge { edge, home, address, _world: world }
}

impl Edge {
    async fn dial(&self, query: &str) -> Client {
        let address = format!("ws://{}/?roomId=r&peerId=p{query}", self.address);
        let mut request = address.into_client_request().expect("is an address");
        let protocol = header::HeaderValue::from_static(SUBPROTOCOL);
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        Client(connect_async(request).await.expect("connects").0)
    }

    async fn waits(&self) {
        eventually("a client waits", async || self.edge.counters.waiting.load(Ordering::Relaxed) == 1).await;
    }

    fn leads(&self, eta_s: u32) {
        let lead = Lead { term: 1, holds: true, launched: 0, grows: true, eta_s };
        self.edge.mesh.set_lead(lead);
    }
}

struct Client(WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>);

impl Client {
    /// The next thing that is no ping.
    async fn next(&mut self) -> Message {
        loop {
            let next = tokio::time::timeout(LONG, self.0.next()).await.expect("in time");
            match next.expect("it stands").expect("is well") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    async fn text(&mut self) -> Value {
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("{other:?}"),
        }
    }

    async fn closed(&mut self) -> (u16, String) {
        match self.next().await {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("{other:?}"),
        }
    }

    async fn says(&mut self, value: &Value) {
        self.0.send(Message::text(value.to_string())).await.expect("sends");
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds().await {
        assert!(start.elapsed() < LONG, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_knows_of_it_is_told_that_it_waits_and_is_let_in() {
    let edge = edge(LONG, 10).await;
    let mut client = edge.dial("&skein=1").await;
    let request = json!({ "request": true, "id": 1, "method": "getRouterRtpCapabilities", "data": {} });
    client.says(&request).await;
    let told = client.text().await;
    assert_eq!(told["method"], "waiting");
    assert_eq!(told["data"]["etaSeconds"], 40, "{told}");
    assert!(told["data"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    edge.leads(12);
    assert_eq!(client.text().await["data"]["etaSeconds"], 12);
    // It is said when it changes, and that not more than once a second.
    edge.leads(0);
    assert_eq!(client.text().await["data"]["etaSeconds"], Value::Null);
    edge.home.place.send_replace(true);
    assert_eq!(client.text().await, request, "the host has what came before there was one");
    client.says(&json!({ "later": true })).await;
    assert_eq!(client.text().await, json!({ "later": true }));
    assert_eq!(edge.edge.counters.waiting.load(Ordering::Relaxed), 0);
    let asked = edge.home.asked.lock();
    assert!(asked.iter().skip(1).all(|admit| admit.line.is_some_and(|line| line.session.nonce == 6)));
    assert!(edge.home.unwaited.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_client_hears_nothing_and_dials_again_with_its_place_kept() {
    let edge = edge(Duration::from_millis(700), 10).await;
    let mut client = edge.dial("").await;
    client.says(&json!({ "request": true, "id": 1, "method": "getRouterRtpCapabilities" })).await;
    let (code, reason) = client.closed().await;
    assert_eq!((code, reason.as_str()), (1013, "no place yet, try again"));
    assert!(edge.home.unwaited.lock().is_empty(), "its place in line stays");
    let mut again = edge.dial("").await;
    edge.waits().await;
    edge.home.place.send_replace(true);
    again.says(&json!({ "id": 2 })).await;
    assert_eq!(again.text().await, json!({ "id": 2 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patience_ends_for_good_and_with_a_reason() {
    let edge = edge(Duration::from_secs(1), 10).await;
    let mut client = edge.dial("&skein=1").await;
    assert_eq!(client.text().await["method"], "waiting");
    assert_eq!(client.closed().await, (4000, "no machine came within 1 s".to_owned()));
    eventually("the home hears of it", async || edge.home.unwaited.lock().len() == 1).await;
    let counted = edge.edge.counters.read();
    assert!(counted.contains(&("joins_waited_in_vain", 1)), "{counted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_home_hears_at_once_of_a_client_that_goes_away() {
    for query in ["&skein=1", ""] {
        let edge = edge(LONG, 10).await;
        let mut client = edge.dial(query).await;
        edge.waits().await;
        client.0.close(None).await.expect("closes");
        eventually("the home hears of it", async || edge.home.unwaited.lock().len() == 1).await;
        assert_eq!(*edge.home.unwaited.lock(), [SessionId { admitted_ms: 5, nonce: 6 }]);
        eventually("it waits no longer", async || edge.edge.counters.waiting.load(Ordering::Relaxed) == 0)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_may_not_send_without_end() {
    let edge = edge(LONG, 10).await;
    let mut client = edge.dial("").await;
    edge.waits().await;
    for id in 0..64 {
        client.says(&json!({ "request": true, "id": id, "method": "join" })).await;
    }
    let (code, reason) = client.closed().await;
    assert_eq!((code, reason.as_str()), (1008, "too much was sent before there was a place"));
    eventually("the home hears of it", async || edge.home.unwaited.lock().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_clients_wait_than_may() {
    let edge = edge(LONG, 1).await;
    let _first = edge.dial("&skein=1").await;
    edge.waits().await;
    let mut second = edge.dial("&skein=1").await;
    assert_eq!(second.closed().await, (1013, Refusal::MeshFull.to_string()));
    edge.waits().await;
}
