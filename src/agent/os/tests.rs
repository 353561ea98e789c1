//! What is fetched and what is run, without a device.

use super::images::Images;
use super::program::{MAX_OUTPUT_BYTES, Program};
use crate::domain::device::os::ImageFile;
use crate::domain::digest::Digest;
use crate::domain::spec::OsSpec;
use crate::ports::os::OsError;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

/// How a server treats one request.
#[derive(Clone, Copy)]
enum Manner {
    /// Serves what was asked for.
    Ranges,
    /// Serves the whole image whatever was asked for.
    Whole,
    /// As `Ranges`, but breaks off after so many bytes.
    Cut(usize),
    /// As `Whole`, but breaks off after so many bytes.
    CutWhole(usize),
    /// Serves another image under the same name.
    Other,
}

/// A server of one image that treats each request in its own manner, and tells what was asked.
fn serve(image: Vec<u8>, manners: Vec<Manner>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/image", listener.local_addr().expect("bound"));
    let (asked, questions) = mpsc::channel();
    std::thread::spawn(move || {
        for manner in manners {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = Vec::new();
            let mut byte = [0; 1];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                request.push(byte[0]);
            }
            let text = String::from_utf8_lossy(&request).to_lowercase();
            let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let range = header("range: bytes=").map(str::to_owned);
            let _ = asked.send(range.clone().unwrap_or_else(|| "all".to_owned()));
            let other: Vec<u8> = image.iter().map(|byte| byte ^ 1).collect();
            let (body, tag) = if matches!(manner, Manner::Other) { (&other, "two") } else { (&image, "one") };
            let from = range.and_then(|range| range.trim_end_matches('-').parse::<usize>().ok());
            let same = header("if-range:").is_none_or(|known| known == format!("\"{tag}\""));
            let ranges = matches!(manner, Manner::Ranges | Manner::Cut(_) | Manner::Other);
            let from = from.filter(|_| same && ranges).unwrap_or(0);
            let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
            let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"{tag}\"\r\n", body.len() - from);
            if from > 0 {
                head += &format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
            }
            if ranges {
                head += "Accept-Ranges: bytes\r\n";
            }
            let end = match manner {
                Manner::Cut(bytes) | Manner::CutWhole(bytes) => (from + bytes).min(body.len()),
                Manner::Ranges | Manner::Whole | Manner::Other => body.len(),
            };
            let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes());
            let _ = stream.write_all(&body[from..end]);
        }
    });
    (url, questions)
}

fn image_of(len: usize) -> Vec<u8> {
    (0..len).map(|place| (place % 251) as u8).collect()
}

fn wanted(url: String, image: &[u8]) -> OsSpec {
    let named = OsSpec::named("kiosk-os", "2026.11".parse().expect("a version"));
    OsSpec { url: Some(url), digest: Some(Digest::of(image)), ..named }
}

fn images(place: &tempfile::TempDir, reserve_bytes: u64) -> Images {
    // Whatever can be read as a list of authorities: these servers speak http.
    let ca = place.path().join("ca.pem");
    std::fs::write(&ca, authority()).expect("written");
    Images::new(place.path().join("images"), reserve_bytes, Some(ca))
}

fn authority() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&key).expect("a certificate").pem()
}

/// Fetches until it is whole or the manners are used up; what each try came to, what was asked, and what is there.
async fn check(manners: Vec<Manner>, len: usize) -> String {
    let place = tempfile::tempdir().expect("a directory");
    let image = image_of(len);
    let tries = manners.len();
    let (url, questions) = serve(image.clone(), manners);
    let wanted = wanted(url, &image);
    let mut told = Vec::new();
    for _ in 0..tries {
        // A new one each time: nothing but the files is remembered.
        let images = images(&place, 0);
        let came = match images.fetch(&wanted).await {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.failure().reason.to_owned(),
        };
        let there = match images.look().expect("readable") {
            ImageFile::Whole { image } if image == wanted.key() => "whole".to_owned(),
            ImageFile::Partly { bytes, .. } => format!("{bytes} bytes"),
            ImageFile::Absent => "nothing".to_owned(),
            other => format!("{other:?}"),
        };
        told.push(format!("{} → {came}, {there}", questions.recv().expect("it asked")));
    }
    told.join("; ")
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off_and_never_mixes_two_images() {
    use Manner::*;
    assert_eq!(check(vec![Ranges], 3000).await, "all → ok, whole");
    assert_eq!(
        check(vec![Cut(1000), Cut(500), Ranges], 3000).await,
        "all → DownloadFailed, 1000 bytes; 1000- → DownloadFailed, 1500 bytes; 1500- → ok, whole"
    );
    // A server without ranges begins anew, and so does the file.
    assert_eq!(check(vec![CutWhole(1000), Whole], 3000).await, "all → DownloadFailed, 1000 bytes; 1000- → ok, whole");
    // Another image under the same name: its tag does not fit, so it comes whole; its digest does not fit, so it goes.
    assert_eq!(
        check(vec![Cut(1000), Other, Ranges], 3000).await,
        "all → DownloadFailed, 1000 bytes; 1000- → DigestMismatch, nothing; all → ok, whole"
    );
}

#[tokio::test]
async fn room_is_made_sure_of_before_anything_is_written() {
    let place = tempfile::tempdir().expect("a directory");
    let image = image_of(3000);
    let (url, _questions) = serve(image.clone(), vec![Manner::Ranges]);
    let error = images(&place, 1 << 60).fetch(&wanted(url, &image)).await.expect_err("no room");
    assert!(matches!(error, OsError::NoRoom { needed: 3000, free: 0, .. }), "{error}");
    let there = images(&place, 0).look().expect("readable");
    assert!(matches!(there, ImageFile::Partly { bytes: 0, .. }), "{there:?}");
}

#[tokio::test]
async fn what_cannot_be_checked_is_not_fetched_over_http() {
    let place = tempfile::tempdir().expect("a directory");
    let unchecked = OsSpec { digest: None, ..wanted("http://127.0.0.1:1/image".to_owned(), b"") };
    let error = images(&place, 0).fetch(&unchecked).await.expect_err("refused");
    assert_eq!(error.failure().reason, "NoAddress");
}

#[tokio::test]
async fn a_program_has_bounds_in_time_and_output_and_no_shell() {
    let run = async |words: &[&str], limit: Duration| {
        let text = serde_json::to_string(words).expect("a list");
        text.parse::<Program>().expect("a program").run(&["more $HOME"], &BTreeMap::new(), limit).await
    };
    let long = Duration::from_secs(60);
    let said = run(&["/bin/echo"], long).await.expect("it ran");
    assert_eq!((said.code, said.output.as_slice()), (Some(0), b"more $HOME\n".as_slice()));
    let complained = run(&["/bin/sh", "-c", "echo no such slot >&2; exit 3"], long).await.expect("it ran");
    assert_eq!((complained.code, complained.told().as_str()), (Some(3), "no such slot (it ended with 3)"));
    let much = run(&["/usr/bin/yes"], long).await.expect_err("too much");
    assert_eq!(much, format!("/usr/bin/yes: it said more than {MAX_OUTPUT_BYTES} bytes"));
    let slow = run(&["/bin/sh", "-c", "sleep 1000"], Duration::from_millis(50)).await.expect_err("too slow");
    assert_eq!(slow, "/bin/sh did not end within 0 seconds");
    assert!("relative/program".parse::<Program>().is_err());
    assert!("[\"/bin/a\", 1]".parse::<Program>().is_err());
}
