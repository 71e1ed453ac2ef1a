//! What the functions' JavaScript reaches in Rust: the store, the schema and the call that is running. Between calls
//! there is none, and every operation fails.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use rquickjs::{Ctx, Exception};

use super::timer::Timer;
use crate::engine::config::Limits;
use crate::engine::database::Database;
use crate::engine::schema::Schema;
use crate::engine::store::Store;
use crate::engine::transaction::{Kind, OpError, Transaction};
use crate::engine::validator::Validator;
use crate::engine::value::Value;

/// What the host knows of a function.
#[derive(Debug)]
pub struct FunctionInfo {
    pub kind: Kind,
    pub public: bool,
    args: Validator,
    returns: Option<Validator>,
}

impl FunctionInfo {
    pub fn parse(json: &serde_json::Value) -> Result<Self, String> {
        let returns = Some(&json["returns"]).filter(|returns| !returns.is_null());
        Ok(Self {
            kind: json["kind"]
                .as_str()
                .and_then(Kind::parse)
                .ok_or("its kind is not known")?,
            public: json["public"] == true,
            args: Validator::from_json(&json["args"])?,
            returns: returns.map(Validator::from_json).transpose()?,
        })
    }

    pub fn check_args(&self, args: &Value, schema: &Schema, limits: &Limits) -> Result<(), String> {
        if !matches!(args, Value::Object(_)) {
            return Err("ArgumentValidationError: the arguments must be one object".into());
        }
        let size = args.size();
        if size > limits.value_bytes {
            let limit = limits.value_bytes;
            return Err(format!(
                "Arguments are too large (actual: {size} bytes, limit: {limit} bytes)"
            ));
        }
        args.check_shape(limits.array_elements, limits.nesting)
            .and_then(|()| {
                self.args
                    .check(args, schema)
                    .map_err(|mismatch| mismatch.to_string())
            })
            .map_err(|problem| format!("ArgumentValidationError: {problem}"))
    }

    pub fn check_result(
        &self,
        result: &Value,
        schema: &Schema,
        limits: &Limits,
    ) -> Result<(), String> {
        let size = result.size();
        if size > limits.value_bytes {
            let limit = limits.value_bytes;
            return Err(format!(
                "Return value is too large (actual: {size} bytes, limit: {limit} bytes)"
            ));
        }
        result.check_shape(limits.array_elements, limits.nesting)?;
        let Some(validator) = &self.returns else {
            return Ok(());
        };
        validator
            .check(result, schema)
            .map_err(|mismatch| format!("ReturnsValidationError: {mismatch}"))
    }
}

pub struct Host {
    pub timer: Timer,
    state: RefCell<State>,
}

/// The host's state; `store` is there from the end of `Engine::open` on.
pub struct State {
    pub store: Option<Store>,
    pub schema: Rc<Schema>,
    pub functions: HashMap<String, Rc<FunctionInfo>>,
    pub limits: Limits,
    pub call: Option<Transaction>,
}

impl Host {
    pub fn new(limits: Limits) -> Rc<Self> {
        let state = State {
            store: None,
            schema: Rc::default(),
            functions: HashMap::new(),
            limits,
            call: None,
        };
        Rc::new(Self {
            timer: Timer::default(),
            state: RefCell::new(state),
        })
    }

    /// For the engine, never while a function runs.
    pub fn state(&self) -> std::cell::RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// One operation on behalf of the running function; its failure is thrown there.
    pub fn operate<R>(
        &self,
        ctx: &Ctx<'_>,
        operation: impl FnOnce(&mut Database<'_>) -> Result<R, OpError>,
    ) -> rquickjs::Result<R> {
        let mut state = self.state.borrow_mut();
        let State {
            store,
            schema,
            limits,
            call,
            ..
        } = &mut *state;
        let (Some(store), Some(call)) = (store, call) else {
            return Err(Exception::throw_message(
                ctx,
                "the function has ended: its operations are not available",
            ));
        };
        if let Some(fatal) = &call.fatal {
            return Err(Exception::throw_message(ctx, fatal));
        }
        let mut database = Database {
            store,
            schema,
            limits,
            call,
        };
        let result = self.timer.excluding(|| operation(&mut database));
        result.map_err(|error| {
            if let OpError::Storage { damage, .. } = error {
                call.storage_failed = true;
                call.damaged |= damage;
            }
            match error {
                OpError::Thrown(message) => Exception::throw_message(ctx, &message),
                OpError::Fatal(message) | OpError::Storage { message, .. } => {
                    let thrown = Exception::throw_message(ctx, &message);
                    call.fatal = Some(message);
                    thrown
                }
            }
        })
    }

    /// The function that a nested call names.
    pub fn function(&self, path: &str) -> Option<Rc<FunctionInfo>> {
        self.state.borrow().functions.get(path).cloned()
    }
}
