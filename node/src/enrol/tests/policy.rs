use super::*;

#[tokio::test]
async fn who_may_not_is_told_why() {
    let fleet = Fleet::new(&["s1"]);
    let cloud = Listed::new(vec![machine(1), machine(2)]);
    let seed = fleet.seed("s1", &[], Some(cloud.clone())).await;
    let decide = async |request: &EnrolRequest, from| seed.enrol.decide(request, from).await.err();
    let good = fleet.request(1);
    let why = Some;
    use EnrolRefusal as No;

    assert_eq!(decide(&EnrolRequest { mesh: "other".into(), ..good.clone() }, HERE).await, why(No::Mesh));
    assert_eq!(
        decide(&EnrolRequest { token: "launch.00".into(), ..good.clone() }, HERE).await,
        why(No::Token)
    );
    // Its token is for machine 1.
    assert_eq!(decide(&EnrolRequest { node: id("dev-2"), ..good.clone() }, HERE).await, why(No::Token));
    let stranger = Secret::generate().expect("makes").launch_token("dev", 1);
    assert_eq!(decide(&EnrolRequest { token: stranger, ..good.clone() }, HERE).await, why(No::Token));
    assert_eq!(
        decide(&EnrolRequest { request: vec![1, 2, 3], ..good.clone() }, HERE).await,
        why(No::Request)
    );
    assert_eq!(decide(&good, [127, 0, 0, 9].into()).await, why(No::Address));
    assert_eq!(decide(&fleet.request(3), HERE).await, why(No::Machine));

    let old = Machine { launched: Some(SystemTime::now() - Duration::from_secs(15 * 60)), ..machine(1) };
    *cloud.0.lock() = Ok(vec![old]);
    assert_eq!(decide(&good, HERE).await, why(No::Window));
    *cloud.0.lock() = Ok(vec![Machine { state: MachineState::Terminated, ..machine(1) }]);
    assert_eq!(decide(&good, HERE).await, why(No::Machine));
    *cloud.0.lock() = Err(CloudError::Unreachable("down".to_owned()));
    assert_eq!(decide(&good, HERE).await, why(No::Unavailable));

    // None of that used the token up.
    *cloud.0.lock() = Ok(vec![machine(1)]);
    assert_eq!(decide(&good, HERE).await, None);
    assert_eq!(decide(&good, HERE).await, None, "the same key asks again");
    assert_eq!(decide(&fleet.request(1), HERE).await, why(No::Used));
}

#[tokio::test]
async fn without_a_cloud_only_invitations_count() {
    let fleet = Fleet::new(&["s1"]);
    let seed = fleet.seed("s1", &[], None).await;
    assert_eq!(seed.enrol.decide(&fleet.request(1), HERE).await.err(), Some(EnrolRefusal::NoCloud));

    let invite = |name: &str, until| {
        let ticket = Ticket {
            node: id(name),
            token: fleet.secret.invitation("dev", &id(name), until),
            ..fleet.ticket(1, &[])
        };
        asking(&ticket, &NodeKey::generate().expect("makes"))
    };
    let soon = SystemTime::now() + Duration::from_secs(60);
    let anna = invite("anna", soon);
    assert!(seed.enrol.decide(&anna, HERE).await.is_ok());
    assert!(seed.enrol.decide(&anna, [10, 9, 8, 7].into()).await.is_ok(), "from anywhere");
    assert_eq!(seed.enrol.decide(&invite("anna", soon), HERE).await.err(), Some(EnrolRefusal::Used));
    // Another invitation for the same name is another token.
    let later = soon + Duration::from_secs(1);
    assert!(seed.enrol.decide(&invite("anna", later), HERE).await.is_ok());
    let past = SystemTime::now() - Duration::from_secs(2);
    assert_eq!(seed.enrol.decide(&invite("ben", past), HERE).await.err(), Some(EnrolRefusal::Token));
    assert_eq!(seed.enrol.decide(&invite("s1", soon), HERE).await.err(), Some(EnrolRefusal::Alive));
    // A name that no node's configuration takes.
    assert_eq!(seed.enrol.decide(&invite("a.b", soon), HERE).await.err(), Some(EnrolRefusal::Request));
}

#[tokio::test]
async fn two_seeds_at_once_sign_one_key_only() {
    let fleet = Fleet::new(&["s1", "s2", "s3"]);
    let numbers = 1..=20;
    let cloud = Listed::new(numbers.clone().map(machine).collect());
    let s1 = fleet.seed("s1", &[], Some(cloud.clone())).await;
    let s2 = fleet.seed("s2", &[&s1], Some(cloud.clone())).await;
    let s3 = fleet.seed("s3", &[&s1], Some(cloud.clone())).await;
    for seed in [&s1, &s2, &s3] {
        seed.sees(&["s1", "s2", "s3"]).await;
    }
    let mut signed = 0;
    for number in numbers {
        let (one, other) = (fleet.request(number), fleet.request(number));
        let (first, second, third) = tokio::join!(
            s1.enrol.decide(&one, HERE),
            s2.enrol.decide(&other, HERE),
            s3.enrol.decide(&one, HERE),
        );
        let [one_is, other_is] = [first.is_ok() || third.is_ok(), second.is_ok()];
        assert!(!(one_is && other_is), "{first:?} {second:?} {third:?}");
        signed += u32::from(one_is || other_is);
        // Whoever asks where and when: it stays with that key.
        if one_is {
            assert_eq!(s2.enrol.decide(&other, HERE).await.err(), Some(EnrolRefusal::Used));
            assert!(s2.enrol.decide(&one, HERE).await.is_ok());
        }
    }
    assert_eq!(signed, 20, "all three voters answer, so one of two keys has two of them");
}

#[tokio::test]
async fn without_a_majority_of_the_voters_nothing_is_signed() {
    let fleet = Fleet::new(&["s1", "s2", "s3"]);
    let seed = fleet.seed("s1", &[], Some(Listed::new(vec![machine(1)]))).await;
    let request = fleet.request(1);
    assert_eq!(seed.enrol.decide(&request, HERE).await.err(), Some(EnrolRefusal::Unavailable));
    // The same machine asks again, and a second voter is there.
    let other = fleet.seed("s2", &[&seed], None).await;
    seed.sees(&["s1", "s2"]).await;
    other.sees(&["s1", "s2"]).await;
    eventually("two of three voters answer", async || seed.enrol.decide(&request, HERE).await.is_ok()).await;
}
