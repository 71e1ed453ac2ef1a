//! The scripted deployment: Convex's sync protocol on a loopback port, with a fault at any mutation.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use convex_sync_types::{
    AuthenticationToken, ClientMessage, ErrorPayload, LogLinesMessage, Query, QueryId,
    QuerySetModification, ServerMessage, StateModification, StateVersion, Timestamp, UdfPath,
};
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};
use tokio_util::task::AbortOnDropHandle;

use super::super::connection::lock;
use super::super::values::{to_convex, to_json};
use super::world::{Failure, Outcome, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The socket drops before the mutation runs.
    BeforeRun,
    /// It ran and nobody hears of it.
    AfterCommit,
    /// Its response is sent, the transition behind it is not.
    BeforeTransition,
    /// It ran, and from now on the socket is silent but open.
    Silence,
    Slow(Duration),
    /// The token has expired: an `AuthError` on a socket that was fine so far.
    Expired,
}

/// The fault of the n-th mutation message that arrives (from 1), resent ones included.
type Script = Box<dyn Fn(u64) -> Option<Fault> + Send>;

struct Shared {
    world: Mutex<World>,
    script: Mutex<Script>,
    arrived: Mutex<u64>,
    commits: watch::Sender<u64>,
}

pub struct Server {
    pub url: String,
    shared: Arc<Shared>,
    accept: Option<AbortOnDropHandle<()>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with_faults(|_| None).await
    }

    pub async fn with_faults(script: impl Fn(u64) -> Option<Fault> + Send + 'static) -> Self {
        let shared = Arc::new(Shared {
            world: Mutex::new(World {
                ts: 1,
                epoch: 1,
                ..World::default()
            }),
            script: Mutex::new(Box::new(script)),
            arrived: Mutex::new(0),
            commits: watch::Sender::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let accept = Some(accept(listener, Arc::clone(&shared)));
        Self {
            url,
            shared,
            accept,
        }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.shared.world)
    }

    pub fn script(&self, script: impl Fn(u64) -> Option<Fault> + Send + 'static) {
        *lock(&self.shared.arrived) = 0;
        *lock(&self.shared.script) = Box::new(script);
    }

    /// Closes the port and every socket; the world stays.
    pub async fn stop(&mut self) {
        if let Some(accept) = self.accept.take() {
            accept.abort();
            let _ = accept.await;
        }
    }

    pub async fn start_again(&mut self) {
        let address = self.url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind(address).await.unwrap();
        self.accept = Some(accept(listener, Arc::clone(&self.shared)));
    }
}

fn accept(listener: TcpListener, shared: Arc<Shared>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        // Ends its sockets with it.
        let mut sockets = JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            stream.set_nodelay(true).unwrap();
            sockets.spawn(serve(stream, Arc::clone(&shared)));
        }
    }))
}

struct Peer {
    socket: WebSocketStream<TcpStream>,
    shared: Arc<Shared>,
    session: String,
    /// The last one sent.
    version: StateVersion,
    /// What the client has asked for.
    query_set: u32,
    identity: u32,
    queries: BTreeMap<QueryId, (String, Option<Value>)>,
    /// What came while a slow mutation ran.
    early: VecDeque<Message>,
}

enum After {
    Transition,
    Nothing,
    Drop,
    Silence,
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let Ok(socket) = accept_async(stream).await else {
        return;
    };
    let mut commits = shared.commits.subscribe();
    let mut peer = Peer {
        socket,
        shared,
        session: String::new(),
        version: StateVersion::initial(),
        query_set: 0,
        identity: 0,
        queries: BTreeMap::new(),
        early: VecDeque::new(),
    };
    loop {
        let early = peer.early.pop_front();
        let after = tokio::select! {
            biased;
            message = next(early, &mut peer.socket) => match message {
                Some(Ok(Message::Text(text))) => {
                    let json: Value = serde_json::from_str(&text).unwrap();
                    peer.take(json.try_into().unwrap()).await
                }
                Some(Ok(_)) => After::Nothing,
                _ => After::Drop,
            },
            _ = commits.changed() => After::Transition,
        };
        match after {
            After::Nothing => {}
            After::Transition => peer.transition().await,
            After::Drop => break,
            After::Silence => std::future::pending().await,
        }
    }
}

async fn next(
    early: Option<Message>,
    socket: &mut WebSocketStream<TcpStream>,
) -> Option<Result<Message, tokio_tungstenite::tungstenite::Error>> {
    match early {
        Some(message) => Some(Ok(message)),
        None => socket.next().await,
    }
}

/// Also when its task is aborted.
impl Drop for Peer {
    fn drop(&mut self) {
        lock(&self.shared.world).subscribed -= self.queries.len();
    }
}

impl Peer {
    async fn take(&mut self, message: ClientMessage) -> After {
        match message {
            ClientMessage::Connect {
                session_id,
                connection_count,
                ..
            } => {
                self.session = uuid::Uuid::from(session_id).to_string();
                let connect = (self.session.clone(), connection_count);
                lock(&self.shared.world).connects.push(connect);
                After::Nothing
            }
            ClientMessage::Authenticate {
                base_version,
                token,
            } => self.authenticate(base_version, &token).await,
            ClientMessage::ModifyQuerySet {
                base_version,
                new_version,
                modifications,
            } => {
                assert_eq!(base_version, self.query_set, "query set versions");
                self.query_set = new_version;
                for modification in modifications {
                    self.modify(modification);
                }
                After::Transition
            }
            ClientMessage::Mutation {
                request_id,
                udf_path,
                args,
                ..
            } => self.mutation(request_id, udf_path, args.get()).await,
            other => panic!("unexpected {other:?}"),
        }
    }

    async fn authenticate(&mut self, base: u32, token: &AuthenticationToken) -> After {
        assert_eq!(base, self.identity, "identity versions");
        let AuthenticationToken::User(token) = token else {
            return After::Transition;
        };
        if !lock(&self.shared.world).tokens.contains(token) {
            self.refuse_identity("not an owner's token").await;
            return After::Drop;
        }
        self.identity += 1;
        After::Transition
    }

    async fn refuse_identity(&mut self, reason: &str) {
        self.send(ServerMessage::AuthError {
            error_message: reason.to_owned(),
            base_version: Some(self.identity),
            auth_update_attempted: Some(true),
        })
        .await;
    }

    fn modify(&mut self, modification: QuerySetModification) {
        let mut world = lock(&self.shared.world);
        match modification {
            QuerySetModification::Add(Query {
                query_id, udf_path, ..
            }) => {
                world.subscribed += 1;
                self.queries.insert(query_id, (path(udf_path), None));
            }
            QuerySetModification::Remove { query_id } => {
                world.subscribed -= 1;
                self.queries.remove(&query_id);
            }
        }
    }

    async fn mutation(&mut self, request: u32, udf: UdfPath, args: &str) -> After {
        let nth = {
            let mut arrived = lock(&self.shared.arrived);
            *arrived += 1;
            *arrived
        };
        let fault = (*lock(&self.shared.script))(nth);
        match fault {
            Some(Fault::BeforeRun) => return After::Drop,
            Some(Fault::Slow(time)) => {
                tokio::time::sleep(time).await;
                self.note_early(&path(udf.clone()));
            }
            Some(Fault::Expired) => {
                self.refuse_identity("token expired").await;
                return After::Drop;
            }
            _ => {}
        }
        let (outcome, ts) = self.run(request, &path(udf), args);
        match fault {
            Some(Fault::AfterCommit) => return After::Drop,
            Some(Fault::Silence) => return After::Silence,
            _ => {}
        }
        self.send(ServerMessage::MutationResponse {
            request_id: request,
            result: outcome.map_err(payload),
            ts: Some(Timestamp::try_from(ts).unwrap()),
            log_lines: LogLinesMessage(vec![]),
        })
        .await;
        if fault == Some(Fault::BeforeTransition) {
            return After::Drop;
        }
        After::Transition
    }

    /// An append that was sent before this one was answered is one too many.
    fn note_early(&mut self, running: &str) {
        while let Some(Some(Ok(message))) = self.socket.next().now_or_never() {
            let is_append = message.to_text().is_ok_and(|text| {
                text.contains("chunks:append") || text.contains("chunks.js:append")
            });
            if is_append && running == "chunks:append" {
                lock(&self.shared.world).overlapping += 1;
            }
            self.early.push_back(message);
        }
    }

    fn run(&self, request: u32, path: &str, args: &str) -> (Outcome, u64) {
        let args: Vec<Value> = serde_json::from_str(args).unwrap();
        // To JavaScript 1.0 and 1 are the same number.
        let args = to_json(&to_convex(args[0].clone()));
        let mut world = lock(&self.shared.world);
        let key = (self.session.clone(), request);
        if let Some(record) = world.records.get(&key) {
            return record.clone();
        }
        let outcome = world.mutate(path, &args);
        world.ts += 1;
        let ts = world.ts;
        if outcome.is_ok() {
            world.records.insert(key, (outcome.clone(), ts));
            self.shared.commits.send_modify(|count| *count += 1);
        }
        (outcome, ts)
    }

    async fn transition(&mut self) {
        let mut modifications = Vec::new();
        let end = {
            let world = lock(&self.shared.world);
            for (id, (path, last)) in &mut self.queries {
                let outcome = world.query(path);
                let seen = json!(format!("{outcome:?}"));
                if last.as_ref() != Some(&seen) {
                    *last = Some(seen);
                    modifications.push(modification(*id, outcome));
                }
            }
            StateVersion {
                query_set: self.query_set,
                identity: self.identity,
                ts: Timestamp::try_from(world.ts).unwrap(),
            }
        };
        let message = ServerMessage::Transition {
            start_version: self.version,
            end_version: end,
            modifications,
            client_clock_skew: None,
            server_ts: None,
        };
        self.version = end;
        self.send(message).await;
    }

    async fn send(&mut self, message: ServerMessage<Value>) {
        let json = Value::from(message);
        // A peer that is gone is noticed at the next read.
        let _ = self.socket.send(Message::text(json.to_string())).await;
    }
}

fn path(udf: UdfPath) -> String {
    String::from(udf.canonicalize()).replace(".js:", ":")
}

fn payload(failure: Failure) -> ErrorPayload<Value> {
    match failure {
        Failure::Plain(message) => ErrorPayload::Message(message),
        Failure::Convex(code, message) => ErrorPayload::ErrorData {
            message: "Uncaught ConvexError".to_owned(),
            data: json!({"code": code, "message": message}),
        },
    }
}

fn modification(query_id: QueryId, outcome: Outcome) -> StateModification<Value> {
    let log_lines = LogLinesMessage(vec![]);
    match outcome.map_err(payload) {
        Ok(value) => StateModification::QueryUpdated {
            query_id,
            value,
            log_lines,
            journal: None,
        },
        Err(error) => StateModification::QueryFailed {
            query_id,
            error_message: error.get_message().to_owned(),
            log_lines,
            journal: None,
            error_data: error.get_data().cloned(),
        },
    }
}
