//! JSON ↔ value ↔ JSON, from both ends.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value as Json, json};

use crate::engine::value::{Value, strategy};

/// JSON as it may come over the wire: plain, encoded, wrongly encoded, with names that no value has.
pub fn json() -> impl Strategy<Value = Json> {
    let number = prop_oneof![
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        (-3i32..3).prop_map(Json::from),
    ];
    let text = prop_oneof![
        "[ab\u{0}\u{1f}\"\\\\é😀]{0,4}",
        ".{0,8}",
        "[A-Za-z0-9+/]{0,12}={0,2}"
    ];
    let tag = select(vec!["$integer", "$float", "$bytes", "$undefined", "$"]);
    let eight = any::<[u8; 8]>();
    let tagged = prop_oneof![
        (tag.clone(), text.clone()).prop_map(|(tag, text)| json!({ tag: text })),
        (select(vec!["$integer", "$float"]), eight).prop_map(|(tag, bytes)| {
            use base64::Engine as _;
            json!({ tag: base64::engine::general_purpose::STANDARD.encode(bytes) })
        }),
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        number,
        text.clone().prop_map(Json::String),
        tagged,
    ];
    let name = prop_oneof![
        8 => "[a-c_]{1,2}".prop_map(String::from),
        1 => tag.prop_map(str::to_owned),
        1 => ".{0,3}".prop_map(String::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::vec((name.clone(), inner), 0..4)
                .prop_map(|fields| Json::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Everything that must hold for a text, whatever it is.
fn hold(text: &str) -> Result<(), String> {
    let parsed = Value::parse(text);
    if let Ok(json) = serde_json::from_str::<Json>(text) {
        // The two ways in are one. (Of a name that comes twice, a parsed JSON has only the last.)
        let decoded = Value::from_json(&json);
        let written = Value::parse(&json.to_string());
        if decoded != written || parsed.is_ok() && parsed != decoded {
            return Err(format!("{decoded:?}, {written:?}, {parsed:?}"));
        }
    }
    match parsed {
        Err(reason) if reason.is_empty() => Err("an error without a word".to_owned()),
        Err(_) => Ok(()),
        Ok(value) => {
            let (json, text) = (value.to_json(), value.to_text());
            let same = Value::from_json(&json).as_ref() == Ok(&value)
                && Value::parse(&text).as_ref() == Ok(&value)
                && serde_json::from_str::<Json>(&text).ok() == Some(json);
            let _ = (value.size(), value.nesting(), value.display());
            same.then_some(())
                .ok_or(format!("{value:?} comes back as another value"))
        }
    }
}

proptest! {
    #[test]
    fn fuzz_values_any_json_is_a_value_that_comes_back_or_an_error(json in json()) {
        prop_assert_eq!(hold(&json.to_string()), Ok(()));
    }

    #[test]
    fn fuzz_values_a_text_that_is_cut_or_bent_is_no_panic(json in json(), at in any::<Index>(), with in ".?") {
        let mut text: Vec<char> = json.to_string().chars().collect();
        let at = at.index(text.len());
        text.splice(at..=at, with.chars());
        prop_assert_eq!(hold(&text.iter().collect::<String>()), Ok(()));
        prop_assert_eq!(hold(&text[..at.min(text.len())].iter().collect::<String>()), Ok(()));
    }

    #[test]
    fn fuzz_values_every_value_comes_back(value in strategy::value()) {
        prop_assert!(Value::from_json(&value.to_json()).as_ref() == Ok(&value));
        prop_assert_eq!(hold(&value.to_text()), Ok(()));
    }
}

#[test]
fn the_corpus_of_values_is_read_as_it_says() {
    let corpus = include_str!("../../../tests/corpus/values.txt");
    for line in corpus.lines().filter(|line| !line.starts_with('#')) {
        let (verdict, text) = line.split_once(' ').unwrap();
        hold(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
        let read = Value::parse(text);
        assert_eq!(read.is_ok(), verdict == "value", "{text}: {read:?}");
    }
}
