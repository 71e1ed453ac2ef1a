//! Where the deployment listens: on the loopback interface and nowhere else. Linux only, since it reads `/proc`.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use orchestrator_test_support::{Stage, processes};

use crate::ORCHESTRATOR;

/// Addresses and ports on which somebody listens, with the sockets' inodes.
fn listeners() -> Vec<(SocketAddr, String)> {
    const LISTEN: &str = "0A";
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[3] == LISTEN {
                let (address, port) = fields[1].split_once(':').unwrap();
                let port = u16::from_str_radix(port, 16).unwrap();
                found.push(((address_of(address), port).into(), fields[9].to_owned()));
            }
        }
    }
    found
}

/// The kernel prints words of 32 bits in the machine's order.
fn address_of(hex: &str) -> IpAddr {
    let words = hex.as_bytes().chunks(8).flat_map(|word| {
        let word = std::str::from_utf8(word).unwrap();
        u32::from_str_radix(word, 16).unwrap().to_ne_bytes()
    });
    let bytes: Vec<u8> = words.collect();
    match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => Ipv4Addr::from(bytes).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap()).into(),
    }
}

/// The addresses of this machine that others can reach.
fn reachable_addresses() -> BTreeSet<IpAddr> {
    let mut found = BTreeSet::new();
    let routes = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut last = None;
    for line in routes.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last.map(IpAddr::from));
        }
    }
    found.retain(|address| !address.is_loopback());
    found
}

#[test]
fn a_supervisor_and_all_below_it_listen_on_loopback_only() {
    let stage = Stage::new(ORCHESTRATOR);
    let supervisor = stage.run();
    let api = stage.api(&supervisor);
    // So that an OpenCode runs as well.
    let (session, turn) = api.send("m1", &stage.worker(&supervisor), "hello");
    api.closed(&session, &turn);

    let mut ours = BTreeSet::new();
    for pid in std::iter::once(supervisor.pid()).chain(processes::descendants(supervisor.pid())) {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
        for file in open.into_iter().flatten().flatten() {
            if let Ok(target) = std::fs::read_link(file.path())
                && let Some(inode) = target.to_str().and_then(|t| t.strip_prefix("socket:["))
            {
                ours.insert(inode.trim_end_matches(']').to_owned());
            }
        }
    }
    let listening: Vec<SocketAddr> = listeners()
        .into_iter()
        .filter(|(_, inode)| ours.contains(inode))
        .map(|(address, _)| address)
        .collect();
    let port = api.url().rsplit_once(':').unwrap().1.parse().unwrap();
    assert!(
        listening.contains(&(Ipv4Addr::LOCALHOST, port).into()) && listening.len() >= 2,
        "the deployment and an OpenCode: {listening:?}"
    );
    assert!(
        listening.iter().all(|address| address.ip().is_loopback()),
        "{listening:?}"
    );
    for address in reachable_addresses() {
        let answered = TcpStream::connect_timeout(&(address, port).into(), Duration::from_secs(5));
        assert!(answered.is_err(), "it answers on {address}");
    }
    assert!(supervisor.terminate().success());
}
