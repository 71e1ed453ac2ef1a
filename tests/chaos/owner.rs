//! The owner's way to the deployment: calls that are made again, under the same ids, until they are answered.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use orchestrator_test_support::{Api, Home};
use serde_json::Value;

/// A proof of identity is good for a quarter of an hour.
const RENEW: Duration = Duration::from_mins(8);
const AGAIN: Duration = Duration::from_millis(150);
/// No fault keeps the deployment away from its owner for longer.
const LIMIT: Duration = Duration::from_mins(2);

pub struct Owner {
    url: String,
    token: Mutex<Option<(String, Instant)>>,
}

impl Owner {
    pub fn of(server: &Home, port: u16) -> Self {
        let owner = Self {
            url: format!("http://127.0.0.1:{port}"),
            token: Mutex::default(),
        };
        owner.api(server);
        owner
    }

    pub fn api(&self, server: &Home) -> Api {
        let mut token = self.token.lock().unwrap();
        if token
            .as_ref()
            .is_none_or(|(_, since)| since.elapsed() > RENEW)
        {
            let ran = server.run(["owner", "token"]).exits(0);
            *token = Some((ran.stdout.trim().to_owned(), Instant::now()));
        }
        let text = token.as_ref().map(|(text, _)| text.clone());
        Api::new(self.url.clone(), text.unwrap_or_default())
    }

    /// The value, or the refusal that the functions gave.
    pub fn ask(
        &self,
        server: &Home,
        kind: &str,
        function: &str,
        args: &Value,
    ) -> Result<Value, Value> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(answer) = self.api(server).attempt(kind, function, args) {
                return answer;
            }
            if Instant::now() > deadline {
                return Err(Value::String(format!(
                    "{function}: nobody answered within {} s",
                    LIMIT.as_secs()
                )));
            }
            std::thread::sleep(AGAIN);
        }
    }
}
