//! Web Push: a paired device is told by a message that only it can read, signed by the supervisor, and nobody else is. The push
//! service is a server of the test's own, to which a debug build sends what is meant for the real ones.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use orchestrator_test_support::http::request;
use orchestrator_test_support::{Api, Home, Stage, eventually, script};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::SystemRandom;
use ring::signature::{self, ECDSA_P256_SHA256_FIXED};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

const AUTH: [u8; 16] = *b"sixteen of auth!";

/// A message as it came.
#[derive(Clone)]
struct Posted {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    status: u16,
}

impl Posted {
    fn header(&self, name: &str) -> &str {
        let mut named = self.headers.iter().filter(|(known, _)| known == name);
        named.next().map_or("", |(_, value)| value.as_str())
    }
}

/// The first message for `/one` meets a busy service, `/dead` is known no more, all else is taken.
struct PushService {
    url: String,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl PushService {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let posted = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&posted);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let _ = socket.and_then(|socket| answer(socket, &kept));
            }
        });
        Self { url, posted }
    }

    /// What was taken for a device.
    fn taken(&self, path: &str) -> Vec<Posted> {
        let posted = self.posted.lock().expect("what came");
        let taken = posted.iter().filter(|one| one.path == path);
        taken.filter(|one| one.status == 201).cloned().collect()
    }
}

fn answer(mut socket: std::net::TcpStream, kept: &Mutex<Vec<Posted>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut posted = Posted {
        path,
        headers,
        body: Vec::new(),
        status: 201,
    };
    posted.body = vec![0; posted.header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut posted.body)?;
    let mut kept = kept.lock().expect("what came");
    let is_first = !kept.iter().any(|one| one.path == posted.path);
    posted.status = match posted.path.as_str() {
        "/dead" => 410,
        "/one" if is_first => 429,
        _ => 201,
    };
    let status = posted.status;
    kept.push(posted);
    write!(
        socket,
        "HTTP/1.1 {status} x\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

/// A paired device, with the key of its browser for one message.
struct Device {
    api: Api,
    id: String,
    private: EphemeralPrivateKey,
    public: Vec<u8>,
}

impl Device {
    fn pair(home: &Home, url: &str) -> Self {
        let made = home.run(["--url", url, "pair", "--json"]).exits(0).json();
        let (_, code) = made["link"]
            .as_str()
            .and_then(|link| link.split_once("#pair="))
            .expect("a link");
        let body = json!({ "path": "devices:trade", "args": { "code": code }, "format": "json" });
        let headers = [("Content-Type", "application/json")];
        let path = format!("{url}/api/mutation");
        let (_, answer) = request("POST", &path, &headers, &body.to_string());
        let answer: Value = serde_json::from_str(&answer).expect("an answer");
        let token = answer["value"]["token"].as_str().expect("a token");
        let private = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new());
        let private = private.expect("a key");
        let public = private.compute_public_key().expect("its point");
        Self {
            api: Api::new(url, token),
            id: made["device"].as_str().expect("a device").to_owned(),
            public: public.as_ref().to_vec(),
            private,
        }
    }

    fn sender(&self) -> Value {
        self.api.query("push:senders", &json!({}))["senders"][0].clone()
    }

    fn subscribe(&self, name: &str) {
        eventually("the supervisor has made its key known", || {
            self.sender()["publicKey"].is_string()
        });
        let sender = self.sender();
        let args = json!({
            "installId": sender["installId"],
            "publicKey": sender["publicKey"],
            "endpoint": format!("https://push.example.com/{name}"),
            "p256dh": URL_SAFE_NO_PAD.encode(&self.public),
            "auth": URL_SAFE_NO_PAD.encode(AUTH),
        });
        self.api.mutation("push:subscribe", &args);
    }

    /// As its browser reads a message (RFC 8291, 3.4 from the other side).
    fn read(self, body: &[u8]) -> Value {
        let (salt, rest) = body.split_at(16);
        let (record_size, rest) = rest.split_at(4);
        assert_eq!(record_size, 4_096_u32.to_be_bytes());
        let (length, rest) = rest.split_first().expect("a key's length");
        let (theirs, record) = rest.split_at(usize::from(*length));
        let info = [b"WebPush: info\0", &self.public[..], theirs].concat();
        let peer = UnparsedPublicKey::new(&ECDH_P256, theirs);
        let (key, nonce) = agree_ephemeral(self.private, &peer, |secret| {
            let input: [u8; 32] = hkdf(&AUTH, secret, &info);
            let key: [u8; 16] = hkdf(salt, &input, b"Content-Encoding: aes128gcm\0");
            let nonce: [u8; 12] = hkdf(salt, &input, b"Content-Encoding: nonce\0");
            (key, nonce)
        })
        .expect("a secret of both");
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).expect("a key"));
        let mut record = record.to_vec();
        let text = key
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::empty(),
                &mut record,
            )
            .expect("a message for this device");
        let (last, text) = text.split_last().expect("its end");
        assert_eq!(*last, 2, "the last record");
        serde_json::from_slice(text).expect("JSON")
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn hkdf<const N: usize>(salt: &[u8], input: &[u8], info: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let prk = Salt::new(HKDF_SHA256, salt).extract(input);
    let info = [info];
    let okm = prk.expand(&info, Length(N)).expect("a length");
    okm.fill(&mut out).expect("a key");
    out
}

/// That the key which devices have subscribed with has signed it, for this push service.
fn check_word(word: &str, public_key: &str) {
    let (token, key) = word
        .strip_prefix("vapid t=")
        .and_then(|rest| rest.split_once(", k="))
        .expect("a word");
    assert_eq!(key, public_key);
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64url");
    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes(key))
        .verify(signed.as_bytes(), &bytes(signature))
        .expect("its signature");
    let (_, claims) = signed.split_once('.').expect("claims");
    let claims: Value = serde_json::from_slice(&bytes(claims)).expect("claims");
    assert_eq!(claims["aud"], "https://push.example.com");
}

#[test]
fn a_device_is_told_by_what_only_it_can_read_and_no_longer_than_it_is_paired() {
    let service = PushService::start();
    let mut stage = Stage::new(ORCHESTRATOR);
    stage.home.set("ORCHESTRATOR_BOOT_TIMEOUT", "80s");
    stage.home.set("ORCHESTRATOR_TEST_PUSH", &service.url);
    let supervisor = stage.run_with(&["--notify-push", "--notify-after", "1"]);
    let api = stage.api(&supervisor);
    let worker = stage.worker(&supervisor);
    let pair = || Device::pair(&stage.home, api.url());
    let (phone, dead, tablet) = (pair(), pair(), pair());
    phone.subscribe("one");
    dead.subscribe("dead");
    let public_key = phone.sender()["publicKey"].clone();
    let public_key = public_key.as_str().expect("a key");

    let long = script(&json!([[{ "text": "one" }, { "sleep": 50 }, { "text": " two" }]]));
    let (session, turn) = api.send("m1", &worker, &long);
    api.closed(&session, &turn);
    eventually("the phone is told, though its service was busy", || {
        !service.taken("/one").is_empty()
    });
    let message = service.taken("/one")[0].clone();
    assert_eq!(message.header("content-encoding"), "aes128gcm");
    assert_eq!(message.header("urgency"), "normal");
    assert_eq!(message.header("topic").len(), 32);
    let ttl: u64 = message.header("ttl").parse().expect("seconds");
    assert!((1..=4 * 3_600).contains(&ttl), "{ttl}");
    check_word(message.header("authorization"), public_key);
    eventually("what its service has forgotten is forgotten", || {
        dead.sender()["isSubscribed"] == false
    });

    api.mutation("devices:revoke", &json!({ "deviceId": phone.id }));
    tablet.subscribe("two");
    let (session_after, turn_after) = api.send("m2", &worker, &long);
    api.closed(&session_after, &turn_after);
    eventually("the tablet is told", || !service.taken("/two").is_empty());
    assert_eq!(service.taken("/one").len(), 1, "a revoked device is told");

    let told = phone.read(&message.body);
    assert_eq!(told["event"], "ended");
    assert_eq!(told["session"], session.as_str());
    assert_eq!(told["worker"], "shop");
    assert_eq!(told["id"], turn.as_str());
    let told = tablet.read(&service.taken("/two")[0].body);
    assert_eq!(told["session"], session_after.as_str());
    assert!(supervisor.terminate().success());
}
