//! A Unix socket in front of an engine that counts the requests that change something, and lets a test strike at one of them.

use std::io::{Read, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// How large a piece is handed on at once.
const PIECE_BYTES: usize = 16 << 10;
/// The longest head of a request. The agent sends a few hundred bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// On which side of a request somebody is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The engine never hears of it.
    Before,
    /// The engine is told and nobody waits for what it says.
    Amid,
    /// The engine has answered, and the answer is not heard.
    After,
}

/// At which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The one of this number, counted from 1.
    Number(usize),
    /// The first one in these words.
    First(&'static str),
}

/// What is done to somebody when the moment has come.
pub type Strike = Box<dyn FnOnce() + Send>;

/// The changing request whose answer comes next, and what is done then.
type UnderWay = Mutex<Option<(String, Option<Strike>)>>;

/// What came through since it was last armed.
#[derive(Default)]
struct Journal {
    /// The changing requests that were begun, in words.
    begun: Vec<String>,
    /// Those of them that the engine said it has done. To start what runs is not one: that is answered with 304.
    done: Vec<String>,
    plan: Option<(At, Side, Strike)>,
}

/// The socket; it serves until the test process ends.
pub struct Requests {
    socket: PathBuf,
    journal: Arc<Mutex<Journal>>,
}

impl Requests {
    /// Listens at `socket` for what is meant for the engine at `engine`.
    pub fn listen(socket: &Path, engine: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("listen on a socket");
        let journal = Arc::new(Mutex::new(Journal::default()));
        let (engine, theirs) = (engine.to_owned(), Arc::clone(&journal));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (engine, journal) = (engine.clone(), Arc::clone(&theirs));
                // A connection that breaks is the end of it: whoever was on it is told by that.
                std::thread::spawn(move || _ = serve(client, &engine, &journal));
            }
        });
        Self { socket: socket.to_owned(), journal }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Forgets what came through, and strikes at a request from now on, if there is a plan.
    pub fn arm(&self, plan: Option<(At, Side, Strike)>) {
        *self.lock() = Journal { plan, ..Journal::default() };
    }

    /// The changing requests since then, in words, whether or not the engine heard of them.
    pub fn begun(&self) -> Vec<String> {
        self.lock().begun.clone()
    }

    /// How often the engine said since then that it has done this, in words.
    pub fn times_done(&self, request: &str) -> usize {
        self.lock().done.iter().filter(|one| *one == request).count()
    }

    /// Whether the moment came.
    pub fn has_struck(&self) -> bool {
        self.lock().plan.is_none()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Journal> {
        self.journal.lock().expect("nobody panics with the journal")
    }
}

/// One connection, request by request. An error is its end.
fn serve(mut client: UnixStream, engine: &Path, journal: &Arc<Mutex<Journal>>) -> std::io::Result<()> {
    let mut server = UnixStream::connect(engine)?;
    let under_way: Arc<UnderWay> = Arc::default();
    let (answers, hears) = (server.try_clone()?, client.try_clone()?);
    let (theirs, asked) = (Arc::clone(journal), Arc::clone(&under_way));
    std::thread::spawn(move || _ = hand_on_answers(answers, hears, &theirs, &asked));
    while let Some((head, body_bytes)) = head_of(&mut client)? {
        let mut strike_after = None;
        let request = in_words(&head);
        if let Some(request) = &request {
            let plan = note(journal, request);
            match plan {
                Some((Side::Before, strike)) => {
                    strike();
                    client.shutdown(Shutdown::Both)?;
                    return server.shutdown(Shutdown::Both);
                }
                Some((Side::Amid, strike)) => {
                    server.write_all(&head)?;
                    std::io::copy(&mut (&mut client).take(body_bytes), &mut server)?;
                    strike();
                    client.shutdown(Shutdown::Both)?;
                    return server.shutdown(Shutdown::Both);
                }
                Some((Side::After, strike)) => strike_after = Some(strike),
                None => {}
            }
        }
        *under_way.lock().expect("nobody panics with it") = request.map(|request| (request, strike_after));
        server.write_all(&head)?;
        std::io::copy(&mut (&mut client).take(body_bytes), &mut server)?;
    }
    server.shutdown(Shutdown::Both)
}

/// Writes a request down; what is to be done about it, if this is the one.
fn note(journal: &Mutex<Journal>, request: &str) -> Option<(Side, Strike)> {
    let mut journal = journal.lock().expect("nobody panics with the journal");
    journal.begun.push(request.to_owned());
    let number = journal.begun.len();
    let is_it = |at: At| match at {
        At::Number(wanted) => wanted == number,
        At::First(wanted) => wanted == request,
    };
    let (_, side, strike) = journal.plan.take_if(|(at, _, _)| is_it(*at))?;
    Some((side, strike))
}

fn hand_on_answers(
    mut server: UnixStream,
    mut client: UnixStream,
    journal: &Mutex<Journal>,
    under_way: &UnderWay,
) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = server.read(&mut piece)?;
        if length == 0 {
            return client.shutdown(Shutdown::Both);
        }
        let request = under_way.lock().expect("nobody panics with it").take();
        if let Some((request, strike)) = request {
            if piece.starts_with(b"HTTP/1.1 201") || piece.starts_with(b"HTTP/1.1 204") {
                journal.lock().expect("nobody panics with the journal").done.push(request);
            }
            if let Some(strike) = strike {
                strike();
                return client.shutdown(Shutdown::Both);
            }
        }
        client.write_all(&piece[..length])?;
    }
}

/// The head of the next request and the length of its body; `None` at the end of the connection.
fn head_of(client: &mut UnixStream) -> std::io::Result<Option<(Vec<u8>, u64)>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte)? == 0 || head.len() >= MAX_HEAD_BYTES {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    Ok(Some((head, length.unwrap_or(0))))
}

/// What a request changes, in words without names and ids; `None` if it changes nothing.
fn in_words(head: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    let mut words = text.lines().next()?.split(' ');
    let (method, path) = (words.next()?, words.next()?.split('?').next()?);
    if matches!(method, "GET" | "HEAD") {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && !part.starts_with("v1.")).collect();
    let (kind, rest) = parts.split_first()?;
    let kind = kind.trim_end_matches('s');
    Some(match (method, rest) {
        ("DELETE", _) => format!("remove {kind}"),
        (_, ["create"]) if kind == "image" => "pull image".to_owned(),
        (_, [.., operation]) => format!("{operation} {kind}"),
        (method, []) => format!("{method} {kind}"),
    })
}
