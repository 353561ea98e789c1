//! Webhooks: GitHub's published examples of every event, signed, at a real controller; and everything that must not get through.

use crate::harness::fleet::{Fleet, On};
use crate::harness::forge::folder;
use crate::harness::process::eventually;
use crate::harness::run::run;
use bellwether::domain::forge::hook::MAX_HOOK_BYTES;
use bellwether::domain::ids::StageName;
use bellwether::trust;
use reqwest::Client;
use serde_json::{Value, json};

const SECRET: &str = "a secret that nobody guesses";

/// A controller that looks at its repo only when it is told to.
fn start(name: &str, repository: &str) -> Fleet {
    let secret = run().scratch(&format!("{name}-secret")).join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).expect("write the secret");
    let settings = format!(
        "stages: [main, canary, production]\nforge: {{ repository: {repository}, webhook_secret_file: {} }}\n",
        secret.display()
    );
    let files = [("fleet.yml", "name: acme\n"), ("inventory.yml", "all:\n  hosts:\n    hooked: { branch: main }\n")];
    let mut fleet = Fleet::configured(name, On::Simulated, &settings, &files);
    fleet.stop_controller();
    fleet.controller_environment.insert("BELLWETHER_POLL_SECS".to_owned(), "86400".to_owned());
    fleet.start_controller();
    fleet
}

fn signed(secret: &str, body: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = ring::hmac::sign(&key, body);
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

struct Sender<'a> {
    fleet: &'a Fleet,
    client: Client,
}

impl<'a> Sender<'a> {
    fn new(fleet: &'a Fleet) -> Self {
        let text = std::fs::read(fleet.ca_file()).expect("the controller's authority");
        let tls = trust::by_authorities(&trust::parse_pem(&text).expect("a certificate")).expect("a usable authority");
        let client = Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("a client");
        Self { fleet, client }
    }

    /// Status and text of the answer.
    fn send(&self, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        let url = format!("{}/v1/webhook", self.fleet.url());
        let request =
            headers.iter().fold(self.client.post(url), |request, (name, value)| request.header(*name, *value));
        let request = request.body(body.to_vec());
        self.fleet.runtime().block_on(async {
            let answer = request.send().await.expect("an answer");
            (answer.status().as_u16(), answer.text().await.unwrap_or_default())
        })
    }

    /// As GitHub sends it.
    fn deliver(&self, event: &str, delivery: &str, body: &[u8]) -> (u16, String) {
        let signature = signed(SECRET, body);
        self.send(
            &[
                ("content-type", "application/json"),
                ("x-github-event", event),
                ("x-github-delivery", delivery),
                ("x-hub-signature-256", &signature),
            ],
            body,
        )
    }
}

#[test]
fn every_event_that_github_publishes_is_taken_and_hints_at_stages_only() {
    let text = std::fs::read(folder().join("node_modules/@octokit/webhooks-examples/api.github.com/index.json"));
    let events: Vec<Value> = serde_json::from_slice(&text.expect("`scripts/setup test` puts it there")).expect("JSON");
    let fleet = start("hooks", "Codertocat/Hello-World");
    let sender = Sender::new(&fleet);
    let mut taken = 0;
    for event in &events {
        let name = event["name"].as_str().expect("a name");
        for (number, example) in event["examples"].as_array().expect("examples").iter().enumerate() {
            let body = serde_json::to_vec(example).expect("JSON");
            let (status, answer) = sender.deliver(name, &format!("{}-{number}", name.replace('_', "-")), &body);
            assert_eq!((status, answer.as_str()), (202, "nothing to do\n"), "{name} {number}");
            taken += 1;
        }
    }
    assert!(events.len() > 50 && taken > 150, "{} events, {taken} examples", events.len());

    // The example of a push, to the branch of a stage.
    let pushed = events.iter().find(|event| event["name"] == "push").expect("a push");
    let mut body = pushed["examples"][0].clone();
    body["ref"] = json!("refs/heads/main");
    let body = serde_json::to_vec(&body).expect("JSON");
    fleet.repo.switch("main");
    let commit = fleet.repo.commit("Go on", &[("host_vars/hooked.yml", "variables: { A: b }\n")]);
    fleet.repo.push("main");
    let stage = StageName::new("main").expect("a stage");
    assert_ne!(fleet.stage(&stage).accepted.expect("a commit").as_str(), commit, "nobody has told it yet");
    assert_eq!(sender.deliver("push", "push-to-main", &body), (202, "looking\n".to_owned()));
    eventually("the controller has looked", || {
        (fleet.stage(&stage).accepted.expect("a commit").as_str() == commit).then_some(())
    });
    assert_eq!(sender.deliver("push", "push-to-main", &body), (202, "known\n".to_owned()), "a delivery counts once");
}

#[test]
fn what_is_not_signed_as_it_is_gets_nowhere() {
    let fleet = start("forged", "acme/fleet");
    let sender = Sender::new(&fleet);
    let push = json!({ "ref": "refs/heads/main", "repository": { "full_name": "acme/fleet" } });
    let body = serde_json::to_vec(&push).expect("JSON");
    let good = signed(SECRET, &body);
    let delivery = std::cell::Cell::new(0);
    let send = |signature: Option<&str>, kind: &str, body: &[u8]| {
        delivery.set(delivery.get() + 1);
        let name = format!("delivery-{}", delivery.get());
        let mut headers =
            vec![("content-type", kind), ("x-github-event", "push"), ("x-github-delivery", name.as_str())];
        headers.extend(signature.map(|signature| ("x-hub-signature-256", signature)));
        let (status, answer) = sender.send(&headers, body);
        let code =
            serde_json::from_str::<Value>(&answer).ok().and_then(|body| body["code"].as_str().map(str::to_owned));
        format!("{status} {}", code.unwrap_or_default())
    };
    let json = "application/json";
    let tampered = String::from_utf8_lossy(&body).replace("main", "canary").into_bytes();
    assert_eq!(send(None, json, &body), "401 bad-signature");
    assert_eq!(send(Some(""), json, &body), "401 bad-signature");
    assert_eq!(send(Some(&good), json, &tampered), "401 bad-signature");
    assert_eq!(send(Some(&good), json, b""), "401 bad-signature");
    assert_eq!(send(Some(&good[7..]), json, &body), "401 bad-signature");
    assert_eq!(send(Some(&format!("sha1={}", "0".repeat(40))), json, &body), "401 bad-signature");
    assert_eq!(send(Some(&signed("another secret of somebody", &body)), json, &body), "401 bad-signature");
    assert_eq!(send(Some(&good), "application/x-www-form-urlencoded", &body), "415 not-json");
    let nonsense = b"{\"ref\":";
    assert_eq!(send(Some(&signed(SECRET, nonsense)), json, nonsense), "400 bad-event");
    let long = vec![b' '; MAX_HOOK_BYTES + 1];
    assert!(send(Some(&signed(SECRET, &long)), json, &long).starts_with("413"), "what is too long is not read");
    assert_eq!(send(Some(&good), json, &body), "202 ", "and what is good still is");
    let (status, _) = sender.deliver("push", "not a name", &body);
    assert_eq!(status, 400);
    assert!(!fleet.controller_log().contains(SECRET));
}

#[test]
fn a_controller_that_was_given_no_secret_takes_no_webhook() {
    let files = [("fleet.yml", "name: acme\n"), ("inventory.yml", "all:\n  hosts:\n    hookless: { branch: main }\n")];
    let fleet = Fleet::start("hookless", On::Simulated, &files);
    let (status, _) = Sender::new(&fleet).deliver("push", "one", b"{}");
    assert_eq!(status, 404);
}
