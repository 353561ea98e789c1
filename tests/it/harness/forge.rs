//! GitHub's stand-in: a server that is made from GitHub's own description of its API. What the description does not allow, it refuses; what
//! it answers are the description's own examples, with what a test says instead.
//!
//! In front of it stands a notary that writes down what was asked, and can ask for another of the described answers.

use super::process::eventually;
use super::run::{free_port, run};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method and path with the query.
    pub what: String,
    /// The headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body; `null` where there was none.
    pub body: Value,
    /// The status of the answer; 0 where there was none.
    pub status: u16,
    /// The answer of the stand-in where it refused and nobody asked it to.
    pub refusal: String,
}

/// What is to become of requests whose method and path begin with a text.
#[derive(Clone, Debug)]
pub enum Instead {
    /// The stand-in answers with this status, by the description.
    Status(u16),
    /// This very answer, once.
    Once(String),
    /// The connection ends after the request was handed on, without an answer, once.
    Lost,
}

type Rules = Arc<Mutex<Vec<(String, Instead)>>>;

/// GitHub's stand-in.
pub struct GitHub {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    rules: Rules,
    process: Child,
}

impl Drop for GitHub {
    fn drop(&mut self) {
        // It may be gone already, and nothing depends on it any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where the description and the server are.
#[allow(clippy::disallowed_methods, reason = "a machine may keep them elsewhere")]
pub fn folder() -> PathBuf {
    let kept = std::env::var_os("BELLWETHER_FORGE").map(PathBuf::from);
    let folder = kept.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/forge"));
    let description = folder.join("github.json");
    assert!(description.exists(), "there is no {}: `scripts/setup test` puts it there", description.display());
    folder
}

impl GitHub {
    /// Starts one; `examples` says what its answers hold.
    pub fn start(purpose: &str, examples: impl FnOnce(&mut Examples)) -> Self {
        let folder = folder();
        let text = std::fs::read(folder.join("github.json")).expect("read GitHub's description");
        let mut description = Examples(serde_json::from_slice(&text).expect("GitHub's description is JSON"));
        examples(&mut description);
        let own = run().scratch(purpose);
        let path = own.join("github.json");
        std::fs::write(&path, description.0.to_string()).expect("write the description");
        let behind = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let log = std::fs::File::create(own.join("log")).expect("make a log");
        let process = run()
            .command("node")
            .arg(folder.join("node_modules/@stoplight/prism-cli/dist/index.js"))
            .args(["mock", "--errors", "--host", "127.0.0.1", "--port", &behind.port().to_string()])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            .spawn()
            .expect("start the stand-in with node");
        eventually("the stand-in listens", || TcpStream::connect(behind).ok());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
        let address = listener.local_addr().expect("an address");
        let (asked, rules) = (Arc::default(), Rules::default());
        let (theirs, their_rules) = (Arc::clone(&asked), Arc::clone(&rules));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (asked, rules) = (Arc::clone(&theirs), Arc::clone(&their_rules));
                std::thread::spawn(move || serve(client, behind, &asked, &rules));
            }
        });
        Self { address, asked, rules, process }
    }

    /// Where the API is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on requests that begin so are answered otherwise.
    pub fn rule(&self, begins: &str, instead: Instead) {
        self.rules.lock().expect("no thread panics with the rules").push((begins.to_owned(), instead));
    }

    /// Requests that begin so are answered by the description again.
    pub fn forget(&self, begins: &str) {
        self.rules.lock().expect("no thread panics with the rules").retain(|(one, _)| one != begins);
    }

    /// Everything that was asked since the last time, in order. Each request must be one that GitHub describes.
    #[track_caller]
    pub fn asked(&self) -> Vec<Asked> {
        let asked = std::mem::take(&mut *self.asked.lock().expect("no thread panics with what was asked"));
        for one in &asked {
            assert!(one.refusal.is_empty(), "GitHub does not describe {} {}: {}", one.what, one.body, one.refusal);
        }
        asked
    }
}

/// A good answer with this body, for [`Instead::Once`].
pub fn answer(status: &str, headers: &str, body: &Value) -> Instead {
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    Instead::Once(format!("{head}{headers}connection: close\r\n\r\n{body}"))
}

/// The answers that the description holds as examples.
pub struct Examples(Value);

impl Examples {
    /// The example of an operation, such as `get /user` and its status, for changing it.
    pub fn of(&mut self, method: &str, path: &str, status: &str) -> &mut Value {
        let response = &self.0["paths"][path][method]["responses"][status];
        let examples = response["content"]["application/json"]["examples"].as_object();
        let (_, first) = examples.and_then(|all| all.iter().next()).expect("an example");
        let name = first["$ref"].as_str().and_then(|text| text.rsplit('/').next()).expect("a reference").to_owned();
        &mut self.0["components"]["examples"][name]["value"]
    }
}

fn serve(mut client: TcpStream, behind: SocketAddr, asked: &Mutex<Vec<Asked>>, rules: &Mutex<Vec<(String, Instead)>>) {
    let Some((head, body)) = request(&mut client) else { return };
    let mut lines = head.lines();
    let what = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let instead = {
        let mut rules = rules.lock().expect("no thread panics with the rules");
        let at = rules.iter().position(|(begins, _)| what.starts_with(begins.as_str()));
        at.map(|at| match &rules[at].1 {
            Instead::Status(status) => Instead::Status(*status),
            Instead::Once(_) | Instead::Lost => rules.remove(at).1,
        })
    };
    let prefer = match &instead {
        Some(Instead::Status(status)) => format!("prefer: code={status}\r\n"),
        _ => String::new(),
    };
    let kept = headers.iter().filter(|(name, _)| !matches!(name.as_str(), "connection" | "host" | "if-none-match"));
    let head: String = kept.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let whole = format!("{what} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{prefer}{head}\r\n");
    let mut answer = Vec::new();
    if let Ok(mut server) = TcpStream::connect(behind) {
        let _ = server.write_all(whole.as_bytes()).and_then(|()| server.write_all(&body));
        let _ = server.read_to_end(&mut answer);
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    // Unless an error was asked for, one says that the description does not allow the request.
    let wanted = (200..300).contains(&status) || matches!(instead, Some(Instead::Status(_)));
    let refusal = if wanted { String::new() } else { text.chars().take(2_000).collect() };
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let one = Asked { what, headers, body, status, refusal };
    asked.lock().expect("no thread panics with what was asked").push(one);
    let _ = match instead {
        Some(Instead::Once(text)) => client.write_all(text.as_bytes()),
        Some(Instead::Lost) => Ok(()),
        Some(Instead::Status(_)) | None => client.write_all(&answer),
    };
    let _ = client.shutdown(Shutdown::Both);
}

/// The head of a request and its body.
fn request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        match client.read(&mut piece).ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&piece[..read]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = bytes.split_off(end + 4);
    while body.len() < length.unwrap_or(0) {
        match client.read(&mut piece).ok()? {
            0 => return None,
            read => body.extend_from_slice(&piece[..read]),
        }
    }
    Some((head, body))
}
