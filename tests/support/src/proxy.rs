//! A TCP proxy between two processes that can hold everything back, cut, refuse, and delay.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    held: AtomicBool,
    refusing: AtomicBool,
    over: AtomicBool,
    /// Of what goes to the server, in milliseconds.
    delay: AtomicU64,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            held: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            over: AtomicBool::new(false),
            delay: AtomicU64::new(0),
            sockets: Mutex::default(),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || accepting.accept(listener, target));
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on nothing passes in either direction; it is kept, not lost.
    pub fn hold(&self) {
        self.shared.held.store(true, Ordering::SeqCst);
    }

    pub fn release(&self) {
        self.shared.held.store(false, Ordering::SeqCst);
    }

    /// From now on nobody listens here, and every connection is cut.
    pub fn refuse(&self) {
        self.shared.refusing.store(true, Ordering::SeqCst);
        // The thread that waits for a connection looks up at this one.
        let _ = TcpStream::connect(self.address);
        while TcpStream::connect(self.address).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.cut();
    }

    pub fn accept_again(&self) {
        self.shared.refusing.store(false, Ordering::SeqCst);
    }

    /// What goes to the server arrives so much later.
    pub fn delay(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).expect("a short time");
        self.shared.delay.store(ms, Ordering::SeqCst);
    }

    /// Cuts every connection there is.
    pub fn cut(&self) {
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.release();
        self.cut();
        // Wakes the accepting thread so that it ends.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: TcpListener, target: SocketAddr) {
        let address = listener.local_addr().expect("an address");
        let mut listener = Some(listener);
        while !self.over.load(Ordering::SeqCst) {
            if self.refusing.load(Ordering::SeqCst) {
                listener = None;
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            let listening =
                listener.get_or_insert_with(|| TcpListener::bind(address).expect("the same port"));
            let Ok((client, _)) = listening.accept() else {
                return;
            };
            if self.refusing.load(Ordering::SeqCst) {
                continue;
            }
            if let Ok(server) = TcpStream::connect(target) {
                self.connect(&client, &server);
            }
        }
    }

    fn connect(self: &Arc<Self>, client: &TcpStream, server: &TcpStream) {
        for socket in [client, server] {
            let _ = socket.set_nodelay(true);
            self.sockets
                .lock()
                .unwrap()
                .push(socket.try_clone().expect("a socket"));
        }
        self.pump(
            client.try_clone().expect("a socket"),
            server.try_clone().expect("a socket"),
            true,
        );
        self.pump(
            server.try_clone().expect("a socket"),
            client.try_clone().expect("a socket"),
            false,
        );
    }

    /// One thread reads, one writes what is due, so that a delay is no pace.
    fn pump(self: &Arc<Self>, mut from: TcpStream, mut to: TcpStream, to_server: bool) {
        let (queue, due) = mpsc::channel::<(Instant, Vec<u8>)>();
        let shared = self.clone();
        let mut end = from.try_clone().expect("a socket");
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                let delay = if to_server {
                    shared.delay.load(Ordering::SeqCst)
                } else {
                    0
                };
                let at = Instant::now() + Duration::from_millis(delay);
                if queue.send((at, buffer[..read].to_vec())).is_err() {
                    return;
                }
            }
        });
        let shared = self.clone();
        std::thread::spawn(move || {
            for (at, bytes) in due {
                while shared.held.load(Ordering::SeqCst) && !shared.over.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
            while shared.held.load(Ordering::SeqCst) && !shared.over.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            for socket in [&mut to, &mut end] {
                let _ = socket.shutdown(Shutdown::Both);
            }
        });
    }
}
