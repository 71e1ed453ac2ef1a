//! The sync protocol's messages at our border: parsing and canonicalising what clients send, encoding what we answer.
//! Knows nothing of connections.

use std::str::FromStr;

use convex_sync_types::{
    ClientMessage, LogLinesMessage, ServerMessage, Timestamp, UdfPath,
    types::{ErrorPayload, SerializedArgs},
};
use serde_json::{Value, json};

use super::deep;
use super::fit::Fitted;
use crate::engine::{FunctionError, MutationOutcome};

pub(in crate::server) const ACTIONS_UNSUPPORTED: &str =
    "actions are not supported by the embedded deployment: use a query or a mutation";

/// `Err` is the client's fault.
pub(super) fn parse(text: &str) -> Result<ClientMessage, String> {
    let value: Value = serde_json::from_str(text)
        .or_else(|error| {
            if deep::is_too_deep(&error) {
                return serde_json::from_str(&deep::shallow(text));
            }
            Err(error)
        })
        .map_err(|error| format!("received invalid JSON: {error}"))?;
    ClientMessage::try_from(value).map_err(|error| format!("received an invalid message: {error}"))
}

pub(super) fn encode(message: ServerMessage<Value>) -> String {
    Value::from(message).to_string()
}

/// `module:function`, whichever of its spellings a client used.
pub(in crate::server) fn canonical_path(path: &str) -> Result<String, String> {
    let path = UdfPath::from_str(path).map_err(|error| format!("bad function path: {error}"))?;
    Ok(canonical(path))
}

pub(super) fn canonical(path: UdfPath) -> String {
    let path = path.canonicalize();
    let module = path.module().as_str();
    let module = module.strip_suffix(".js").unwrap_or(module);
    format!("{module}:{}", path.function_name())
}

/// Functions take one object; clients wrap it in a list.
pub(in crate::server) fn single_argument(args: Value) -> Result<Value, String> {
    match args {
        Value::Null => Ok(json!({})),
        Value::Object(_) => Ok(args),
        Value::Array(mut list) => match (list.pop(), list.is_empty()) {
            (None, _) => Ok(json!({})),
            (Some(object @ Value::Object(_)), true) => Ok(object),
            _ => Err("a function takes one object as its arguments".to_owned()),
        },
        _ => Err("a function takes one object as its arguments".to_owned()),
    }
}

pub(super) fn arguments(args: &SerializedArgs) -> Result<Value, String> {
    let args =
        serde_json::from_str(args.get()).map_err(|error| format!("bad arguments: {error}"))?;
    single_argument(args)
}

/// Whether a run as a query was refused because the function is something else.
pub(in crate::server) fn says_not_a_query(error: &FunctionError) -> bool {
    let said = error.message.strip_prefix("Trying to execute ");
    said.is_some_and(|rest| rest.ends_with(" as Query, but it is defined as Mutation."))
}

pub(super) fn mutation_response(
    request: u32,
    outcome: MutationOutcome,
    limit: usize,
) -> ServerMessage<Value> {
    let committed = outcome.result.is_ok();
    let mut answer = Fitted::new(outcome.result, outcome.log_lines, limit);
    if let (true, Err(error)) = (committed, &mut answer.result) {
        error
            .message
            .push_str(" (what the mutation wrote is committed)");
    }
    ServerMessage::MutationResponse {
        request_id: request,
        // a failure has no timestamp: there is nothing to wait for
        ts: answer.result.is_ok().then(|| timestamp(outcome.ts)),
        result: answer.result.map_err(error_payload),
        log_lines: LogLinesMessage(answer.log_lines),
    }
}

/// A mutation that was never given to the engine.
pub(super) fn mutation_refused(request: u32, reason: String) -> ServerMessage<Value> {
    ServerMessage::MutationResponse {
        request_id: request,
        result: Err(ErrorPayload::Message(reason)),
        ts: None,
        log_lines: LogLinesMessage(Vec::new()),
    }
}

pub(super) fn action_refused(request: u32) -> ServerMessage<Value> {
    ServerMessage::ActionResponse {
        request_id: request,
        result: Err(ErrorPayload::Message(ACTIONS_UNSUPPORTED.to_owned())),
        log_lines: LogLinesMessage(Vec::new()),
    }
}

fn error_payload(error: FunctionError) -> ErrorPayload<Value> {
    match error.data {
        Some(data) => ErrorPayload::ErrorData {
            message: error.message,
            data,
        },
        None => ErrorPayload::Message(error.message),
    }
}

pub(super) fn timestamp(ts: u64) -> Timestamp {
    Timestamp::try_from(ts).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_path_is_one_function() {
        for (path, canonical) in [
            ("messages:list", "messages:list"),
            ("messages.js:list", "messages:list"),
            ("lib/auth:check", "lib/auth:check"),
            ("messages", "messages:default"),
        ] {
            assert_eq!(canonical_path(path).unwrap(), canonical);
        }
        for path in ["", "/abs:x", "../up:x", "a.mp3:x", "a:b c"] {
            assert!(canonical_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn arguments_are_one_object() {
        let object = json!({"a": 1});
        assert_eq!(single_argument(object.clone()).unwrap(), object);
        assert_eq!(single_argument(json!([object])).unwrap(), object);
        assert_eq!(single_argument(json!([])).unwrap(), json!({}));
        assert_eq!(single_argument(Value::Null).unwrap(), json!({}));
        for bad in [json!([{}, {}]), json!([1]), json!("x"), json!(1)] {
            assert!(single_argument(bad).is_err());
        }
    }

    #[test]
    fn garbage_is_the_clients_fault_not_a_panic() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"type":"Nope"}"#,
            r#"{"type":"Mutation","requestId":0}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
