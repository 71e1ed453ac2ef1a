//! A proxy that reads the server's WebSocket frames, and cuts the connection at chosen ones: in the place of a
//! mutation's response, or in the place of the transition that follows one. What it cuts away the client never sees.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rand::Rng as _;
use rand::rngs::StdRng;

/// One response in so many is a place to cut.
const ODDS: u32 = 60;

pub struct Cutter {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Clone, Copy, Default)]
pub struct Cuts {
    pub before_answer: u64,
    pub before_transition: u64,
}

struct Shared {
    chance: Mutex<StdRng>,
    cuts: Mutex<Cuts>,
    resting: AtomicBool,
    over: AtomicBool,
}

enum Verdict {
    Pass,
    Cut,
}

impl Cutter {
    pub fn to(port: u16, chance: StdRng) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            chance: Mutex::new(chance),
            cuts: Mutex::default(),
            resting: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.over.load(Ordering::SeqCst) {
                    return;
                }
                let server = TcpStream::connect(("127.0.0.1", port));
                if let (Ok(client), Ok(server)) = (client, server) {
                    accepting.connect(client, server);
                }
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn cuts(&self) -> Cuts {
        *self.shared.cuts.lock().unwrap()
    }

    /// From now on everything passes.
    pub fn rest(&self) {
        self.shared.resting.store(true, Ordering::SeqCst);
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the accepting thread so that it ends.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        for socket in [&client, &server] {
            let _ = socket.set_nodelay(true);
        }
        let mut up = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = io::copy(&mut up.0, &mut up.1);
            end(&up.0, &up.1);
        });
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            // An error is the end of the connection, as the cut is.
            let _ = shared.pass_frames(&client, &server);
            end(&client, &server);
        });
    }

    fn pass_frames(&self, mut client: &TcpStream, server: &TcpStream) -> io::Result<()> {
        let mut server = io::BufReader::new(server);
        pass_head(&mut server, client)?;
        let mut cut_at_transition = false;
        loop {
            let frame = read_frame(&mut server)?;
            match self.judge(&frame, &mut cut_at_transition) {
                Verdict::Pass => client.write_all(&frame)?,
                Verdict::Cut => return Ok(()),
            }
        }
    }

    fn judge(&self, frame: &[u8], cut_at_transition: &mut bool) -> Verdict {
        if self.resting.load(Ordering::SeqCst) {
            return Verdict::Pass;
        }
        if *cut_at_transition && holds(frame, br#""type":"Transition""#) {
            self.cuts.lock().unwrap().before_transition += 1;
            return Verdict::Cut;
        }
        if holds(frame, br#""type":"MutationResponse""#) {
            let mut chance = self.chance.lock().unwrap();
            if chance.random_ratio(1, ODDS) {
                if chance.random() {
                    self.cuts.lock().unwrap().before_answer += 1;
                    return Verdict::Cut;
                }
                *cut_at_transition = true;
            }
        }
        Verdict::Pass
    }
}

fn end(client: &TcpStream, server: &TcpStream) {
    for socket in [client, server] {
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// The answer to the upgrade.
fn pass_head(server: &mut impl Read, mut client: &TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        server.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    client.write_all(&head)
}

/// One whole frame of a server: its payload is not masked (RFC 6455, 5.2).
fn read_frame(server: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 2];
    server.read_exact(&mut frame)?;
    let extended = match frame[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    frame.resize(2 + extended, 0);
    server.read_exact(&mut frame[2..])?;
    let length = match extended {
        0 => usize::from(frame[1] & 0x7f),
        _ => frame[2..]
            .iter()
            .fold(0, |all, byte| all << 8 | usize::from(*byte)),
    };
    let start = frame.len();
    frame.resize(start + length, 0);
    server.read_exact(&mut frame[start..])?;
    Ok(frame)
}

fn holds(frame: &[u8], needle: &[u8]) -> bool {
    frame.windows(needle.len()).any(|window| window == needle)
}
