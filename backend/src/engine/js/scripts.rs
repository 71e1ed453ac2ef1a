//! The loaded functions: one QuickJS runtime and context with all modules in it, made at start and used for every
//! call. After a call that had to be broken off it is thrown away and made anew, so that nothing of it is left.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use rquickjs::promise::PromiseState;
use rquickjs::{Context, Ctx, Function, Module, Object, Persistent, Promise, Runtime};

use super::bindings;
use super::failure::{Thrown, frames, internal, uncaught};
use super::host::{FunctionInfo, Host};
use super::modules::{Sources, file_name};
use crate::engine::api::FunctionError;
use crate::engine::config::{Functions, Limits};
use crate::engine::error::OpenError;
use crate::engine::schema::Declared;

const STACK_BYTES: usize = 512 << 10;
/// For all modules' top-level code together.
const LOAD_TIME: Duration = Duration::from_secs(10);
/// What a function may leave behind in the job queue when it ends.
const LEFTOVER_JOBS: usize = 10_000;

pub struct Scripts {
    // Handles into the context go before it.
    invoke: Persistent<Function<'static>>,
    describe: Persistent<Function<'static>>,
    context: Context,
    runtime: Runtime,
    limits: Limits,
}

/// What loading found.
pub struct Loaded {
    pub declared: Declared,
    pub functions: HashMap<String, Rc<FunctionInfo>>,
}

/// How a call ended.
pub struct Ended {
    /// The result's JSON text.
    pub result: Result<String, FunctionError>,
    /// The runtime may still hold parts of the call and must not be used again.
    pub spoiled: bool,
    /// Neither the function nor its limits ended it.
    pub internal: bool,
}

impl Scripts {
    pub fn load(
        functions: &Functions,
        host: &Rc<Host>,
        limits: &Limits,
    ) -> Result<(Self, Loaded), OpenError> {
        let failed = |error: rquickjs::Error| OpenError::Runtime(error.to_string());
        let sources = Sources::new(functions);
        let runtime = Runtime::new().map_err(failed)?;
        runtime.set_memory_limit(limits.heap_bytes);
        runtime.set_max_stack_size(STACK_BYTES);
        runtime.set_loader(sources.clone(), sources.clone());
        let watched = Rc::clone(host);
        runtime.set_interrupt_handler(Some(Box::new(move || watched.timer.interrupt())));
        let context = Context::full(&runtime).map_err(failed)?;
        host.timer.start(LOAD_TIME);
        let (invoke, describe, loaded) = context.with(|ctx| {
            bindings::install(&ctx, host, &functions.environment).map_err(failed)?;
            import(&ctx, "convex/prelude")?;
            let ours = import(&ctx, "convex/load")?;
            let loaded = load_modules(&ctx, &ours, &sources)?;
            let save = |name: &str| {
                let function: Function = ours.get(name).map_err(failed)?;
                Ok::<_, OpenError>(Persistent::save(&ctx, function))
            };
            Ok::<_, OpenError>((save("invoke")?, save("describe")?, loaded))
        })?;
        Ok((
            Self {
                invoke,
                describe,
                context,
                runtime,
                limits: *limits,
            },
            loaded,
        ))
    }

    /// Runs a function until its promise is settled. The host's call must be in place.
    pub fn run(&self, host: &Host, path: &str, args: &str) -> Ended {
        host.timer.start(self.limits.user_time);
        self.context.with(|ctx| {
            let outcome = self.settle(&ctx, host, path, args);
            if host.timer.fired() {
                return self.timed_out();
            }
            match outcome {
                Ok(Some(result)) => Ended {
                    result: Ok(result),
                    spoiled: false,
                    internal: false,
                },
                Ok(None) => {
                    let message = "the function waits for a promise that nothing will ever settle";
                    Ended {
                        result: Err(uncaught(message)),
                        spoiled: false,
                        internal: false,
                    }
                }
                Err(rquickjs::Error::Exception) => self.thrown(&ctx),
                Err(error) => Ended {
                    result: Err(internal(&error)),
                    spoiled: true,
                    internal: true,
                },
            }
        })
    }

    fn settle(
        &self,
        ctx: &Ctx<'_>,
        host: &Host,
        path: &str,
        args: &str,
    ) -> rquickjs::Result<Option<String>> {
        let invoke = self.invoke.clone().restore(ctx)?;
        let promise: Promise = invoke.call((path, bindings::hand_over(ctx, args)?))?;
        while promise.state() == PromiseState::Pending {
            if host.timer.fired() || !ctx.execute_pending_job() {
                return Ok(None);
            }
        }
        promise.result().transpose()
    }

    fn timed_out(&self) -> Ended {
        let limit = self.limits.user_time;
        let message = format!("Function execution timed out (maximum duration: {limit:?})");
        Ended {
            result: Err(uncaught(&message)),
            spoiled: true,
            internal: false,
        }
    }

    fn thrown(&self, ctx: &Ctx<'_>) -> Ended {
        let described = self
            .describe
            .clone()
            .restore(ctx)
            .and_then(|describe| describe.call::<_, String>((ctx.catch(),)))
            .ok()
            .and_then(|text| Thrown::parse(&text));
        match described {
            Some(thrown) if thrown.is_interrupted() => self.timed_out(),
            Some(thrown) if thrown.is_null() => {
                let message = format!(
                    "Function ran out of memory (maximum: {} bytes), or threw null",
                    self.limits.heap_bytes
                );
                Ended {
                    result: Err(uncaught(&message)),
                    spoiled: true,
                    internal: false,
                }
            }
            Some(thrown) if !thrown.is_out_of_memory() => Ended {
                result: Err(thrown.into_error()),
                spoiled: false,
                internal: false,
            },
            // Something that cannot even be described: most likely there is no memory left to do it.
            _ => {
                ctx.catch();
                let message = format!(
                    "Function ran out of memory (maximum: {} bytes)",
                    self.limits.heap_bytes
                );
                Ended {
                    result: Err(uncaught(&message)),
                    spoiled: true,
                    internal: false,
                }
            }
        }
    }

    /// Ends what a finished function left in the queue; it reaches no host operation any more. `false`: it does not
    /// end, the runtime is spoiled.
    pub fn sweep(&self, host: &Host) -> bool {
        if !self.runtime.is_job_pending() {
            return true;
        }
        host.timer.start(Duration::from_millis(100));
        self.context.with(|ctx| {
            for _ in 0..LEFTOVER_JOBS {
                if host.timer.fired() {
                    return false;
                }
                if !ctx.execute_pending_job() {
                    return true;
                }
            }
            false
        })
    }
}

fn load_modules<'js>(
    ctx: &Ctx<'js>,
    ours: &Object<'js>,
    sources: &Sources,
) -> Result<Loaded, OpenError> {
    let collect: Function = ours
        .get("collect")
        .map_err(|error| OpenError::Runtime(error.to_string()))?;
    let mut loaded = Loaded {
        declared: Declared::default(),
        functions: HashMap::new(),
    };
    for name in sources.names() {
        let named = |message: String| OpenError::Module {
            module: name.clone(),
            message,
        };
        let exports = import(ctx, &file_name(&name))?;
        let found: String = collect
            .call((name.as_str(), exports.clone()))
            .map_err(|error| named(explain(ctx, error)))?;
        let found: Vec<serde_json::Value> =
            serde_json::from_str(&found).map_err(|error| named(error.to_string()))?;
        for function in found {
            let path = function["path"].as_str().unwrap_or_default().to_string();
            let info = FunctionInfo::parse(&function)
                .map_err(|error| named(format!("`{path}`: {error}")))?;
            loaded.functions.insert(path, Rc::new(info));
        }
        if name == "schema" {
            let export: Function = ours
                .get("exportSchema")
                .map_err(|error| OpenError::Runtime(error.to_string()))?;
            let text: String = export
                .call((exports,))
                .map_err(|error| OpenError::Schema(explain(ctx, error)))?;
            loaded.declared = Declared::parse(&text).map_err(OpenError::Schema)?;
        }
    }
    Ok(loaded)
}

fn import<'js>(ctx: &Ctx<'js>, name: &str) -> Result<Object<'js>, OpenError> {
    Module::import(ctx, name)
        .and_then(|promise| promise.finish::<Object>())
        .map_err(|error| OpenError::Module {
            module: name.trim_end_matches(".js").into(),
            message: explain(ctx, error),
        })
}

/// An error while loading, where `describe` is not at hand.
fn explain(ctx: &Ctx<'_>, error: rquickjs::Error) -> String {
    if !matches!(error, rquickjs::Error::Exception) {
        return error.to_string();
    }
    let thrown = ctx.catch();
    match thrown.as_exception() {
        Some(exception) => {
            let message = exception.message().unwrap_or_default();
            format!(
                "{message}{}",
                frames(&exception.stack().unwrap_or_default())
            )
        }
        None => format!("it throws {thrown:?}"),
    }
}
