//! Machines without a certificate, on the port of the mesh. Here is only how their requests come in, and how many; who
//! gets a certificate is for the program to say.

use super::counters::count;
use super::once::Once;
use super::refusal::code;
use super::{Shared, hello, limits};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
use skein_proto::codec;
use skein_proto::rpc::{EnrolRefusal, EnrolReply, EnrolRequest, MAX_ENROL_BYTES};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Instant as Moment;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

/// A machine asks for a certificate. Dropped without an answer, it is told to come back.
pub struct Enrolment {
    /// What it asks. Nothing of it is checked but that it can be read.
    pub request: EnrolRequest,
    /// Where it asks from.
    pub from: IpAddr,
    answer: oneshot::Sender<Result<String, EnrolRefusal>>,
}

impl Enrolment {
    /// Answers: with the certificate, PEM, or why there is none.
    pub fn answer(self, answer: Result<String, EnrolRefusal>) {
        // Fails only where the machine is gone.
        let _ = self.answer.send(answer);
    }
}

/// Requests of machines, at most [`limits::ENROLMENTS`] at once.
pub struct Enrolments(mpsc::Receiver<Enrolment>);

impl Enrolments {
    /// The next request. None after the end of the mesh. Cancel-safe.
    pub async fn next(&mut self) -> Option<Enrolment> {
        self.0.recv().await
    }
}

/// Where machines come to.
pub(super) struct Desk {
    requests: mpsc::Sender<Enrolment>,
    taken: Mutex<Option<Enrolments>>,
    places: Semaphore,
    rates: DefaultKeyedRateLimiter<IpAddr>,
    logged: Once<(IpAddr, EnrolRefusal)>,
}

impl Desk {
    pub(super) fn new() -> Self {
        let (requests, receiver) = mpsc::channel(limits::ENROLMENTS);
        let number = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(number(limits::ENROLMENTS_PER_MINUTE))
            .allow_burst(number(limits::ENROLMENTS_PER_MINUTE / 3));
        Self {
            requests,
            taken: Mutex::new(Some(Enrolments(receiver))),
            places: Semaphore::new(limits::ENROLMENTS),
            rates: RateLimiter::keyed(quota),
            logged: Once::new(),
        }
    }

    /// The requests; once.
    pub(super) fn take(&self) -> Option<Enrolments> {
        self.taken.lock().take()
    }

    /// Whether an address may ask again already.
    fn admits(&self, from: IpAddr) -> bool {
        if self.rates.len() > limits::ENROLMENT_ADDRESSES {
            self.rates.retain_recent();
        }
        self.rates.check_key(&network(from)).is_ok()
    }
}

/// Who counts as one: an IPv4 address, or an IPv6 network of 64 bits, of which one machine has all.
fn network(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(_) => addr,
        IpAddr::V6(addr) => IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() & !u128::from(u64::MAX))),
    }
}

impl Shared {
    /// Hears one request and answers it. `deadline` is for the request to be there.
    pub(super) async fn enrol(&self, connection: &quinn::Connection, deadline: Instant) {
        let Some(desk) = &self.desk else {
            // Cannot be: the ALPN was not offered.
            return connection.close(code::PROTOCOL, b"nobody enrols here");
        };
        let from = hello::canonical(connection.remote_address()).ip();
        let place = desk.places.try_acquire();
        let answer = if place.is_err() || !desk.admits(from) {
            // Without a look at what it asks.
            connection.close(code::BUSY, EnrolRefusal::Busy.to_string().as_bytes());
            Err(EnrolRefusal::Busy)
        } else {
            self.hear_request(desk, connection, from, deadline).await
        };
        match answer {
            Ok(()) => count(&self.counters.enrolments_signed),
            Err(why) => {
                count(&self.counters.enrolments_refused);
                if desk.logged.first((from, why), Moment::now()) {
                    tracing::warn!(%from, "a machine may not enrol: {why}");
                }
            }
        }
    }

    async fn hear_request(
        &self,
        desk: &Desk,
        connection: &quinn::Connection,
        from: IpAddr,
        deadline: Instant,
    ) -> Result<(), EnrolRefusal> {
        let hear = async {
            let (writer, mut reader) = connection.accept_bi().await.ok()?;
            let bytes = reader.read_to_end(MAX_ENROL_BYTES).await.ok()?;
            Some((writer, codec::decode::<EnrolRequest>(&bytes).ok()?))
        };
        let Ok(Some((mut writer, request))) = timeout_at(deadline, hear).await else {
            connection.close(code::PROTOCOL, b"no request that can be read, or none in time");
            return Err(EnrolRefusal::Request);
        };
        let (answer, answered) = oneshot::channel();
        let answer = match desk.requests.try_send(Enrolment { request, from, answer }) {
            Ok(()) => match timeout(limits::ENROLMENT_ANSWER, answered).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) | Err(_) => Err(EnrolRefusal::Unavailable),
            },
            Err(_) => Err(EnrolRefusal::Busy),
        };
        let (reply, outcome) = match answer {
            Ok(certificate) => (EnrolReply::Signed(certificate), Ok(())),
            Err(why) => (EnrolReply::Refused(why), Err(why)),
        };
        let tell = async {
            let frame = codec::encode(&reply).ok()?;
            writer.write_all(&frame).await.ok()?;
            writer.finish().ok()?;
            connection.closed().await;
            Some(())
        };
        // Whether it arrived the machine knows; it asks again where it did not, and gets the same answer.
        let _ = timeout(limits::ENROLMENT_END, tell).await;
        connection.close(code::ANSWERED, b"answered");
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_asks_too_often_waits() {
        let desk = Desk::new();
        let ask = |from: &str| desk.admits(from.parse().expect("an address"));
        let burst = limits::ENROLMENTS_PER_MINUTE / 3;
        assert!((0..burst).all(|_| ask("10.0.0.1")));
        // One more may have been earned meanwhile.
        assert!(!(0..10).all(|_| ask("10.0.0.1")));
        assert!(ask("10.0.0.2"), "others do not wait for it");
        assert!((0..burst).all(|n| ask(&format!("2001:db8::{n:x}"))));
        assert!(!(0..10).all(|n| ask(&format!("2001:db8::1:{n:x}"))), "one network");
        assert!(ask("2001:db8:0:1::1"), "another network");
    }
}
