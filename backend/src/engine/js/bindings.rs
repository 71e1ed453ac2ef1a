//! The host object: each operation of `ctx` as a JavaScript function. Documents go over parsed, with a mark
//! (`$raw`) where something in them is still encoded.

use std::rc::Rc;

use rquickjs::{Ctx, Exception, Function, IntoJs as _, Object, Result, Value as Js};

use super::host::{FunctionInfo, Host};
use super::primitives;
use crate::engine::database::{Database, Selection};
use crate::engine::transaction::{Kind, OpError, Transaction};
use crate::engine::value::Value;

/// Puts the host object where `host.js` takes it from.
pub fn install(ctx: &Ctx<'_>, host: &Rc<Host>, environment: &[(String, String)]) -> Result<()> {
    let object = Object::new(ctx.clone())?;
    let variables = Object::new(ctx.clone())?;
    for (name, value) in environment {
        variables.set(name.as_str(), value.as_str())?;
    }
    object.set("environment", variables)?;
    primitives::add(ctx, &object)?;
    add_surroundings(ctx, host, &object)?;
    add_database(ctx, host, &object)?;
    add_queries(ctx, host, &object)?;
    add_nested(ctx, host, &object)?;
    ctx.globals().set("__host", object)
}

/// JSON text as a value for `receive` in `values.js`.
pub fn hand_over<'js>(ctx: &Ctx<'js>, text: &str) -> Result<Js<'js>> {
    let parsed = ctx.json_parse(text)?;
    if !text.contains("\"$") {
        return Ok(parsed);
    }
    let marked = Object::new(ctx.clone())?;
    marked.set("$raw", parsed)?;
    Ok(marked.into_value())
}

fn hand_over_option<'js>(ctx: &Ctx<'js>, text: Option<String>) -> Result<Js<'js>> {
    match text {
        Some(text) => hand_over(ctx, &text),
        None => Option::<String>::None
            .into_js(ctx)
            .map(|_| Js::new_null(ctx.clone())),
    }
}

/// Time, chance, identity and the log.
fn add_surroundings<'js>(ctx: &Ctx<'js>, host: &Rc<Host>, object: &Object<'js>) -> Result<()> {
    let of_call = |read: fn(&mut Transaction) -> f64, otherwise: fn() -> f64| {
        let host = Rc::clone(host);
        Function::new(ctx.clone(), move || {
            host.state().call.as_mut().map_or_else(otherwise, read)
        })
    };
    // While modules load there is no call: time stands at zero, and chance is plain.
    object.set("now", of_call(|call| call.now_ms as f64, || 0.0)?)?;
    object.set("random", of_call(Transaction::random, rand::random)?)?;
    let identity = Rc::clone(host);
    object.set(
        "identity",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>| {
            let claims = identity.operate(&ctx, |db| {
                Ok(db.call.identity.as_ref().map(|it| it.0.clone()))
            })?;
            hand_over_option(
                &ctx,
                claims.map(|claims| serde_json::Value::Object(claims).to_string()),
            )
        })?,
    )?;
    let log = Rc::clone(host);
    object.set(
        "log",
        Function::new(ctx.clone(), move |line: String| {
            if let Some(call) = &mut log.state().call {
                call.log(line);
            }
        })?,
    )
}

/// `ctx.db` without its queries, and `ctx.scheduler`.
fn add_database<'js>(ctx: &Ctx<'js>, host: &Rc<Host>, object: &Object<'js>) -> Result<()> {
    let own = Rc::clone(host);
    let get = move |ctx: Ctx<'js>, id: String| {
        let text = own.operate(&ctx, |db| db.get(&id))?;
        hand_over_option(&ctx, text)
    };
    object.set("get", Function::new(ctx.clone(), get)?)?;
    let own = Rc::clone(host);
    let normalize = move |ctx: Ctx<'js>, table: String, id: String| {
        own.operate(&ctx, |db| db.normalize_id(&table, &id))?
            .map_or_else(|| Ok(Js::new_null(ctx.clone())), |id| id.into_js(&ctx))
    };
    object.set("normalizeId", Function::new(ctx.clone(), normalize)?)?;
    let own = Rc::clone(host);
    let insert = move |ctx: Ctx<'js>, table: String, text: String| {
        own.operate(&ctx, |db| db.insert(&table, &text))
    };
    object.set("insert", Function::new(ctx.clone(), insert)?)?;
    let own = Rc::clone(host);
    let patch = move |ctx: Ctx<'js>, id: String, set: String, unset: Vec<String>| {
        own.operate(&ctx, |db| db.patch(&id, &set, &unset))
    };
    object.set("patch", Function::new(ctx.clone(), patch)?)?;
    let own = Rc::clone(host);
    let replace = move |ctx: Ctx<'js>, id: String, text: String| {
        own.operate(&ctx, |db| db.replace(&id, &text))
    };
    object.set("replace", Function::new(ctx.clone(), replace)?)?;
    let own = Rc::clone(host);
    let delete = move |ctx: Ctx<'js>, id: String| own.operate(&ctx, |db| db.delete(&id));
    object.set("delete", Function::new(ctx.clone(), delete)?)?;
    let own = Rc::clone(host);
    let schedule = move |ctx: Ctx<'js>, due: f64, path: String, args: String| {
        let known = own
            .function(&path)
            .is_some_and(|function| function.kind == Kind::Mutation);
        own.operate(&ctx, |db| {
            if known {
                db.schedule(due, &path, &args)
            } else {
                Err(OpError::Thrown(format!(
                    "cannot schedule `{path}`: there is no mutation of that name"
                )))
            }
        })
    };
    object.set("schedule", Function::new(ctx.clone(), schedule)?)?;
    let own = Rc::clone(host);
    let cancel = move |ctx: Ctx<'js>, job: String| own.operate(&ctx, |db| db.cancel(&job));
    object.set("cancel", Function::new(ctx.clone(), cancel)?)
}

/// `ctx.db.query(…)`: all at once, or row by row.
fn add_queries<'js>(ctx: &Ctx<'js>, host: &Rc<Host>, object: &Object<'js>) -> Result<()> {
    let own = Rc::clone(host);
    let scan = move |ctx: Ctx<'js>,
                     table: String,
                     index: String,
                     range: String,
                     descending: bool,
                     limit: f64| {
        let selection = Selection {
            table: &table,
            index: &index,
            range: &range,
            descending,
        };
        // Negative: all of them.
        let limit = if limit < 0.0 {
            usize::MAX
        } else {
            limit as usize
        };
        let text = own.operate(&ctx, |db| db.scan(&selection, limit))?;
        hand_over(&ctx, &text)
    };
    object.set("scan", Function::new(ctx.clone(), scan)?)?;
    let own = Rc::clone(host);
    let open =
        move |ctx: Ctx<'js>, table: String, index: String, range: String, descending: bool| {
            let selection = Selection {
                table: &table,
                index: &index,
                range: &range,
                descending,
            };
            own.operate(&ctx, |db| db.open_cursor(&selection))
        };
    object.set("openCursor", Function::new(ctx.clone(), open)?)?;
    let own = Rc::clone(host);
    let next = move |ctx: Ctx<'js>, cursor: usize| {
        let text = own.operate(&ctx, |db| db.next_row(cursor))?;
        hand_over_option(&ctx, text)
    };
    object.set("nextRow", Function::new(ctx.clone(), next)?)
}

/// `ctx.runQuery` and `ctx.runMutation`: the same transaction, with a part of its own for a mutation.
fn add_nested<'js>(ctx: &Ctx<'js>, host: &Rc<Host>, object: &Object<'js>) -> Result<()> {
    let own = Rc::clone(host);
    let begin = move |ctx: Ctx<'js>, path: String, kind: String, args: String| {
        let function = own
            .function(&path)
            .filter(|function| Some(function.kind) == Kind::parse(&kind));
        let Some(function) = function else {
            return Err(Exception::throw_message(
                &ctx,
                &format!("there is no {kind} `{path}`"),
            ));
        };
        own.operate(&ctx, |db| begin_nested(db, &function, &args))?;
        hand_over(&ctx, &args)
    };
    object.set("beginNested", Function::new(ctx.clone(), begin)?)?;
    let own = Rc::clone(host);
    let end = move |ctx: Ctx<'js>, path: String, keep: bool, result: String| {
        let Some(function) = own.function(&path) else {
            return Err(Exception::throw_message(
                &ctx,
                &format!("there is no function `{path}`"),
            ));
        };
        own.operate(&ctx, |db| end_nested(db, &function, keep, &result))?;
        if keep {
            hand_over(&ctx, &result)
        } else {
            Ok(Js::new_null(ctx))
        }
    };
    object.set("endNested", Function::new(ctx.clone(), end)?)
}

fn begin_nested(
    db: &mut Database<'_>,
    function: &FunctionInfo,
    args: &str,
) -> std::result::Result<(), OpError> {
    function.check_args(&Value::parse(args)?, db.schema, db.limits)?;
    if function.kind == Kind::Mutation {
        db.store.savepoint()?;
        db.call.begin_nested();
    }
    Ok(())
}

fn end_nested(
    db: &mut Database<'_>,
    function: &FunctionInfo,
    keep: bool,
    result: &str,
) -> std::result::Result<(), OpError> {
    let checked = if keep {
        Value::parse(result).and_then(|result| function.check_result(&result, db.schema, db.limits))
    } else {
        Ok(())
    };
    if function.kind == Kind::Mutation {
        let keep = keep && checked.is_ok();
        db.store.end_savepoint(keep)?;
        db.call.end_nested(keep);
    }
    checked.map_err(OpError::Thrown)
}
