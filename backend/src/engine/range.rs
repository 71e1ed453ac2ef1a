//! Index ranges: what `q => q.eq("a", 1).gt("b", 2)` means as bounds of keys.

use serde::Deserialize;

use super::key;
use super::schema::Index;
use super::value::Value;

/// One step of a range expression, as the database module sends it.
#[derive(Debug, Deserialize)]
pub struct Step {
    op: Op,
    field: String,
    /// Not there: the field is compared with `undefined`.
    #[serde(default, deserialize_with = "present")]
    value: Option<Value>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Op {
    Eq,
    Gt,
    Gte,
    Lt,
    Lte,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    // `null` is a value here; only a missing field is `undefined`.
    Value::deserialize(deserializer).map(Some)
}

/// `[from, to)` in an index.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    pub from: Vec<u8>,
    pub to: Option<Vec<u8>>,
}

impl Bounds {
    pub fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }
}

/// The steps must follow the index's fields: some equalities, then at most one lower and one upper bound on the
/// next field.
pub fn bounds(index: &Index, text: &str) -> Result<Bounds, String> {
    let steps: Vec<Step> =
        serde_json::from_str(text).map_err(|error| format!("index range: {error}"))?;
    let mut fields = index.key_fields();
    let mut prefix = Vec::new();
    let equalities = steps.iter().take_while(|step| step.op == Op::Eq).count();
    for step in &steps[..equalities] {
        if fields.next() != Some(step.field.as_str()) {
            return Err(out_of_order(index, &steps, &step.field));
        }
        key::push(&mut prefix, step.value.as_ref());
    }
    let mut bounds = Bounds {
        from: prefix.clone(),
        to: key::after_prefix(&prefix),
    };
    let (mut lower, mut upper) = (false, false);
    let ranged = fields.next();
    for step in &steps[equalities..] {
        if step.op == Op::Eq || ranged != Some(step.field.as_str()) {
            return Err(out_of_order(index, &steps, &step.field));
        }
        let mut edge = prefix.clone();
        key::push(&mut edge, step.value.as_ref());
        let is_lower = matches!(step.op, Op::Gt | Op::Gte);
        if std::mem::replace(if is_lower { &mut lower } else { &mut upper }, true) {
            let side = if is_lower { "lower" } else { "upper" };
            return Err(format!(
                "Index range of {} has two {side} bounds on `{}`",
                index.full_name, step.field
            ));
        }
        match step.op {
            // An edge has at least a tag, so there is always a key after it.
            Op::Gt => bounds.from = key::after_prefix(&edge).unwrap_or(edge),
            Op::Gte => bounds.from = edge,
            Op::Lt => bounds.to = Some(edge),
            Op::Lte | Op::Eq => bounds.to = key::after_prefix(&edge),
        }
    }
    Ok(bounds)
}

fn out_of_order(index: &Index, steps: &[Step], wrong: &str) -> String {
    let wanted: Vec<_> = index.key_fields().collect();
    let used: Vec<_> = steps.iter().map(|step| step.field.as_str()).collect();
    format!(
        "Tried to query index {} but the query didn't use the index fields in order.\nIndex fields: {wanted:?}\n\
         Query fields: {used:?}\nFirst incorrect field: {wrong:?}",
        index.full_name
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index() -> Index {
        Index {
            number: 1,
            name: "by_a_b".into(),
            full_name: "t.by_a_b".into(),
            fields: vec!["a".into(), "b".into()],
        }
    }

    fn step(op: &str, field: &str, value: &Value) -> String {
        format!(
            r#"{{"op":"{op}","field":"{field}","value":{}}}"#,
            value.to_text()
        )
    }

    proptest! {
        #[test]
        fn bounds_hold_exactly_what_the_comparisons_say(
            a in crate::engine::value::strategy::value(),
            b in crate::engine::value::strategy::value(),
            edge in crate::engine::value::strategy::value(),
        ) {
            let mut key = Vec::new();
            for part in [Some(&a), Some(&b), Some(&Value::Float64(1.0))] {
                key::push(&mut key, part);
            }
            let inside = |op: &str| {
                let text = format!("[{},{}]", step("eq", "a", &a), step(op, "b", &edge));
                let bounds = bounds(&index(), &text).unwrap();
                key >= bounds.from && bounds.to.is_none_or(|to| key < to)
            };
            prop_assert_eq!(inside("gt"), b > edge);
            prop_assert_eq!(inside("gte"), b >= edge);
            prop_assert_eq!(inside("lt"), b < edge);
            prop_assert_eq!(inside("lte"), b <= edge);
        }
    }

    #[test]
    fn undefined_and_null_are_different() {
        let undefined = bounds(&index(), r#"[{"op":"eq","field":"a"}]"#).unwrap();
        let null = bounds(&index(), r#"[{"op":"eq","field":"a","value":null}]"#).unwrap();
        assert_ne!(undefined, null);
        assert_eq!(undefined.to.as_ref(), Some(&null.from));
    }

    #[test]
    fn fields_are_used_in_order() {
        let one = Value::Int64(1);
        for text in [
            format!("[{}]", step("eq", "b", &one)),
            format!("[{},{}]", step("gt", "a", &one), step("eq", "b", &one)),
            format!("[{},{}]", step("gt", "a", &one), step("lt", "b", &one)),
        ] {
            assert!(
                bounds(&index(), &text).unwrap_err().contains("in order"),
                "{text}"
            );
        }
        let twice = format!("[{},{}]", step("gt", "a", &one), step("gte", "a", &one));
        assert!(
            bounds(&index(), &twice)
                .unwrap_err()
                .contains("two lower bounds")
        );
        assert_eq!(
            bounds(&index(), "[]").unwrap(),
            Bounds {
                from: vec![],
                to: None
            }
        );
    }
}
