//! What clients may leave out of their parameters, as mediasoup's node module lets them (upstream: `ortc.ts`), and its
//! crate insists on.

use serde_json::{Map, Value, json};

/// RTP parameters, whole.
pub(super) fn rtp_parameters(mut parameters: Value) -> Value {
    if let Some(all) = parameters.as_object_mut() {
        let rtcp = all.entry("rtcp").or_insert_with(|| json!({}));
        fill(rtcp, "reducedSize", &true.into());
        all.entry("encodings").or_insert_with(|| json!([]));
        each(all, "headerExtensions", &[("encrypt", false.into())]);
    }
    parameters
}

/// RTP capabilities, whole.
pub(super) fn rtp_capabilities(mut capabilities: Value) -> Value {
    if let Some(all) = capabilities.as_object_mut() {
        each(all, "codecs", &[]);
        each(
            all,
            "headerExtensions",
            &[("preferredEncrypt", false.into()), ("direction", "sendrecv".into())],
        );
    }
    capabilities
}

/// Parameters of a data channel, whole: one with a limit on its tries is not ordered.
pub(super) fn sctp_stream_parameters(mut parameters: Value) -> Value {
    let limits = ["maxPacketLifeTime", "maxRetransmits"];
    let limited = limits.iter().any(|limit| parameters.get(*limit).is_some_and(|value| !value.is_null()));
    fill(&mut parameters, "ordered", &(!limited).into());
    parameters
}

/// A list that may be missing, of objects that may lack fields.
fn each(all: &mut Map<String, Value>, list: &str, fields: &[(&str, Value)]) {
    let list = all.entry(list).or_insert_with(|| json!([]));
    for one in list.as_array_mut().into_iter().flatten() {
        fields.iter().for_each(|(field, value)| fill(one, field, value));
    }
}

fn fill(object: &mut Value, field: &str, value: &Value) {
    if let Some(object) = object.as_object_mut() {
        let there = object.entry(field).or_insert(Value::Null);
        if there.is_null() {
            there.clone_from(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_leave_out_is_filled_in() {
        assert_eq!(sctp_stream_parameters(json!({"streamId": 1}))["ordered"], true);
        assert_eq!(sctp_stream_parameters(json!({"streamId": 1, "maxRetransmits": 0}))["ordered"], false);
        let empty = json!({"rtcp": {"reducedSize": true}, "encodings": [], "headerExtensions": []});
        assert_eq!(rtp_parameters(json!({})), empty);
        assert_eq!(
            rtp_parameters(json!({"headerExtensions": [{"id": 1}]}))["headerExtensions"][0]["encrypt"],
            false
        );
        let whole = rtp_capabilities(json!({"headerExtensions": [{"direction": "recvonly"}]}));
        assert_eq!(whole["headerExtensions"][0], json!({"direction": "recvonly", "preferredEncrypt": false}));
        assert_eq!(whole["codecs"], json!([]));
    }

    #[test]
    fn what_they_say_stays_as_it_is() {
        let said = json!({"rtcp": {"reducedSize": false}, "encodings": [{"ssrc": 1}], "headerExtensions": [], "mid": "0"});
        assert_eq!(rtp_parameters(said.clone()), said);
        for wrong in [json!("x"), json!([]), json!({"headerExtensions": "x", "rtcp": 7, "encodings": null})] {
            let answer = rtp_parameters(wrong.clone());
            assert_eq!(answer.get("rtcp"), wrong.get("rtcp"));
        }
    }
}
