//! protoo's envelope: what is a request, a response, a notification.

use serde::Serialize;
use serde_json::{Value, json};

/// What a client's text frame is.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientFrame {
    /// The client asks; every request gets exactly one response with its id.
    Request {
        /// Chosen by the client.
        id: u64,
        /// What it asks for.
        method: String,
        /// The body; an empty object where the client sent none.
        data: Value,
    },
    /// The client accepts a request of ours.
    Success {
        /// Id of our request.
        id: u64,
    },
    /// The client rejects a request of ours.
    Failure {
        /// Id of our request.
        id: u64,
        /// Its errorCode: HTTP's status that says the same; 500 where it gives none.
        code: u16,
        /// Its errorReason.
        reason: String,
    },
    /// A notification; no method of ours uses one, so it is read and ignored.
    Notification,
}

/// Why a text is not a protoo frame, with the id of the request where there is one to answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct FrameError {
    /// The id to answer with; a frame without one is answered with id 0.
    pub id: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

impl ClientFrame {
    /// Reads one text frame.
    ///
    /// # Errors
    /// When the text is not JSON, not an object, or not one of protoo's four kinds.
    pub fn parse(text: &str) -> Result<Self, FrameError> {
        let mut value: Value = serde_json::from_str(text)
            .map_err(|e| FrameError { id: None, reason: format!("the frame is not JSON: {e}") })?;
        let id = value.get("id").and_then(Value::as_u64);
        let error = |reason: &str| FrameError { id, reason: reason.to_owned() };
        let Some(object) = value.as_object_mut() else {
            return Err(error("the frame is not a JSON object"));
        };
        let is = |key: &str| object.get(key).and_then(Value::as_bool).unwrap_or(false);
        if is("request") {
            let id = id.ok_or_else(|| error("id: a request needs a whole number of 0 or more"))?;
            let method = match object.get("method").and_then(Value::as_str) {
                Some(method) if !method.is_empty() => method.to_owned(),
                _ => return Err(error("method: a request needs a text")),
            };
            let data = match object.remove("data") {
                None | Some(Value::Null) => json!({}),
                Some(data @ Value::Object(_)) => data,
                Some(_) => return Err(error("data: is not an object")),
            };
            Ok(Self::Request { id, method, data })
        } else if is("response") {
            let id = id.ok_or_else(|| error("id: a response needs the id of its request"))?;
            if is("ok") {
                return Ok(Self::Success { id });
            }
            let reason = object.get("errorReason").and_then(Value::as_str).unwrap_or("no reason given");
            let code = object.get("errorCode").and_then(Value::as_u64).and_then(|code| code.try_into().ok());
            let code = code.unwrap_or(500);
            Ok(Self::Failure { id, code, reason: reason.chars().take(200).collect() })
        } else if is("notification") {
            Ok(Self::Notification)
        } else {
            Err(error("the frame is neither a request, a response nor a notification"))
        }
    }
}

/// The text of a success response.
pub fn success<T: Serialize>(id: u64, data: &T) -> String {
    json!({ "response": true, "id": id, "ok": true, "data": data }).to_string()
}

/// The text of a failure response. `code` is HTTP's status that says the same.
pub fn failure(id: u64, code: u16, reason: &str) -> String {
    json!({ "response": true, "id": id, "ok": false, "errorCode": code, "errorReason": reason }).to_string()
}

/// The text of a request of ours.
pub fn request(id: u64, request: &super::ServerRequest) -> String {
    let mut frame = json!(request);
    frame["request"] = true.into();
    frame["id"] = id.into();
    frame.to_string()
}

/// The text of a notification.
pub fn notification(notification: &super::Notification) -> String {
    let mut frame = json!(notification);
    frame["notification"] = true.into();
    frame.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_data_has_an_empty_body() {
        let frame = ClientFrame::parse(r#"{"request":true,"id":3,"method":"join"}"#).expect("a request");
        assert_eq!(frame, ClientFrame::Request { id: 3, method: "join".into(), data: json!({}) });
    }

    #[test]
    fn a_failure_says_whose_it_is() {
        let failure = |text: &str| match ClientFrame::parse(text) {
            Ok(ClientFrame::Failure { id: 3, code, reason }) => (code, reason),
            other => panic!("{other:?}"),
        };
        let refused = r#"{"response":true,"id":3,"ok":false,"errorCode":403,"errorReason":"no"}"#;
        assert_eq!(failure(refused), (403, "no".to_owned()));
        for unclear in [r#"{"response":true,"id":3}"#, r#"{"response":true,"id":3,"errorCode":-7}"#] {
            assert_eq!(failure(unclear).0, 500);
        }
    }

    #[test]
    fn errors_keep_the_id_where_there_is_one() {
        let error = ClientFrame::parse(r#"{"request":true,"id":3}"#).expect_err("no method");
        assert_eq!(error.id, Some(3));
        assert!(error.reason.contains("method"));
        assert_eq!(ClientFrame::parse("}{").expect_err("no JSON").id, None);
        assert!(ClientFrame::parse("[]").is_err());
        assert!(ClientFrame::parse(r#"{"request":true,"id":-1,"method":"join"}"#).is_err());
    }
}
