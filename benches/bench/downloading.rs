//! The agent's memory while it brings a large OS image to the device.

use super::controller::Controller;
use super::idle::Agent;
use super::process::{On, kilobytes};
use super::repo::Remote;
use super::{Options, fleet, table::Row};
use anyhow::{Context as _, ensure};
use bellwether::domain::digest::Digest;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long the whole may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// What the server hands over at a time.
const PIECE: usize = 64 << 10;

/// An updater that has another version, and brings none.
const PROGRAM: &str = "#!/bin/sh\n[ \"$1\" != status ] || echo '{\"contract\": 1, \"version\": \"0.0.1\"}'\n";

/// Its one row.
pub fn row(options: &Options, agent: &Path) -> anyhow::Result<Row> {
    let size: u64 = if options.quick { 16 << 20 } else { 1 << 30 };
    let folder = options.folder.join("downloading");
    std::fs::create_dir_all(&folder)?;
    let program = folder.join("updater");
    std::fs::write(&program, PROGRAM)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;

    let sent = Arc::new(AtomicU64::new(0));
    let url = serve(size, Arc::clone(&sent))?;
    let digest = Digest::of(&vec![0; usize::try_from(size)?]);
    let repo = folder.join("repo.git");
    let remote = Remote::make(&repo, 1)?;
    let image = json!({ "version": "2026.11.1", "url": url, "digest": digest.to_string(), "size": size });
    remote.commit([("os/bench-os.yml".to_owned(), json!({ "raspberrypi4": image }))])?;

    let controller = Controller::start(On::Any, &folder.join("controller"), &repo)?;
    let mut child = Agent(
        Command::new(agent)
            .args(["run", "--server", &controller.server, "--token", &controller.token, "--engine", "simulated"])
            .args(["--device", &fleet::device_name(0), "--os", "command", "--log", "error", "--os-command"])
            .arg(&program)
            .arg("--state-dir")
            .arg(folder.join("agent"))
            .stdin(Stdio::null())
            .spawn()?,
    );
    let rollup = format!("/proc/{}/smaps_rollup", child.0.id());
    let (start, mut most) = (Instant::now(), 0.0_f64);
    while sent.load(Ordering::Relaxed) < size {
        ensure!(child.0.try_wait()?.is_none(), "the agent ended by itself");
        ensure!(start.elapsed() < PATIENCE, "the image was not asked for, or not to its end");
        most = most.max(kilobytes(Path::new(&rollup), "Pss:")? / 1024.0);
        std::thread::sleep(LOOK);
    }
    let megabytes = size >> 20;
    Ok(Row::new(
        format!("memory of an agent that downloads an OS image of {megabytes} MiB"),
        format!("PSS {most:.2} MiB at the most"),
    )
    .at_most(most, 12.0, "MiB"))
}

/// A server of so many zeros; its address.
fn serve(size: u64, sent: Arc<AtomicU64>) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/image", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever hangs up comes back for the rest.
            let _ = answer(stream, size, &sent);
        }
    });
    Ok(url)
}

fn answer(mut stream: TcpStream, size: u64, sent: &AtomicU64) -> anyhow::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        ensure!(stream.read(&mut byte)? == 1, "half a request");
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_lowercase();
    let range = text.lines().find_map(|line| line.strip_prefix("range: bytes="));
    let from: u64 = match range {
        Some(range) => range.trim().trim_end_matches('-').parse().context("a range")?,
        None => 0,
    };
    let status = if from > 0 {
        format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}", size - 1)
    } else {
        "200 OK".to_owned()
    };
    let length = size.saturating_sub(from);
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\nETag: \"one\"\r\nConnection: close\r\n\r\n"
    )?;
    let (piece, mut at) = (vec![0; PIECE], from);
    while at < size {
        let next = usize::try_from((size - at).min(PIECE as u64))?;
        stream.write_all(&piece[..next])?;
        at += next as u64;
        sent.store(at, Ordering::Relaxed);
    }
    Ok(())
}
