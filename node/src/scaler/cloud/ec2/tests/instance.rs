//! The metadata service, faked: it gives nothing without a token, and a token only to a `PUT`.

use super::super::metadata::{Metadata, MetadataError};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, put};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

type Answers = Arc<Mutex<BTreeMap<&'static str, String>>>;

async fn service(answers: Answers) -> (String, tokio::task::JoinHandle<()>) {
    let tokens = put(|headers: HeaderMap| async move {
        if headers.contains_key("x-aws-ec2-metadata-token-ttl-seconds") {
            Ok(([("x-aws-ec2-metadata-token-ttl-seconds", "21600")], "ticket"))
        } else {
            Err(StatusCode::BAD_REQUEST)
        }
    });
    let data =
        get(|State(answers): State<Answers>, headers: HeaderMap, Path(path): Path<String>| async move {
            if headers.get("x-aws-ec2-metadata-token").is_none_or(|token| token != "ticket") {
                return Err(StatusCode::UNAUTHORIZED);
            }
            answers.lock().get(path.as_str()).cloned().ok_or(StatusCode::NOT_FOUND)
        });
    let router = Router::new()
        .route("/latest/api/token", tokens)
        .route("/latest/meta-data/{*path}", data)
        .with_state(answers);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    (format!("http://{address}"), server)
}

#[tokio::test]
async fn an_instance_learns_who_it_is_and_when_it_ends() {
    let answers = Answers::default();
    let (address, server) = service(Arc::clone(&answers)).await;
    let metadata = Metadata::new(Some(&address)).expect("an address");
    assert_eq!(metadata.instance_id().await, Err(MetadataError::Missing("instance-id")));
    assert_eq!(metadata.interruption().await, Ok(None), "no notice is no error");
    answers.lock().extend([
        ("instance-id", "i-0123456789abcdef0".to_owned()),
        ("placement/availability-zone", "eu-central-1a".to_owned()),
        ("spot/instance-action", r#"{"action": "terminate", "time": "2027-01-15T08:00:00Z"}"#.to_owned()),
    ]);
    assert_eq!(metadata.instance_id().await.as_deref(), Ok("i-0123456789abcdef0"));
    assert_eq!(metadata.zone().await.as_deref(), Ok("eu-central-1a"));
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    assert_eq!(metadata.interruption().await, Ok(Some(end)));
    for senseless in ["", "{}", r#"{"time": "soon"}"#, r#"{"action": "stop", "time": 5}"#] {
        answers.lock().insert("spot/instance-action", senseless.to_owned());
        let told = metadata.interruption().await;
        assert!(matches!(told, Err(MetadataError::Senseless(..))), "{senseless}: {told:?}");
    }
    answers.lock().insert("instance-id", "x".repeat(5000));
    assert!(matches!(metadata.instance_id().await, Err(MetadataError::Senseless(..))));
    server.abort();
}

#[tokio::test]
async fn where_there_is_no_service_that_is_said_in_time() {
    // A port that nobody listens on, and one that never answers.
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let silent = format!("http://{}", silent.local_addr().expect("an address"));
    for address in ["http://127.0.0.1:9", &silent] {
        let begun = tokio::time::Instant::now();
        let told = Metadata::new(Some(address)).expect("an address").interruption().await;
        assert!(matches!(told, Err(MetadataError::Unreachable(_))), "{told:?}");
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    }
    assert!(matches!(Metadata::new(Some("not an address")), Err(MetadataError::Address(_))));
}
