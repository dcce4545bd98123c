//! What the peer sends: nothing is taken from a client that its host, and those of all who receive it, have no room for.

use super::request::{Answer, Failure, MAX_PRODUCERS, answer, done};
use super::{End, Sending, Session};
use crate::media::WebRtcTransport;
use crate::placement::estimate;
use crate::room::HostRoom;
use skein_proto::capacity::{Cost, Sends};
use skein_proto::ids::{ProducerId, SessionId};
use skein_proto::rpc::{Call, ProducerEntry, Publish, Reply, RosterChange};
use skein_proto::signaling::{self, MediaKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long what was kept for the peer when it came must still be kept for a producer to be taken without asking.
const MARGIN: Duration = Duration::from_millis(500);
/// How long the home may take: it may have to move others out of the way.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(12);
/// How long it may take with all that goes wrong on the way, and how long to wait before the home is asked again.
const ASK_DEADLINE: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_millis(300);
/// How often others are told what a producer costs, at most.
const TELL_COSTS: Duration = Duration::from_secs(5);

/// What the home said of something that a peer wants to send.
pub(super) struct Decided {
    request: u64,
    body: signaling::Produce,
    sends: Sends,
    outcome: Result<(), Failure>,
}

impl Session {
    pub(super) fn publishes(&self) -> Result<(), Failure> {
        if !self.open.role.may_publish() {
            return Err(Failure::forbidden("the peer's role may not publish"));
        }
        if self.producers.len() + self.data_producers.len() + self.publishing.len() >= MAX_PRODUCERS {
            return Err(Failure::state(&format!("a peer may have {MAX_PRODUCERS} producers at most")));
        }
        Ok(())
    }

    /// Takes a producer, at once or when the home has found room for it.
    pub(super) async fn produce(&mut self, request: u64, body: signaling::Produce) -> Answer {
        self.publishes()?;
        self.app_data(&body.app_data)?;
        self.transport(&body.transport_id)?;
        let sends = WebRtcTransport::expect(body.kind, &body.rtp_parameters)?;
        let more = sends.minus(self.kept(body.kind));
        if more == Sends::NOTHING {
            return self.begin(body, sends).await;
        }
        if self.publishing.insert(request, body.kind).is_some() {
            return Err(Failure::bad(format!("id: {request} is that of another request")));
        }
        let (room, session) = (Arc::clone(&self.room), self.open.session);
        self.decisions.push(async move {
            let outcome = ask_home(&room, session, more).await;
            Decided { request, body, sends, outcome }
        });
        Ok(None)
    }

    /// The home has decided.
    pub(super) async fn decided(&mut self, decided: Decided) -> Result<(), End> {
        let Decided { request, body, sends, outcome } = decided;
        self.publishing.remove(&request);
        let answer = match outcome.and_then(|()| self.publishes()) {
            Ok(()) => self.begin(body, sends).await,
            Err(failure) => Err(failure),
        };
        self.reply(request, answer).await
    }

    /// There is room for it.
    async fn begin(&mut self, body: signaling::Produce, sends: Sends) -> Answer {
        // Others may have come meanwhile.
        let app_data = self.app_data(&body.app_data)?;
        let transport = &self.transport(&body.transport_id)?.transport;
        let producer = transport.produce(body.kind, body.rtp_parameters).await?;
        let id = producer.id();
        if producer.kind() == MediaKind::Audio
            && let Err(error) = self.room.observe(self.own.worker, &id).await
        {
            tracing::warn!(session = %self.open.session, producer = %id, %error, "cannot hear who speaks");
        }
        let entry = ProducerEntry {
            id: id.clone(),
            peer: self.open.peer.clone(),
            session: self.open.session,
            host: self.own.clone(),
            kind: body.kind,
            sends,
            paused: false,
            quiet: self.open.quiet,
            app_data,
        };
        self.producers.insert(id.clone(), Sending { producer, entry: entry.clone(), told: Instant::now() });
        self.room.change(RosterChange::Producer(entry));
        answer(signaling::Produced { id })
    }

    pub(super) async fn pause_producer(&mut self, id: &ProducerId, paused: bool) -> Answer {
        let sending = self.producer(id)?;
        if paused {
            sending.producer.pause().await?;
        } else {
            sending.producer.resume().await?;
        }
        sending.entry.paused = paused;
        let entry = sending.entry.clone();
        self.room.change(RosterChange::Producer(entry));
        done()
    }

    /// What is kept for the peer to send since it came: a microphone and a camera that declare nothing out of the ordinary.
    fn kept(&self, kind: MediaKind) -> Sends {
        let mut others = self.producers.values().map(|sending| sending.producer.kind());
        let is_first =
            !others.any(|other| other == kind) && !self.publishing.values().any(|&other| other == kind);
        let accounts = self.room.context().workers.accounts();
        if is_first && accounts.keeps(self.open.session, Instant::now(), MARGIN) {
            return estimate::producer(kind, &[]);
        }
        Sends::NOTHING
    }

    /// Tells the others, and so the home, what producers cost by now, where that is not what was said before.
    pub(super) fn tell_costs(&mut self, now: Instant) {
        for sending in self.producers.values_mut() {
            let sends = sending.producer.sends();
            let told = sending.entry.sends;
            let differs = |now: Cost, then: Cost| now.packets.abs_diff(then.packets) * 4 > then.packets;
            let news = differs(sends.all, told.all) || differs(sends.one, told.one);
            if news && now.duration_since(sending.told) >= TELL_COSTS {
                sending.told = now;
                sending.entry.sends = sends;
                self.room.change(RosterChange::Producer(sending.entry.clone()));
            }
        }
    }
}

/// Asks the home to see to it that there is room, everywhere, for what a peer wants to send.
async fn ask_home(room: &HostRoom, session: SessionId, sends: Sends) -> Result<(), Failure> {
    let (mesh, room) = (room.mesh(), &room.id);
    let mut problem = String::new();
    let mut named = None;
    let until = Instant::now() + ASK_DEADLINE;
    while Instant::now() < until {
        let home = named.take().unwrap_or_else(|| mesh.view().borrow().home(room).clone());
        let publish = Publish { room: room.clone(), session, sends };
        let left = until.saturating_duration_since(Instant::now()).min(PUBLISH_DEADLINE);
        match mesh.call(&home, Call::Publish(publish), left).await {
            Ok(Reply::Granted) => return Ok(()),
            Ok(Reply::Refused(refusal)) => return Err(Failure::full(&refusal.to_string())),
            Ok(Reply::NotHome(other)) if problem.is_empty() => {
                problem = "the nodes do not agree on it".to_owned();
                named = Some(other);
                continue;
            }
            Ok(Reply::NotHome(_)) => problem = "the nodes do not agree on it".to_owned(),
            Ok(Reply::Failed(why)) => problem = why,
            Ok(other) => problem = format!("{home} answered {other:?}"),
            Err(error) => problem = error.to_string(),
        }
        tokio::time::sleep(RETRY).await;
    }
    Err(Failure::full(&format!("the room's home does not answer: {problem}")))
}
