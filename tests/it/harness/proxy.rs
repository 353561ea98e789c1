//! A proxy of TCP in front of a registry, in the engine's network namespace, that can be slow, cut connections and change bytes.
//!
//! It is this very test binary, started again inside the namespace: a thread's sockets belong to the namespace that it was born
//! in, and entering another one would take the whole process along.

use super::engine::Engine;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The variable that tells the binary to be a proxy, with its directory.
const DIRECTORY: &str = "BELLWETHER_TEST_PROXY";
/// How large a piece is handed on at once.
const PIECE_BYTES: usize = 16 << 10;

/// What happens to answers. It can change while the proxy runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Nothing.
    Honest,
    /// Each connection ends after so many bytes of answers.
    CutAfter(u64),
    /// Each connection falls silent after so many bytes of answers, and stays open.
    SilentAfter(u64),
    /// One byte after so many of each connection's answers is another one.
    WrongAt(u64),
    /// So many bytes a second, on each connection.
    Slow(u64),
    /// Whoever connects is cut off at once.
    Down,
}

impl Manner {
    fn text(self) -> String {
        match self {
            Self::Honest => "honest 0".to_owned(),
            Self::CutAfter(bytes) => format!("cut {bytes}"),
            Self::SilentAfter(bytes) => format!("silent {bytes}"),
            Self::WrongAt(bytes) => format!("wrong {bytes}"),
            Self::Slow(bytes) => format!("slow {bytes}"),
            Self::Down => "down 0".to_owned(),
        }
    }

    fn read(directory: &Path) -> Self {
        let text = std::fs::read_to_string(directory.join("manner")).expect("read how to behave");
        let (word, number) = text.split_once(' ').expect("a word and a number");
        let bytes = number.parse().expect("a number");
        match word {
            "cut" => Self::CutAfter(bytes),
            "silent" => Self::SilentAfter(bytes),
            "wrong" => Self::WrongAt(bytes),
            "slow" => Self::Slow(bytes),
            "down" => Self::Down,
            _ => Self::Honest,
        }
    }
}

/// A proxy that runs until it is dropped.
pub struct Proxy {
    directory: PathBuf,
    process: Mutex<Child>,
    port: u16,
}

impl Proxy {
    /// Starts one at a port of the loopback of the engine's namespace.
    pub fn start(engine: &Engine, port: u16, to: u16) -> Self {
        let directory = engine.directory().join(format!("proxy-{port}"));
        std::fs::create_dir_all(&directory).expect("make the proxy's directory");
        let binary = std::env::current_exe().expect("know where the tests are");
        let mut command = engine.inside(binary.to_str().expect("its path is text"));
        command.args(["--exact", "harness::proxy::is_a_proxy_when_it_is_told_to", "--nocapture", "--test-threads=1"]);
        command.env(DIRECTORY, &directory).env("BELLWETHER_TEST_PROXY_PORTS", format!("{port} {to}"));
        std::fs::write(directory.join("manner"), Manner::Honest.text()).expect("say how to behave");
        let process = engine.spawn_until(command, &format!("proxy-{port}"), || engine.is_listening(port));
        Self { directory, process: Mutex::new(process), port }
    }

    /// How it behaves towards connections and bytes from now on.
    pub fn behave(&self, manner: Manner) {
        let new = self.directory.join("manner.new");
        std::fs::write(&new, manner.text()).expect("say how to behave");
        std::fs::rename(new, self.directory.join("manner")).expect("say how to behave");
    }

    /// An image of the registry, by digest, as it is named behind this proxy.
    pub fn image(&self, name: &str, digest: &str) -> String {
        let repository = name.split_once('/').expect("a registry and a repository").1;
        format!("127.0.0.1:{}/{repository}@{digest}", self.port)
    }

    /// The `Range` headers of the requests that came through, in their order.
    pub fn ranges(&self) -> Vec<String> {
        // Engines try TLS first, so there are not only texts.
        let bytes = std::fs::read(self.directory.join("requests")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let is_range = |line: &&str| line.to_ascii_lowercase().starts_with("range:");
        text.lines().filter(is_range).map(|line| line.trim().to_owned()).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut process = self.process.lock().expect("no test panics while it holds the proxy");
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// Does nothing in a run of tests.
#[test]
#[allow(clippy::disallowed_methods, reason = "only so can it be told apart from a run of tests")]
fn is_a_proxy_when_it_is_told_to() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let ports = std::env::var("BELLWETHER_TEST_PROXY_PORTS").expect("two ports");
    let (port, to) = ports.split_once(' ').expect("two ports");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse().expect("a port"))).expect("listen");
    let to: u16 = to.parse().expect("a port");
    let directory: Arc<Path> = Path::new(&directory).into();
    for client in listener.incoming() {
        let Ok(client) = client else { continue };
        if Manner::read(&directory) == Manner::Down {
            continue;
        }
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).expect("reach the registry");
        let (client_too, server_too) = (client.try_clone().expect("share"), server.try_clone().expect("share"));
        let asking = Arc::clone(&directory);
        std::thread::spawn(move || hand_on_questions(client_too, server_too, &asking));
        let answering = Arc::clone(&directory);
        std::thread::spawn(move || hand_on_answers(server, client, &answering));
    }
}

fn hand_on_questions(mut client: TcpStream, mut server: TcpStream, directory: &Path) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = client.read(&mut piece) {
        let requests = std::fs::File::options().create(true).append(true).open(directory.join("requests"));
        requests.and_then(|mut file| file.write_all(&piece[..length])).expect("note the request");
        if server.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

#[allow(clippy::disallowed_methods, reason = "this is a slow link, not a test that waits")]
fn hand_on_answers(mut server: TcpStream, mut client: TcpStream, directory: &Path) {
    let mut piece = vec![0; PIECE_BYTES];
    let mut before = 0_u64;
    while let Ok(length @ 1..) = server.read(&mut piece) {
        let bytes = &mut piece[..length];
        let end = before + length as u64;
        let mut keep = length;
        match Manner::read(directory) {
            Manner::Honest => {}
            Manner::CutAfter(limit) | Manner::SilentAfter(limit) => {
                keep = usize::try_from(limit.saturating_sub(before)).unwrap_or(length).min(length);
            }
            Manner::WrongAt(place) if (before..end).contains(&place) => {
                bytes[usize::try_from(place - before).expect("it is in this piece")] ^= 0x55;
            }
            Manner::WrongAt(_) => {}
            Manner::Slow(rate) => {
                std::thread::sleep(Duration::from_micros(length as u64 * 1_000_000 / rate));
            }
            Manner::Down => keep = 0,
        }
        before = end;
        if client.write_all(&piece[..keep]).is_err() || keep < length {
            break;
        }
    }
    while matches!(Manner::read(directory), Manner::SilentAfter(_)) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
