//! What was asked of the model, for tests: how many requests and aborts, how often each prompt was *started* (asked
//! without a tool round trip, which a prompt that is given once is asked exactly once), and the last requests whole.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::request::{ChatRequest, hash_of};

/// How much of a prompt the statistics show.
const SHOWN_CHARS: usize = 400;

#[derive(Debug, Default)]
pub struct Stats(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    requests: u64,
    aborts: u64,
    /// Prompts in the order they were first seen, each with its count of first steps and of all requests.
    prompts: Vec<(String, u64, u64)>,
    /// Requests by prompt and step, for operations that are limited in `times`.
    tries: HashMap<(String, usize), u64>,
    history: VecDeque<Value>,
}

impl Stats {
    /// Counts a request. The answer is which try of this prompt and step it is, from 0.
    pub fn count(&self, request: &ChatRequest, keep: usize) -> u64 {
        let (prompt, step) = (request.prompt(), request.step());
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.requests += 1;
        let at = inner
            .prompts
            .iter()
            .position(|(known, ..)| *known == prompt)
            .unwrap_or_else(|| {
                inner.prompts.push((prompt.clone(), 0, 0));
                inner.prompts.len() - 1
            });
        inner.prompts[at].1 += u64::from(step == 0);
        inner.prompts[at].2 += 1;
        inner.history.push_back(json!({
            "model": request.model,
            "step": step,
            "tools": request.tools.len(),
            "messages": request.messages,
        }));
        while inner.history.len() > keep {
            inner.history.pop_front();
        }
        let tries = inner.tries.entry((prompt, step)).or_default();
        *tries += 1;
        *tries - 1
    }

    /// A request that belongs to no prompt.
    pub fn count_aside(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .requests += 1;
    }

    pub fn count_abort(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).aborts += 1;
    }

    pub fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Inner::default();
    }

    pub fn to_json(&self) -> Value {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let prompts: Vec<Value> = inner
            .prompts
            .iter()
            .map(|(prompt, starts, requests)| {
                json!({
                    "hash": hash_of(prompt),
                    "text": prompt.chars().take(SHOWN_CHARS).collect::<String>(),
                    "starts": starts,
                    "requests": requests,
                })
            })
            .collect();
        json!({
            "schema": 1,
            "requests": inner.requests,
            "aborts": inner.aborts,
            "prompts": prompts,
            "history": inner.history,
        })
    }
}
