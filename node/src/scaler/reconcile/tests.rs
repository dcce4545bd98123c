//! The leader's loop on a cloud that fails in every way: see [`crate::scaler::cloud::fence`] for what a schedule is.

use super::*;
use crate::mesh::Member;

use crate::scaler::cloud::fake::{Call, FakeCloud, FakeSettings, Fault};
use crate::scaler::cloud::fence::{Known, Leader, Make, schedule};
use crate::scaler::plan::Kind;
use parking_lot::Mutex;
use skein_bootstrap::config::Scaling;
use skein_proto::gossip::{Facts, Lead, Load, Phase, WorkerLoad};

const SECOND: Duration = Duration::from_secs(1);
const MESH: &str = "m";

/// What gossip carries between leaders: the numbers that were announced.
type Announced = Arc<Mutex<BTreeSet<u64>>>;

/// Orders to nodes that always arrive.
struct Obedient {
    announced: Announced,
    drained: Mutex<Vec<(NodeId, bool)>>,
    leads: Mutex<bool>,
}

impl Obedient {
    fn new(announced: Announced) -> Arc<Self> {
        Arc::new(Self { announced, drained: Mutex::default(), leads: Mutex::new(true) })
    }
}

#[async_trait]
impl Nodes for Obedient {
    async fn drain(&self, node: &NodeId, on: bool) -> bool {
        self.drained.lock().push((node.clone(), on));
        true
    }

    fn leads(&self) -> bool {
        *self.leads.lock()
    }

    fn announce(&self, launched: u64) {
        self.announced.lock().insert(launched);
    }
}

fn limits(nodes: u32) -> Limits {
    let kind = |name: &str, price| Kind { name: name.to_owned(), streams: 100, price, boot: 40 * SECOND };
    Limits {
        min_nodes: nodes,
        max_nodes: nodes,
        spare: 0,
        idle: 100_000 * SECOND,
        // One: where a type is not to be had, a leader may launch another, under a number of its own.
        kinds: vec![kind("small", 1.0)],
        ..Limits::new(&Scaling::default(), 10, 1)
    }
}

fn member(id: &NodeId, said: u64) -> Member {
    let worker = WorkerLoad { free: 17_000, open: 17_000, spare: 0, total: 17_000 };
    let bits = 100 * REFERENCE.bits;
    Member {
        id: id.clone(),
        state: NodeState::Alive,
        addr: ([127, 0, 0, 1], 1).into(),
        generation: 1,
        facts: Facts {
            role: "node".to_owned(),
            region: "r".to_owned(),
            zone: String::new(),
            url: "http://x".to_owned(),
            version: "1".to_owned(),
        },
        load: Load { workers: vec![worker], free_bits: bits, total_bits: bits, said, ..Load::default() },
        phase: Phase::Ready,
        lead: Lead::default(),
        queue: Queue::default(),
    }
}

fn view(nodes: &BTreeSet<NodeId>, launched: u64, said: u64) -> View {
    let mut nodes: BTreeMap<NodeId, Member> = nodes.iter().map(|id| (id.clone(), member(id, said))).collect();
    for node in nodes.values_mut() {
        node.lead.launched = launched;
    }
    View { mesh: MESH.to_owned(), own: "seed".parse().expect("a name"), nodes }
}

fn reconciler(cloud: &Arc<FakeCloud>, nodes: Arc<dyn Nodes>, wanted: u32, seed: u64) -> Reconciler {
    let cloud: Arc<dyn Cloud> = Arc::<FakeCloud>::clone(cloud);
    let user_data = Box::new(|number| format!("N={number}"));
    Reconciler::new(MESH, cloud, nodes, limits(wanted), Planner::new(seed), user_data)
}

/// The leader's loop, as schedules want it.
struct Real {
    reconciler: Reconciler,
    announced: Announced,
    base: (Instant, SystemTime),
    said: u64,
}

#[async_trait]
impl Leader for Real {
    async fn round(&mut self, known: &Known) {
        self.said += 1;
        self.reconciler.limits = limits(u32::try_from(known.wanted).expect("few"));
        let now = self.base.0 + known.now.duration_since(self.base.1).expect("time goes on");
        let launched = self.announced.lock().iter().max().copied().unwrap_or_default();
        let view = view(&known.joined, launched, self.said);
        self.reconciler.look(&view, now, known.now).await;
    }
}

fn real() -> Box<Make> {
    let announced = Announced::default();
    let start = Instant::now();
    Box::new(move |cloud| {
        let orders = Obedient::new(Arc::clone(&announced));
        let base = (start, SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let reconciler = reconciler(&cloud, orders, 1, 7);
        Box::new(Real { reconciler, announced: Arc::clone(&announced), base, said: 0 })
    })
}

#[test]
fn two_leaders_and_a_rough_cloud_never_make_more_than_the_larger_plan() {
    let (mut killed, mut launches, mut made) = (0, 0, 0);
    for seed in 0..1000 {
        let went =
            schedule(seed, &FakeSettings::rough(), 300, &*real()).unwrap_or_else(|what| panic!("{what}"));
        killed += went.killed_before_record;
        launches += went.launches;
        made += went.made as u64;
    }
    // What the schedules are for did happen.
    assert!(killed > 100 && launches > made, "{killed} {launches} {made}");
}

#[test]
fn without_the_fence_the_schedules_find_the_double() {
    let settings = FakeSettings { tokens: false, ..FakeSettings::rough() };
    let broken = (0..40).filter(|seed| schedule(*seed, &settings, 300, &*real()).is_err()).count();
    assert!(broken > 5, "{broken} of 40");
}

/// One leader on a quiet cloud, step by step.
struct Scene {
    cloud: Arc<FakeCloud>,
    orders: Arc<Obedient>,
    reconciler: Reconciler,
    now: Instant,
    said: u64,
}

impl Scene {
    fn new(wanted: u32) -> Self {
        let cloud = Arc::new(FakeCloud::new(FakeSettings::default(), 1));
        let orders = Obedient::new(Announced::default());
        let nodes: Arc<dyn Nodes> = Arc::<Obedient>::clone(&orders);
        let reconciler = reconciler(&cloud, nodes, wanted, 1);
        Self { cloud, orders, reconciler, now: Instant::now(), said: 0 }
    }

    async fn look(&mut self, after: Duration) -> Outcome {
        self.cloud.advance(after);
        self.now += after;
        self.said += 1;
        let view = view(&self.cloud.joined(), 0, self.said);
        self.reconciler.look(&view, self.now, self.cloud.now()).await
    }
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_the_same_number() {
    let mut scene = Scene::new(2);
    scene.cloud.fail_next(Call::Launch, Fault::LostAnswer);
    while scene.cloud.calls(Call::Launch) == 0 {
        scene.look(3 * SECOND).await;
    }
    scene.cloud.fail_next(Call::List, Fault::Throttled);
    for _ in 0..40 {
        scene.look(3 * SECOND).await;
    }
    assert_eq!((scene.cloud.alive(), scene.cloud.truth().len()), (2, 2));
    assert!(scene.cloud.calls(Call::Launch) > 2);
}

#[tokio::test]
async fn without_a_list_nothing_is_launched_twice_and_nothing_ends() {
    let mut scene = Scene::new(3);
    for _ in 0..30 {
        scene.look(3 * SECOND).await;
    }
    for _ in 0..60 {
        scene.cloud.fail_next(Call::List, Fault::Throttled);
        scene.look(30 * SECOND).await;
    }
    assert_eq!((scene.cloud.alive(), scene.cloud.truth().len()), (3, 3));
    assert_eq!(scene.cloud.calls(Call::Terminate), 0);
}

#[tokio::test]
async fn a_refused_launch_is_told_and_tried_again() {
    let mut scene = Scene::new(1);
    scene.cloud.fail_next(Call::Launch, Fault::Refused);
    let mut alarms = 0;
    for _ in 0..100 {
        alarms += usize::from(scene.look(10 * SECOND).await.plan.alarm.is_some());
    }
    assert!(alarms > 0);
    assert_eq!((scene.cloud.alive(), scene.cloud.truth().len()), (1, 1));
}

#[tokio::test]
async fn who_lost_the_lease_changes_nothing() {
    let mut scene = Scene::new(2);
    *scene.orders.leads.lock() = false;
    let mut planned = 0;
    for _ in 0..20 {
        let outcome = scene.look(3 * SECOND).await;
        planned += outcome.plan.steps.len();
        assert!(outcome.done.is_empty());
    }
    assert!(planned > 0);
    assert_eq!(scene.cloud.calls(Call::Launch), 0);
}

#[tokio::test]
async fn a_machine_that_was_taken_away_is_replaced() {
    let mut scene = Scene::new(1);
    for _ in 0..40 {
        scene.look(3 * SECOND).await;
    }
    let first = scene.cloud.truth()[0].machine.clone();
    assert!(scene.cloud.kill(&first.id));
    for _ in 0..60 {
        scene.look(3 * SECOND).await;
    }
    let truth = scene.cloud.truth();
    assert_eq!((scene.cloud.alive(), truth.len()), (1, 2));
    assert!(truth[1].joined && truth[1].machine.number > first.number);
}

#[tokio::test]
async fn a_machine_that_gossip_lost_is_replaced_and_then_ended() {
    let mut scene = Scene::new(1);
    for _ in 0..40 {
        scene.look(3 * SECOND).await;
    }
    let first = scene.cloud.truth()[0].machine.clone();
    assert!(scene.cloud.silence(&first.id));
    scene.reconciler.limits.max_nodes = 2;
    // A lookup that does not know it yet says nothing of whether it is there.
    scene.cloud.fail_next(Call::Terminate, Fault::Unknown);
    for _ in 0..200 {
        scene.look(3 * SECOND).await;
        let truth = scene.cloud.truth();
        // Never ended before another is there.
        assert!(truth[0].alive() || truth.iter().any(|one| one.joined), "{truth:#?}");
    }
    let truth = scene.cloud.truth();
    assert!(!truth[0].alive() && truth.len() == 2 && truth[1].joined, "{truth:#?}");
}

#[tokio::test]
async fn a_node_of_somebody_elses_that_is_named_like_ours_is_left_alone() {
    let mut scene = Scene::new(1);
    scene.reconciler.limits = Limits { idle: SECOND, ..limits(1) };
    let nodes: BTreeSet<NodeId> = ["m-1", "m-2", "m-9"].map(|name| name.parse().expect("a name")).into();
    for said in 0..100 {
        scene.cloud.advance(3 * SECOND);
        scene.now += 3 * SECOND;
        let view = view(&nodes, 9, said);
        let outcome = scene.reconciler.look(&view, scene.now, scene.cloud.now()).await;
        assert!(outcome.plan.steps.is_empty(), "{:?}", outcome.plan.steps);
    }
    assert!(scene.orders.drained.lock().is_empty());
}

#[tokio::test]
async fn who_waits_is_summed_up_over_all_homes() {
    let cost = Cost::new(171, 10);
    let queue = Queue { joins: 2, cost, guaranteed: Cost::new(10, 3_000_001) };
    let all = queued([queue, queue].iter());
    assert_eq!((all.joins, all.streams, all.guaranteed), (4, 3, 3));
}
