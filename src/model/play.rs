//! Plays the operations of one step as an OpenAI event stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::script::{Op, Stream};
use super::stats::Stats;

/// A piece of the response body. An error breaks the connection.
pub type Piece = Result<Bytes, std::io::Error>;

/// The client went away.
struct Gone;

pub struct Player {
    pub to: mpsc::Sender<Piece>,
    pub stats: Arc<Stats>,
    pub model: String,
    /// Unique in the process; part of the ids that the answer carries.
    pub number: u64,
    /// Which try of this step it is, from 0.
    pub attempt: u64,
}

impl Player {
    /// Plays to the end. A client that leaves earlier is counted as an abort.
    pub async fn play(self, ops: Vec<Op>) {
        if self.run(ops).await.is_err() {
            self.stats.count_abort();
        }
    }

    async fn run(&self, ops: Vec<Op>) -> Result<(), Gone> {
        let mut finish = None;
        let mut calls = 0;
        let mut pieces = 0_usize;
        self.delta(json!({"role": "assistant", "content": ""}))
            .await?;
        for op in ops {
            match op {
                Op::Text { text } => {
                    pieces += 1;
                    self.delta(json!({"content": text})).await?;
                }
                Op::Reason { reason } => {
                    pieces += 1;
                    self.delta(json!({"reasoning_content": reason})).await?;
                }
                Op::Stream { stream } => {
                    pieces += stream.n;
                    self.stream(&stream).await?;
                }
                Op::Tool {
                    tool,
                    args,
                    chunks,
                    gap,
                } => {
                    self.tool(calls, &tool, &args, chunks, gap).await?;
                    calls += 1;
                }
                Op::Sleep { sleep } => self.pause(Duration::from_millis(sleep)).await?,
                Op::Hang { hang: true } => {
                    self.to.closed().await;
                    return Err(Gone);
                }
                Op::Drop { drop: true, times }
                    if times.is_none_or(|times| self.attempt < times) =>
                {
                    let broken = std::io::Error::other("the script breaks the connection");
                    let _ = self.to.send(Err(broken)).await;
                    return Ok(());
                }
                Op::Errchunk { errchunk } => {
                    self.data(&json!({"error": {"message": errchunk, "type": "server_error", "code": null}}))
                        .await?;
                    return Ok(());
                }
                Op::Finish { finish: reason } => finish = Some(reason),
                Op::Raw { raw } => self.send(format!("data: {raw}\n\n")).await?,
                // A status is answered before any event; see `server`.
                Op::Status { .. } | Op::Hang { hang: false } | Op::Drop { .. } => {}
            }
        }
        let reason =
            finish.unwrap_or_else(|| if calls > 0 { "tool_calls" } else { "stop" }.to_owned());
        self.chunk(json!({}), Some(&reason), None).await?;
        let usage = json!({
            "prompt_tokens": 100,
            "completion_tokens": pieces,
            "total_tokens": 100 + pieces,
        });
        self.chunk(Value::Null, None, Some(usage)).await?;
        self.send("data: [DONE]\n\n".to_owned()).await
    }

    async fn stream(&self, stream: &Stream) -> Result<(), Gone> {
        let start = tokio::time::Instant::now();
        for index in 0..stream.n {
            if stream.rate > 0.0 {
                let due = start + Duration::from_secs_f64(index as f64 / stream.rate);
                if due > tokio::time::Instant::now() {
                    self.pause_until(due).await?;
                }
            }
            let mut text = index.to_string();
            if stream.stamp {
                text = format!("{text}@{}", monotonic_us());
            }
            while text.len() + 1 < stream.size {
                text.push('x');
            }
            text.push(' ');
            self.delta(json!({"content": text})).await?;
        }
        Ok(())
    }

    async fn tool(
        &self,
        index: usize,
        tool: &str,
        args: &Value,
        chunks: usize,
        gap: u64,
    ) -> Result<(), Gone> {
        let id = format!("call_{}_{index}", self.number);
        self.delta(json!({"tool_calls": [{
            "index": index, "id": id, "type": "function", "function": {"name": tool, "arguments": ""},
        }]}))
        .await?;
        let text: Vec<char> = args.to_string().chars().collect();
        for piece in text.chunks(text.len().div_ceil(chunks.max(1)).max(1)) {
            if gap > 0 {
                self.pause(Duration::from_millis(gap)).await?;
            }
            let piece: String = piece.iter().collect();
            self.delta(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
                .await?;
        }
        Ok(())
    }

    async fn delta(&self, delta: Value) -> Result<(), Gone> {
        self.chunk(delta, None, None).await
    }

    async fn chunk(
        &self,
        delta: Value,
        finish: Option<&str>,
        usage: Option<Value>,
    ) -> Result<(), Gone> {
        let choices = if delta.is_null() {
            json!([])
        } else {
            json!([{"index": 0, "delta": delta, "finish_reason": finish}])
        };
        let mut chunk = json!({
            "id": format!("chatcmpl-{}", self.number),
            "object": "chat.completion.chunk",
            "created": 0,
            "model": self.model,
            "choices": choices,
        });
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        self.data(&chunk).await
    }

    async fn data(&self, value: &Value) -> Result<(), Gone> {
        self.send(format!("data: {value}\n\n")).await
    }

    async fn send(&self, text: String) -> Result<(), Gone> {
        self.to.send(Ok(Bytes::from(text))).await.map_err(|_| Gone)
    }

    async fn pause(&self, time: Duration) -> Result<(), Gone> {
        self.pause_until(tokio::time::Instant::now() + time).await
    }

    async fn pause_until(&self, until: tokio::time::Instant) -> Result<(), Gone> {
        tokio::select! {
            () = tokio::time::sleep_until(until) => Ok(()),
            () = self.to.closed() => Err(Gone),
        }
    }
}

/// The same clock in every process of the machine, so that a reader can measure the way.
fn monotonic_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}
