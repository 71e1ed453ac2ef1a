//! An engine with inline modules, and short forms of calls.

use orchestrator_backend::engine::{
    Call, Engine, EngineConfig, FunctionError, Functions, Identity, Limits, MutationOutcome,
    OpenError, QueryOutcome, SessionRequest, Store,
};
use serde_json::{Value, json};

/// A schema with one table that takes anything, and `notes` with fields and indexes.
pub const SCHEMA: &str = r#"
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
export default defineSchema({
  any: defineTable(v.any()).index("by_a", ["a"]).index("by_a_b", ["a", "b"]),
  notes: defineTable({ author: v.string(), seq: v.number(), text: v.optional(v.string()) })
    .index("by_author_seq", ["author", "seq"]),
});
"#;

pub const IMPORTS: &str = r#"
import { queryGeneric as query, mutationGeneric as mutation, internalMutationGeneric as internalMutation,
  internalQueryGeneric as internalQuery, makeFunctionReference, anyApi } from "convex/server";
import { v, ConvexError } from "convex/values";
"#;

pub fn config(module: &str) -> EngineConfig {
    EngineConfig {
        store: Store::Memory,
        functions: Functions::new([
            ("schema", SCHEMA.to_string()),
            ("m", format!("{IMPORTS}{module}")),
        ]),
        limits: Limits::default(),
    }
}

/// An engine in memory with one module `m`.
pub fn engine(module: &str) -> Engine {
    Engine::open(config(module)).unwrap()
}

/// `Engine` is no `Debug`, so `unwrap_err` is not to be had.
pub fn refusal(config: EngineConfig) -> OpenError {
    match Engine::open(config) {
        Ok(_) => panic!("the engine opened"),
        Err(error) => error,
    }
}

pub fn call(path: &str, args: Value) -> Call {
    Call {
        path: path.into(),
        args,
        identity: None,
    }
}

pub fn as_user(path: &str, args: Value, subject: &str) -> Call {
    let claims =
        json!({"tokenIdentifier": format!("iss|{subject}"), "issuer": "iss", "subject": subject});
    Call {
        identity: Some(Identity(claims.as_object().unwrap().clone())),
        ..call(path, args)
    }
}

/// Short forms: the result only.
pub trait Calls {
    fn ask(&mut self, path: &str, args: Value) -> QueryOutcome;
    fn tell(&mut self, path: &str, args: Value) -> MutationOutcome;
    fn get(&mut self, path: &str, args: Value) -> Value;
    fn done(&mut self, path: &str, args: Value) -> Value;
    fn query_error(&mut self, path: &str, args: Value) -> FunctionError;
    fn mutation_error(&mut self, path: &str, args: Value) -> FunctionError;
}

impl Calls for Engine {
    fn ask(&mut self, path: &str, args: Value) -> QueryOutcome {
        self.query(&call(path, args))
    }

    fn tell(&mut self, path: &str, args: Value) -> MutationOutcome {
        self.mutation(&call(path, args), None)
    }

    fn get(&mut self, path: &str, args: Value) -> Value {
        self.ask(path, args)
            .result
            .unwrap_or_else(|error| panic!("{path}: {}", error.message))
    }

    fn done(&mut self, path: &str, args: Value) -> Value {
        self.tell(path, args)
            .result
            .unwrap_or_else(|error| panic!("{path}: {}", error.message))
    }

    fn query_error(&mut self, path: &str, args: Value) -> FunctionError {
        self.ask(path, args).result.unwrap_err()
    }

    fn mutation_error(&mut self, path: &str, args: Value) -> FunctionError {
        self.tell(path, args).result.unwrap_err()
    }
}

pub fn request(session: &str, id: u32) -> SessionRequest {
    SessionRequest {
        session_id: session.into(),
        request_id: id,
    }
}
