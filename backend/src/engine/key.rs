//! Index keys: an encoding of values whose byte order is the values' order, so that SQLite's BLOB comparison sorts
//! an index. A key is the concatenation of its elements; each ends itself, so the elements of a tuple compare one
//! after the other.
//!
//! | value | bytes |
//! |---|---|
//! | not there, null | `01`, `02` |
//! | int64, float64 | `03`, `04` + 8 bytes big-endian, made unsigned in order |
//! | false, true | `05`, `06` |
//! | string, bytes | `07`, `08` + bytes with `00` written `00 FF`, then `00 00` |
//! | array | `09` + elements + `00` |
//! | object | `0A` + (`01`, name, value)… + `00` |

use super::value::Value;

/// Greater than every key: no element starts with it.
pub const AFTER_ALL: &[u8] = &[0xff];

/// Appends one element; `None` is a field that is not there.
pub fn push(key: &mut Vec<u8>, value: Option<&Value>) {
    let Some(value) = value else {
        key.push(0x01);
        return;
    };
    match value {
        Value::Null => key.push(0x02),
        Value::Int64(number) => {
            key.push(0x03);
            key.extend((*number as u64 ^ 1 << 63).to_be_bytes());
        }
        Value::Float64(number) => {
            key.push(0x04);
            let bits = number.to_bits();
            let ordered = if bits >> 63 == 1 {
                !bits
            } else {
                bits ^ 1 << 63
            };
            key.extend(ordered.to_be_bytes());
        }
        Value::Boolean(false) => key.push(0x05),
        Value::Boolean(true) => key.push(0x06),
        Value::String(text) => {
            key.push(0x07);
            push_bytes(key, text.as_bytes());
        }
        Value::Bytes(bytes) => {
            key.push(0x08);
            push_bytes(key, bytes);
        }
        Value::Array(items) => {
            key.push(0x09);
            for item in items {
                push(key, Some(item));
            }
            key.push(0x00);
        }
        Value::Object(fields) => {
            key.push(0x0a);
            for (name, field) in fields {
                key.push(0x01);
                push_bytes(key, name.as_bytes());
                push(key, Some(field));
            }
            key.push(0x00);
        }
    }
}

/// Appends a string element without a [`Value`] around it.
pub fn push_str(key: &mut Vec<u8>, text: &str) {
    key.push(0x07);
    push_bytes(key, text.as_bytes());
}

fn push_bytes(key: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        key.push(*byte);
        if *byte == 0 {
            key.push(0xff);
        }
    }
    key.extend([0, 0]);
}

/// The smallest key after all those that start with `prefix`; `None` where there is none.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

/// The smallest key after `key` itself.
pub fn after(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::value::strategy;
    use proptest::prelude::*;

    fn encode(values: &[Option<Value>]) -> Vec<u8> {
        let mut key = Vec::new();
        for value in values {
            push(&mut key, value.as_ref());
        }
        key
    }

    /// More with `PROPTEST_CASES`.
    fn at_least(cases: u32) -> ProptestConfig {
        let config = ProptestConfig::default();
        let cases = config.cases.max(cases);
        ProptestConfig { cases, ..config }
    }

    proptest! {
        #![proptest_config(at_least(2000))]

        #[test]
        fn keys_sort_like_their_values(a in strategy::value(), b in strategy::value()) {
            prop_assert_eq!(encode(&[Some(a.clone())]).cmp(&encode(&[Some(b.clone())])), a.cmp(&b));
        }

        #[test]
        fn keys_of_tuples_sort_element_by_element(
            a in prop::collection::vec(prop::option::of(strategy::value()), 2),
            b in prop::collection::vec(prop::option::of(strategy::value()), 2),
        ) {
            prop_assert_eq!(encode(&a).cmp(&encode(&b)), a.cmp(&b));
        }

        #[test]
        fn a_prefix_covers_exactly_its_keys(
            prefix in prop::option::of(strategy::value()),
            a in prop::option::of(strategy::value()),
            b in prop::option::of(strategy::value()),
        ) {
            let start = encode(std::slice::from_ref(&prefix));
            let end = after_prefix(&start).unwrap();
            let key = encode(&[a.clone(), b]);
            let inside = key >= start && key < end;
            prop_assert_eq!(inside, a == prefix);
            prop_assert!(key.as_slice() < AFTER_ALL && after(&key) > key);
        }
    }
}
