//! A TCP proxy between two processes that can hold everything back, slow it down, and cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    held: AtomicBool,
    /// How long each piece is kept.
    delay_ms: AtomicU64,
    over: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            held: AtomicBool::new(false),
            delay_ms: AtomicU64::new(0),
            over: AtomicBool::new(false),
            sockets: Mutex::default(),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(target)) else {
                    continue;
                };
                accepting.connect(&client, &server);
            }
        });
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

    /// From now on every piece arrives that much later, in either direction; zero ends it.
    pub fn delay(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(ms, Ordering::SeqCst);
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
        );
        self.pump(
            server.try_clone().expect("a socket"),
            client.try_clone().expect("a socket"),
        );
    }

    fn pump(self: &Arc<Self>, mut from: TcpStream, mut to: TcpStream) {
        let shared = self.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(read) = from.read(&mut buffer) {
                let delay = shared.delay_ms.load(Ordering::SeqCst);
                if delay > 0 {
                    std::thread::sleep(Duration::from_millis(delay));
                }
                while shared.held.load(Ordering::SeqCst) && !shared.over.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                if read == 0 || to.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
}
