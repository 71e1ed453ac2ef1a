//! What this deployment does not do fails with an error that names it: at the start where it is declared, in the call
//! where it is used. (Keys of int64 and bytes are not among it: they sort as Convex sorts them, see the conformance
//! suite.)

use orchestrator_backend::engine::{Functions, OpenError};
use serde_json::json;

use crate::support::{Calls as _, config, engine, refusal};

#[test]
fn what_is_declared_and_not_supported_is_named_at_the_start() {
    for (declared, named) in [
        (
            "cronJobs().interval('tick', { seconds: 1 }, 'm:f')",
            "`cronJobs`",
        ),
        ("actionGeneric({ handler: async () => 1 })", "`action`"),
        (
            "internalActionGeneric({ handler: async () => 1 })",
            "`internalAction`",
        ),
        ("httpActionGeneric(async () => 1)", "`httpAction`"),
        ("httpRouter()", "`httpRouter`"),
        ("createFunctionHandle('m:f')", "`createFunctionHandle`"),
        ("defineApp()", "`defineApp`"),
        ("defineComponent('c')", "`defineComponent`"),
        (
            "query({ args: { at: paginationOptsValidator }, handler: async () => 1 })",
            "`paginationOptsValidator`",
        ),
    ] {
        let imports = "import { cronJobs, actionGeneric, internalActionGeneric, httpActionGeneric, httpRouter, \
             createFunctionHandle, defineApp, defineComponent, paginationOptsValidator } from 'convex/server';";
        let error = refusal(config(&format!("{imports} export default {declared};")));
        assert!(
            matches!(&error, OpenError::Module { module, .. } if module == "m"),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains(named) && text.contains("is not supported by the embedded deployment"),
            "{text}"
        );
    }
}

#[test]
fn an_index_of_another_kind_is_named_at_the_start() {
    for (kind, given) in [
        ("searchIndex", "{ searchField: 'a' }"),
        ("vectorIndex", "{ vectorField: 'a', dimensions: 3 }"),
    ] {
        let schema = format!(
            "import {{ defineSchema, defineTable }} from 'convex/server'; import {{ v }} from 'convex/values';
             export default defineSchema({{ t: defineTable(v.any()).{kind}('by', {given}) }});"
        );
        let mut config = config("");
        config.functions = Functions::new([("schema", schema)]);
        let text = refusal(config).to_string();
        assert!(
            text.contains(&format!(
                "`{kind}` is not supported by the embedded deployment"
            )),
            "{text}"
        );
    }
}

#[test]
fn what_is_used_and_not_supported_is_named_in_the_call() {
    for (used, says) in [
        (
            "ctx.db.query('any').filter((q) => q.eq(q.field('a'), 1)).collect()",
            "`filter` is not supported",
        ),
        (
            "ctx.db.query('any').paginate({ numItems: 1, cursor: null })",
            "`paginate` is not supported",
        ),
        (
            "ctx.db.query('any').withSearchIndex('s', (q) => q.search('a', 'b'))",
            "`withSearchIndex` is not supported",
        ),
        ("ctx.db.query('any').count()", "`count` is not supported"),
        (
            "ctx.db.system.query('_storage')",
            "`ctx.db.system` is not supported",
        ),
        ("ctx.storage.getUrl('x')", "`ctx.storage` is not supported"),
        (
            "ctx.vectorSearch('any', 'v', {})",
            "`ctx.vectorSearch` is not supported",
        ),
        (
            "ctx.runAction('m:f', {})",
            "`ctx.runAction` is not supported",
        ),
        ("fetch('http://127.0.0.1:1')", "`fetch` is not available"),
        ("setTimeout(() => {}, 1)", "`setTimeout` is not available"),
        (
            "crypto.subtle.generateKey({}, true, [])",
            "`crypto.subtle.generateKey` is not supported",
        ),
    ] {
        let mut engine = engine(&format!(
            "export const ask = query({{ handler: async (ctx) => {used} }});
             export const tell = mutation({{ handler: async (ctx) => {used} }});"
        ));
        for message in [
            engine.query_error("m:ask", json!({})).message,
            engine.mutation_error("m:tell", json!({})).message,
        ] {
            assert!(message.contains(says), "{used}: {message}");
        }
    }
}
