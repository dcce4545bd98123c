//! What the machine says of itself: which kind it is, and how fast its network is.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// EC2's instance metadata service. Link-local: what is asked there stays on the machine's own link.
const METADATA: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254)), 80);

/// How long the metadata service may take for all. On EC2 it answers within some milliseconds; elsewhere nobody does.
const METADATA_LIMIT: Duration = Duration::from_millis(300);

/// Longest answer that is read, bytes.
const ANSWER_LIMIT: u64 = 4096;

/// The type of this EC2 instance, such as `c7i.large`; nothing on other machines. Takes at most 300 ms.
pub async fn instance_type() -> Option<String> {
    instance_type_from(METADATA, METADATA_LIMIT).await
}

async fn instance_type_from(service: SocketAddr, limit: Duration) -> Option<String> {
    let ask = async {
        // Version 2 of the service: nothing is told without a token, and the token is good for this machine alone.
        let token =
            request(service, "PUT /latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60").await?;
        let header = format!("X-aws-ec2-metadata-token: {token}");
        request(service, "GET /latest/meta-data/instance-type", &header).await
    };
    let kind = tokio::time::timeout(limit, ask).await.ok()??;
    is_kind(&kind).then_some(kind)
}

/// Whether a text can be the name of a kind of machine: what EC2's are made of, at most 64 characters.
pub fn is_kind(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '_';
    (1..=64).contains(&text.len()) && text.chars().all(allowed)
}

/// One request over HTTP 1.0, by hand: a client with proxies and TLS would be far more than this needs. Answers with
/// the body of a 200, one line of printable characters.
async fn request(service: SocketAddr, line: &str, header: &str) -> Option<String> {
    let mut stream = TcpStream::connect(service).await.ok()?;
    let text = format!("{line} HTTP/1.0\r\nHost: {}\r\n{header}\r\nContent-Length: 0\r\n\r\n", service.ip());
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LIMIT).read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let ok = head.lines().next()?.split_whitespace().nth(1)? == "200";
    let body = body.trim();
    (ok && !body.is_empty() && body.chars().all(|c| c.is_ascii_graphic())).then(|| body.to_owned())
}

/// The interface of the default route and its speed in bits a second; nothing where either is not known, as for most
/// virtual interfaces.
pub fn interface_speed() -> Option<(String, u64)> {
    interface_speed_in(Path::new("/proc/net/route"), Path::new("/sys/class/net"))
}

fn interface_speed_in(routes: &Path, interfaces: &Path) -> Option<(String, u64)> {
    let routes = std::fs::read_to_string(routes).ok()?;
    // The columns: interface, destination, gateway, flags, use counts, metric, mask. The lowest metric is taken.
    let interface = routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            let default = columns.get(1) == Some(&"00000000") && columns.get(7) == Some(&"00000000");
            default.then(|| Some((columns.get(6)?.parse::<u64>().ok()?, *columns.first()?)))?
        })
        .min()?
        .1;
    let speed = std::fs::read_to_string(interfaces.join(interface).join("speed")).ok()?;
    // Megabits; -1 is not known.
    let megabits: u64 = speed.trim().parse().ok().filter(|megabits| *megabits > 0)?;
    Some((interface.to_owned(), megabits.checked_mul(1_000_000)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A metadata service that gives one token and one instance type.
    async fn service(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let addr = listener.local_addr().expect("has one");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = vec![0; 1024];
                let read = stream.read(&mut bytes).await.unwrap_or(0);
                let asked = String::from_utf8_lossy(&bytes[..read]).into_owned();
                let reply = if asked.starts_with("PUT /latest/api/token HTTP") {
                    "HTTP/1.0 200 OK\r\n\r\nabc="
                } else if asked.contains("X-aws-ec2-metadata-token: abc=\r\n") {
                    answer
                } else {
                    "HTTP/1.0 401 Unauthorized\r\n\r\nno"
                };
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        });
        addr
    }

    #[tokio::test]
    async fn the_metadata_service_is_asked_with_a_token() {
        let limit = Duration::from_secs(5);
        let good = service("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nc7i.large").await;
        assert_eq!(instance_type_from(good, limit).await.as_deref(), Some("c7i.large"));
        for bad in ["HTTP/1.1 404 Not Found\r\n\r\nx", "HTTP/1.1 200 OK\r\n\r\n<html>", "nonsense"] {
            assert_eq!(instance_type_from(service(bad).await, limit).await, None, "{bad}");
        }
    }

    #[tokio::test]
    async fn silence_ends_at_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let addr = listener.local_addr().expect("has one");
        let started = std::time::Instant::now();
        assert_eq!(instance_type_from(addr, METADATA_LIMIT).await, None);
        assert!(started.elapsed() < Duration::from_secs(2));
        drop(listener);
        assert_eq!(instance_type_from(addr, METADATA_LIMIT).await, None);
    }

    #[test]
    fn the_speed_is_that_of_the_default_route() {
        let folder = tempfile::tempdir().expect("a folder");
        let (routes, interfaces) = (folder.path().join("route"), folder.path().join("net"));
        for (name, speed) in [("eth0", "-1\n"), ("eth1", "25000\n")] {
            std::fs::create_dir_all(interfaces.join(name)).expect("makes");
            std::fs::write(interfaces.join(name).join("speed"), speed).expect("writes");
        }
        let route = |interface: &str, metric: u32| {
            format!("{interface}\t00000000\t010200C0\t0003\t0\t0\t{metric}\t00000000\t0\t0\t0\n")
        };
        let header = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let own = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        std::fs::write(&routes, format!("{header}{own}{}{}", route("eth0", 20), route("eth1", 10)))
            .expect("writes");
        let speed = interface_speed_in(&routes, &interfaces);
        assert_eq!(speed, Some(("eth1".to_owned(), 25_000_000_000)));
        std::fs::write(&routes, format!("{header}{}", route("eth0", 0))).expect("writes");
        assert_eq!(interface_speed_in(&routes, &interfaces), None);
        std::fs::write(&routes, format!("{header}{own}")).expect("writes");
        assert_eq!(interface_speed_in(&routes, &interfaces), None);
    }
}
