//! Whether a machine is one that the leader launched. Pure.

use crate::scaler::cloud::{Machine, MachineState};
use skein_proto::rpc::EnrolRefusal;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// Whether the cloud's list has the machine of a launch, at the address that the request comes from, and launched less
/// than `window` ago. Of several with one number, one that fits is enough.
///
/// # Errors
/// Why not. Of several machines the one counts that comes nearest.
pub(super) fn check(
    machines: &[Machine],
    number: u64,
    from: IpAddr,
    now: SystemTime,
    window: Duration,
) -> Result<(), EnrolRefusal> {
    let mut why = EnrolRefusal::Machine;
    for machine in machines.iter().filter(|machine| machine.number == number) {
        if !matches!(machine.state, MachineState::Pending | MachineState::Running) {
            continue;
        }
        // Without a time nothing makes the token short-lived.
        let Some(launched) = machine.launched else { continue };
        // Launched in the future, by a clock that is a little ahead, is launched now.
        if now.duration_since(launched).unwrap_or_default() >= window {
            why = EnrolRefusal::Window;
        } else if machine.address.is_some_and(|addr| addr.to_canonical() != from.to_canonical()) {
            why = EnrolRefusal::Address;
        } else {
            return Ok(());
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaler::cloud::MachineId;

    const WINDOW: Duration = Duration::from_secs(900);

    fn machine(number: u64, state: MachineState, launched: Option<SystemTime>) -> Machine {
        Machine {
            id: MachineId(format!("i-{number}")),
            number,
            kind: "small".to_owned(),
            state,
            launched,
            address: Some([10, 0, 0, 7].into()),
        }
    }

    #[test]
    fn a_machine_enrols_from_its_address_while_it_is_new() {
        let now = SystemTime::now();
        let from: IpAddr = [10, 0, 0, 7].into();
        let new = machine(7, MachineState::Running, Some(now - Duration::from_secs(60)));
        let ask = |machine: &Machine, from, now| check(std::slice::from_ref(machine), 7, from, now, WINDOW);
        assert_eq!(ask(&new, from, now), Ok(()));
        assert_eq!(ask(&new, "::ffff:10.0.0.7".parse().expect("an address"), now), Ok(()));
        assert_eq!(ask(&new, from, now - Duration::from_secs(120)), Ok(()), "the clocks differ");
        assert_eq!(ask(&new, from, now + WINDOW), Err(EnrolRefusal::Window));
        assert_eq!(ask(&new, [10, 0, 0, 8].into(), now), Err(EnrolRefusal::Address));
        assert_eq!(ask(&Machine { number: 8, ..new.clone() }, from, now), Err(EnrolRefusal::Machine));
        assert_eq!(ask(&Machine { launched: None, ..new.clone() }, from, now), Err(EnrolRefusal::Machine));
        let anywhere = Machine { address: None, ..new.clone() };
        assert_eq!(ask(&anywhere, [10, 0, 0, 8].into(), now), Ok(()));
        for (state, fits) in [
            (MachineState::Pending, true),
            (MachineState::Stopping, false),
            (MachineState::Stopped, false),
            (MachineState::Terminating, false),
            (MachineState::Terminated, false),
        ] {
            assert_eq!(ask(&Machine { state, ..new.clone() }, from, now).is_ok(), fits, "{state:?}");
        }
        assert_eq!(check(&[], 7, from, now, WINDOW), Err(EnrolRefusal::Machine));
    }

    #[test]
    fn a_machine_that_is_gone_does_not_hide_another_of_its_number() {
        let now = SystemTime::now();
        let gone = machine(7, MachineState::Terminated, Some(now));
        let new = machine(7, MachineState::Running, Some(now));
        for both in [[gone.clone(), new.clone()], [new, gone]] {
            assert_eq!(check(&both, 7, [10, 0, 0, 7].into(), now, WINDOW), Ok(()));
        }
    }
}
