//! Hands messages to push services (RFC 8030). Each goes its own way, so a slow service holds up neither another one nor whoever
//! tells; how many are under way is bounded, and they end with the [`Pusher`]. A service that is busy or ill is asked again while
//! the message is worth it. An endpoint is a secret: what goes wrong is told with the service's name only.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use thiserror::Error;
use tokio::task::JoinSet;
use tracing::warn;
use url::Url;

use super::endpoint::{NotPublic, PublicOnly, checked};
use super::message::{Keys, encrypt};
use super::vapid::Vapid;
use super::{base64url, from_base64url};

const LIMIT: Duration = Duration::from_secs(15);
/// Messages under way; more are not sent.
const UNDER_WAY: usize = 256;
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// Of a refusal's text.
const REASON_BYTES: usize = 512;

/// What a browser gave, as the deployment keeps it.
#[derive(Clone, Deserialize)]
pub struct Subscription {
    pub endpoint: String,
    p256dh: String,
    auth: String,
}

/// A text, and how it is to be carried.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub text: String,
    /// A newer one of the same topic takes the place of one that was not delivered yet.
    pub topic: String,
    pub ttl: Duration,
    /// It wakes a sleeping phone.
    pub is_urgent: bool,
}

#[derive(Debug, Error)]
enum PushError {
    #[error(transparent)]
    Endpoint(#[from] NotPublic),
    #[error("the subscription's keys are none")]
    Keys,
    #[error("no word could be signed")]
    Signature,
    #[error("{host} refused it ({status}): {reason}")]
    Refused {
        host: String,
        status: StatusCode,
        reason: String,
    },
    #[error("{host} did not take it in {attempts} attempts: {last}")]
    Unanswered {
        host: String,
        attempts: u32,
        last: String,
    },
}

enum Outcome {
    Taken,
    /// The subscription is not known any more.
    Gone,
}

pub struct Pusher {
    client: Client,
    vapid: Arc<Vapid>,
    /// Tests only: where everything goes instead.
    via: Option<Url>,
    under_way: Mutex<JoinSet<()>>,
}

impl Pusher {
    pub fn new(vapid: Vapid, via: Option<Url>) -> reqwest::Result<Self> {
        let client = Client::builder()
            .timeout(LIMIT)
            .redirect(Policy::none())
            .referer(false);
        let client = match via {
            Some(_) => client.no_proxy(),
            None => client.https_only(true).dns_resolver(Arc::new(PublicOnly)),
        };
        Ok(Self {
            client: client.build()?,
            vapid: Arc::new(vapid),
            via,
            under_way: Mutex::default(),
        })
    }

    pub fn public_key(&self) -> String {
        self.vapid.public_key()
    }

    /// Sends by itself; `gone` is called when the push service does not know the subscription any more.
    pub fn send<F>(
        &self,
        to: Subscription,
        delivery: Delivery,
        gone: impl FnOnce(String) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let carrier = Carrier {
            client: self.client.clone(),
            vapid: Arc::clone(&self.vapid),
            via: self.via.clone(),
        };
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= UNDER_WAY {
            warn!("a push message is not sent: {UNDER_WAY} are under way");
            return;
        }
        under_way.spawn(async move {
            match carrier.deliver(&to, &delivery).await {
                Ok(Outcome::Taken) => {}
                Ok(Outcome::Gone) => gone(to.endpoint).await,
                Err(error) => warn!(%error, "a device could not be told"),
            }
        });
    }
}

struct Carrier {
    client: Client,
    vapid: Arc<Vapid>,
    via: Option<Url>,
}

impl Carrier {
    async fn deliver(&self, to: &Subscription, delivery: &Delivery) -> Result<Outcome, PushError> {
        let endpoint = checked(&to.endpoint)?;
        let host = endpoint.host_str().unwrap_or_default().to_owned();
        let body = to
            .keys()
            .and_then(|keys| encrypt(&keys, delivery.text.as_bytes()).ok())
            .ok_or(PushError::Keys)?;
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let left = delivery.ttl.saturating_sub(begun.elapsed());
            let sent = self.post(&endpoint, &body, delivery, left).await?;
            let (asked, last) = match sent {
                Ok(response) => match response.status() {
                    status if status.is_success() => return Ok(Outcome::Taken),
                    StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Outcome::Gone),
                    status
                        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() =>
                    {
                        (retry_after(&response), status.to_string())
                    }
                    status => {
                        let reason = beginning(response).await;
                        return Err(PushError::Refused {
                            host,
                            status,
                            reason,
                        });
                    }
                },
                Err(error) => (None, error.without_url().to_string()),
            };
            let wait = asked.unwrap_or(pause).min(LONGEST_PAUSE);
            if attempts == ATTEMPTS || wait >= left {
                return Err(PushError::Unanswered {
                    host,
                    attempts,
                    last,
                });
            }
            tokio::time::sleep(wait).await;
            pause *= 4;
        }
    }

    async fn post(
        &self,
        endpoint: &Url,
        body: &[u8],
        delivery: &Delivery,
        left: Duration,
    ) -> Result<reqwest::Result<Response>, PushError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let origin = endpoint.origin().ascii_serialization();
        let word = self
            .vapid
            .authorization(&origin, now)
            .map_err(|_| PushError::Signature)?;
        let mut address = endpoint.clone();
        if let Some(via) = &self.via {
            address = via.clone();
            address.set_path(endpoint.path());
            address.set_query(endpoint.query());
        }
        let request = self.client.post(address).header(AUTHORIZATION, word);
        Ok(request
            .header(CONTENT_ENCODING, "aes128gcm")
            .header(CONTENT_TYPE, "application/octet-stream")
            .header("TTL", left.as_secs())
            .header(
                "Urgency",
                if delivery.is_urgent { "high" } else { "normal" },
            )
            .header("Topic", topic(&delivery.topic))
            .body(body.to_vec())
            .send()
            .await)
    }
}

impl Subscription {
    fn keys(&self) -> Option<Keys> {
        Some(Keys {
            public: from_base64url(&self.p256dh)?.try_into().ok()?,
            auth: from_base64url(&self.auth)?.try_into().ok()?,
        })
    }
}

/// At most 32 characters of base64url, and nothing that the push service could read.
fn topic(text: &str) -> String {
    base64url(&digest(&SHA256, text.as_bytes()).as_ref()[..24])
}

/// In seconds; a date is not waited for.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < REASON_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            _ => break,
        }
    }
    bytes.truncate(REASON_BYTES);
    let text = String::from_utf8_lossy(&bytes);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
