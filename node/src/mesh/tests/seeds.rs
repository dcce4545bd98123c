use super::*;
use async_trait::async_trait;

#[tokio::test]
async fn seeds_are_found_by_name() {
    let world = World::new();
    let a = world.node("a", &[]).await;
    let mut settings = world.settings("b", &[]);
    let seed = format!("localhost:{}", a.mesh.addr().port());
    settings.config.seeds = vec![seed.parse().expect("a seed")];
    let b = Node::start(settings).await;
    b.sees(&["a", "b"]).await;
    a.sees(&["a", "b"]).await;
}

/// Knows nothing at first, then where a node is.
#[derive(Debug)]
struct Late {
    asked: AtomicU64,
    addr: SocketAddr,
}

#[async_trait]
impl SeedSource for Late {
    async fn find(&self) -> Result<Vec<SocketAddr>, String> {
        match self.asked.fetch_add(1, Relaxed) {
            0 => Err("nobody knows".to_owned()),
            _ => Ok(vec![self.addr]),
        }
    }
}

#[tokio::test]
async fn a_source_of_seeds_is_asked_until_it_knows() {
    let log = Log::new();
    let world = World::new();
    let a = world.node("a", &[]).await;
    let source = Arc::new(Late { asked: AtomicU64::new(0), addr: a.mesh.addr() });
    let b = Node::start(MeshSettings { sources: vec![source], ..world.settings("b", &[]) }).await;
    b.sees(&["a", "b"]).await;
    assert_eq!(log.lines("nobody knows").len(), 1);
}
