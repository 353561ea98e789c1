//! Hostile HTTP against the real server: each request gets a clear refusal, and the controller goes on serving.

use crate::harness::fleet::{Fleet, On};
use bellwether::domain::reported::MAX_REPORT_BYTES;
use bellwether::protocol::v1::messages::ErrorBody;
use bellwether::trust;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

/// A key that belongs to nobody.
const STRANGER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn start(name: &str) -> Fleet {
    let files = [("fleet.yml", "name: acme\n"), ("inventory.yml", "all:\n  hosts:\n    honest: { branch: main }\n")];
    let fleet = Fleet::start(name, On::Simulated, &files);
    // Who enrolls is assigned something before he is answered.
    fleet.seen("main");
    fleet
}

/// A client that believes the controller and may do anything else wrong.
fn client(fleet: &Fleet) -> Client {
    let text = std::fs::read(fleet.ca_file()).expect("the controller's authority");
    let authorities = trust::parse_pem(&text).expect("a certificate");
    let tls = trust::by_authorities(&authorities).expect("a usable authority");
    Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("a client")
}

/// A request's status and the refusal's word; the body must be one of ours.
fn answer(fleet: &Fleet, request: RequestBuilder) -> String {
    fleet.runtime().block_on(async {
        let response = match request.send().await {
            Ok(response) => response,
            // The server may hang up on what it does not want to read to the end.
            Err(error) => {
                return format!("no answer ({})", if error.is_connect() { "no connection" } else { "hung up" });
            }
        };
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap_or_default();
        if status < 300 {
            return status.to_string();
        }
        match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) => {
                assert!(!body.message.is_empty() && body.message.len() < 1000, "{body:?}");
                format!("{status} {}", body.code)
            }
            Err(_) => format!("{status} without our body: {}", String::from_utf8_lossy(&bytes).trim()),
        }
    })
}

fn report(start: u64, start_id: &str, seq: u64) -> Value {
    json!({ "start": start, "start_id": start_id, "seq": seq, "phase": "waiting" })
}

/// The key of a device that enrolled in its own name with a token.
fn enroll(fleet: &Fleet, device: &str, key: &str) {
    let token = fleet.token(&[device]);
    // Only the fingerprint's part stays at home.
    let (credential, _) = token.rsplit_once('_').expect("a token has parts");
    let request = client(fleet)
        .post(format!("{}/v1/enroll", fleet.url()))
        .json(&json!({ "device": device, "key": key, "token": credential }));
    assert!(fleet.runtime().block_on(request.send()).expect("an answer").status().is_success());
}

#[test]
fn hostile_requests_are_refused_clearly_and_the_controller_goes_on() {
    let fleet = start("hostile");
    let client = client(&fleet);
    const KEY: &str = "aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899";
    enroll(&fleet, "honest", KEY);
    let at = |method: Method, path: &str| client.request(method, format!("{}{path}", fleet.url()));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let huge = "x".repeat(MAX_REPORT_BYTES + 1);
    let many: Value = (0..300).map(|number| (number.to_string(), json!("x"))).collect::<serde_json::Map<_, _>>().into();
    let with = |mut report: Value, key: &str, value: Value| {
        report[key] = value;
        report
    };
    let name = "a".repeat(32);
    let device = |method: Method, path: &str| at(method, path).bearer_auth(KEY);
    let json_body =
        |request: RequestBuilder, body: &str| request.header("content-type", "application/json").body(body.to_owned());
    let cases: Vec<(&str, RequestBuilder)> = vec![
        ("no such path", at(Method::GET, "/v1/nothing")),
        ("a path that leaves", at(Method::GET, "/v1/devices/..%2f..%2fetc%2fpasswd")),
        ("a wrong method", at(Method::DELETE, "/v1/report")),
        ("another wrong method", at(Method::POST, "/v1/assignment")),
        ("no key", at(Method::GET, "/v1/assignment")),
        ("a stranger's key", at(Method::GET, "/v1/assignment").bearer_auth(STRANGER)),
        ("a key that is none", at(Method::GET, "/v1/assignment").bearer_auth("../../etc/passwd")),
        ("a key of bytes", at(Method::GET, "/v1/assignment").header("authorization", &b"Bearer \xff\xfe"[..])),
        ("an operator's page for strangers", at(Method::GET, "/v1/status")),
        ("an operator's page for devices", device(Method::GET, "/v1/status")),
        ("an act of a device", json_body(device(Method::POST, "/v1/devices/honest/approve"), "{}")),
        ("a token of a device", json_body(device(Method::POST, "/v1/tokens"), "{}")),
        ("a wait that is no number", device(Method::GET, "/v1/assignment?wait=forever")),
        ("a negative wait", device(Method::GET, "/v1/assignment?wait=-1")),
        ("garbage", json_body(device(Method::POST, "/v1/report"), "\u{0}\u{1}{{{")),
        ("half a report", json_body(device(Method::POST, "/v1/report"), r#"{"start": 1"#)),
        ("deep nesting", json_body(device(Method::POST, "/v1/report"), &deep)),
        ("another type", device(Method::POST, "/v1/report").json(&with(report(1, &name, 1), "seq", json!("one")))),
        ("a number beyond", json_body(device(Method::POST, "/v1/report"), r#"{"start": 1e400}"#)),
        ("not JSON by its own word", device(Method::POST, "/v1/report").body("start=1")),
        ("a start without a name", device(Method::POST, "/v1/report").json(&report(1, "short", 1))),
        ("many attributes", device(Method::POST, "/v1/report").json(&with(report(1, &name, 1), "attributes", many))),
        ("an oversized report", json_body(device(Method::POST, "/v1/report"), &huge)),
        ("an oversized enrollment", json_body(at(Method::POST, "/v1/enroll"), &huge)),
        (
            "a bad token",
            at(Method::POST, "/v1/enroll").json(&json!({"device": "x", "key": STRANGER, "token": "bwt1_a"})),
        ),
        (
            "a forged token",
            at(Method::POST, "/v1/enroll").json(&json!({
                "device": "x", "key": STRANGER, "token": format!("bwt1_{}_{STRANGER}", "0".repeat(12))
            })),
        ),
        (
            "a name with odd characters",
            at(Method::POST, "/v1/enroll").json(&json!({"device": "../x\n\u{202e}", "key": STRANGER})),
        ),
        ("a name of another script", at(Method::POST, "/v1/enroll").json(&json!({"device": "кіоск", "key": STRANGER}))),
        ("a short key", at(Method::POST, "/v1/enroll").json(&json!({"device": "x", "key": "00"}))),
        ("a long header", device(Method::GET, "/v1/assignment").header("x-long", "x".repeat(10_000))),
        ("a huge header", device(Method::GET, "/v1/assignment").header("x-long", "x".repeat(1 << 20))),
    ];
    // Who is refused before the end of what he sends may be hung up on, and then may not get to read the answer.
    let early = ["413 too-large", "no answer (hung up)"];
    let told = cases.into_iter().map(|(what, request)| {
        let answer = answer(&fleet, request);
        let is_early = what.contains("oversized") && early.contains(&answer.as_str());
        let is_huge = what == "a huge header" && (answer.starts_with("431") || answer == early[1]);
        format!("{what}: {}", if is_early || is_huge { "refused early" } else { &answer })
    });
    let told: Vec<String> = told.collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    no such path: 404 no-route
    a path that leaves: 401 unknown-key
    a wrong method: 405 wrong-method
    another wrong method: 405 wrong-method
    no key: 401 unknown-key
    a stranger's key: 401 unknown-key
    a key that is none: 401 unknown-key
    a key of bytes: 401 unknown-key
    an operator's page for strangers: 401 unknown-key
    an operator's page for devices: 401 unknown-key
    an act of a device: 401 unknown-key
    a token of a device: 401 unknown-key
    a wait that is no number: 400 malformed
    a negative wait: 400 malformed
    garbage: 400 malformed
    half a report: 400 malformed
    deep nesting: 422 malformed
    another type: 422 malformed
    a number beyond: 400 malformed
    not JSON by its own word: 415 malformed
    a start without a name: 422 malformed
    many attributes: 422 malformed
    an oversized report: refused early
    an oversized enrollment: refused early
    a bad token: 401 bad-token
    a forged token: 401 bad-token
    a name with odd characters: 422 malformed
    a name of another script: 422 malformed
    a short key: 422 malformed
    a long header: 200
    a huge header: refused early
    "#);

    // After all that, it still serves, and nothing of it was taken in.
    let healthy = fleet.runtime().block_on(at(Method::GET, "/healthz").send()).expect("an answer");
    assert!(healthy.status().is_success());
    assert_eq!(fleet.rows().keys().collect::<Vec<_>>(), ["honest"]);
    let log = fleet.controller_log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(!log.contains(KEY) && !log.contains(STRANGER), "no key is ever logged");
}

#[test]
fn operators_get_clear_refusals_over_the_socket_too() {
    let fleet = start("socket-refusals");
    let cases = [
        ("/v1/approvals", json!({ "digest": "0000000000000000" })),
        ("/v1/approvals", json!({ "digest": "short" })),
        ("/v1/approvals", json!({ "digest": 1 })),
        ("/v1/approvals", json!({ "digest": "0000000000000000", "force": true })),
        ("/v1/devices/nobody/approve", json!({})),
        ("/v1/devices/a%20b%0A/reject", json!({})),
        ("/v1/holds", json!({ "on": { "scope": "stage", "name": "nowhere" }, "reason": "x" })),
        ("/v1/holds", json!({ "on": { "scope": "fleet" }, "reason": "" })),
        ("/v1/holds", json!({ "on": { "scope": "galaxy" }, "reason": "x" })),
        ("/v1/resume", json!({ "on": { "scope": "fleet" } })),
        ("/v1/devices/nobody/retry", json!({ "reason": "again", "over_locks": "yes" })),
        ("/v1/devices/nobody/retry", json!({ "reason": "" })),
        ("/v1/tokens", json!({ "bound": { "names": [] }, "uses": 0, "valid_secs": -1 })),
    ];
    let told = cases.map(|(path, body)| {
        let error = fleet.try_post::<Value>(path, &body).expect_err("this must be refused");
        match error {
            bellwether::cli::client::ClientError::Refused { status, body } => {
                format!("{path}: {status} {}: {}", body.code, body.message)
            }
            other => panic!("{path}: {other}"),
        }
    });
    insta::assert_snapshot!(told.join("\n"), @r#"
    /v1/approvals: 404 nothing-held: no held commit has the digest 0000000000000000
    /v1/approvals: 422 out-of-range: a digest must be at least 8 hexadecimal digits
    /v1/approvals: 422 malformed: Failed to deserialize the JSON body into the target type: digest: invalid type: integer `1`, expected a string at line 1 column 11
    /v1/approvals: 422 malformed: Failed to deserialize the JSON body into the target type: force: unknown field `force`, expected `digest` at line 1 column 36
    /v1/devices/nobody/approve: 404 unknown-device: device nobody is not known
    /v1/devices/a%20b%0A/reject: 422 malformed: "a b\n" is not a device name: 1 to 128 letters, digits, `_`, `.` or `-`, beginning with a letter or digit
    /v1/holds: 404 unknown-stage: stage nowhere is not configured
    /v1/holds: 422 out-of-range: the reason must be 1 to 500 characters on one line
    /v1/holds: 422 malformed: Failed to deserialize the JSON body into the target type: on.scope: unknown variant `galaxy`, expected one of `fleet`, `stage`, `device` at line 1 column 23
    /v1/resume: 409 not-held: fleet is not held
    /v1/devices/nobody/retry: 404 unknown-device: device nobody is not known
    /v1/devices/nobody/retry: 422 out-of-range: the reason must be 1 to 500 characters on one line
    /v1/tokens: 422 out-of-range: the number of uses must be 1 to 100000
    "#);
}

#[test]
fn replayed_and_reordered_reports_change_nothing() {
    let fleet = start("replayed");
    let client = client(&fleet);
    const KEY: &str = "bbbbccddeeff00112233445566778899aabbccddeeff00112233445566778899";
    enroll(&fleet, "honest", KEY);
    let send = |start: u64, start_id: &str, seq: u64, note: &str| {
        let mut body = report(start, start_id, seq);
        body["attributes"] = json!({ "note": note });
        let request = client.post(format!("{}/v1/report", fleet.url())).bearer_auth(KEY).json(&body);
        let text = fleet.runtime().block_on(async { request.send().await.expect("an answer").text().await });
        let detail = fleet.device("honest");
        let note = detail.attributes.get("note").cloned().unwrap_or_default();
        let conflict = detail.conflict.map(|conflict| format!(", conflict {}", conflict.reason)).unwrap_or_default();
        format!("{start}.{seq}: {} and it says {note:?}{conflict}", text.expect("a body"))
    };
    let (first, second, third) = ("1".repeat(32), "2".repeat(32), "3".repeat(32));
    let story = [
        send(1, &first, 1, "a"),
        send(1, &first, 3, "c"),
        send(1, &first, 2, "b, late"),
        send(1, &first, 3, "c, replayed"),
        send(2, &second, 1, "d, after a restart"),
        send(1, &first, 9, "e, from before the restart"),
        send(2, &second, 2, "f"),
        send(2, &third, 3, "g, the same start under another name"),
        send(3, &second, 3, "h"),
    ];
    insta::assert_snapshot!(story.join("\n"), @r#"
    1.1: "recorded" and it says "a"
    1.3: "recorded" and it says "c"
    1.2: "stale" and it says "c"
    1.3: "stale" and it says "c"
    2.1: "recorded" and it says "d, after a restart"
    1.9: "stale" and it says "d, after a restart"
    2.2: "recorded" and it says "f"
    2.3: "recorded" and it says "f", conflict Clone
    3.3: "recorded" and it says "h", conflict Clone
    "#);
}

#[test]
fn bytes_that_are_no_http_end_their_own_connection_only() {
    let fleet = start("no-http");
    // Held open and never finished: it must not keep anybody else waiting.
    let mut slow = UnixStream::connect(fleet.socket()).expect("connect");
    slow.write_all(b"GET /v1/status HT").expect("write half a request");
    for bytes in [
        &b"\x00\x01\x02\x03\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/refresh HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/refresh HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
        b"GET /v1/devices/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        let mut stream = UnixStream::connect(fleet.socket()).expect("connect");
        stream.write_all(bytes).expect("write");
        stream.shutdown(std::net::Shutdown::Write).expect("say no more");
        let mut answer = Vec::new();
        // A reset is an answer too.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{:?} got {answer}",
            String::from_utf8_lossy(bytes)
        );
    }
    // Not TLS at all, on the port that speaks TLS.
    let address = fleet.url().replace("https://", "");
    let mut stream = std::net::TcpStream::connect(&address).expect("connect");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").expect("write");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    assert_eq!(fleet.status().status.stages.len(), 3, "everybody else is served");
    drop(slow);
}
