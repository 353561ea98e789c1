//! A server of OS images that breaks off when it is told to.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How a request is treated.
#[derive(Clone, Copy)]
pub enum Manner {
    /// Broken off after so many bytes.
    Cut(usize),
}

/// The server; it ends with the process of the tests.
pub struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    image: Vec<u8>,
    manners: VecDeque<Manner>,
    asked: Vec<String>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &shared);
            }
        });
        Self { address, state }
    }

    /// Offers an image; its address.
    pub fn offer(&self, image: &[u8]) -> String {
        self.state.lock().expect("nobody panicked").image = image.to_vec();
        format!("http://{}/{}.raucb", self.address, bellwether::domain::digest::Digest::of(image).short())
    }

    /// How the next requests are treated; those after them are served well.
    pub fn behave(&self, manners: &[Manner]) {
        self.state.lock().expect("nobody panicked").manners = manners.iter().copied().collect();
    }

    /// From which byte each request asked, `all` for a whole one.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().expect("nobody panicked").asked.clone()
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0; 1];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        request.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&request).to_lowercase();
    let range = text.lines().find_map(|line| line.strip_prefix("range: bytes=")).map(|range| range.trim().to_owned());
    let (image, manner) = {
        let mut state = state.lock().expect("nobody panicked");
        state.asked.push(range.clone().unwrap_or_else(|| "all".to_owned()));
        (state.image.clone(), state.manners.pop_front())
    };
    let from = range.and_then(|range| range.trim_end_matches('-').parse().ok()).unwrap_or(0).min(image.len());
    let end = match manner {
        Some(Manner::Cut(bytes)) => (from + bytes).min(image.len()),
        None => image.len(),
    };
    let head = if from > 0 {
        format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{}", image.len() - 1, image.len())
    } else {
        "200 OK".to_owned()
    };
    let length = image.len() - from;
    let head = format!(
        "HTTP/1.1 {head}\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\nETag: \"one\"\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&image[from..end])
}
