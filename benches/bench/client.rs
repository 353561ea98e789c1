//! Devices in a child process that do nothing but ask: each has a key and a connection of its own that stays open.

use super::table::quantile;
use super::{fleet, process};
use anyhow::{Context as _, bail, ensure};
use bellwether::domain::digest::Digest;
use bellwether::domain::enrollment::JoinToken;
use bellwether::domain::reported::Report;
use bellwether::protocol::v1::messages::EnrollRequest;
use bellwether::trust;
use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One device.
#[derive(Clone)]
struct Asking {
    http: reqwest::Client,
    server: Arc<str>,
    key: String,
    etag: String,
    reports: u64,
}

/// What is asked in a circle.
#[derive(Clone)]
enum Question {
    /// The answer of a server that does nothing: the price of TLS and HTTP alone.
    Health,
    /// The assignment, which has not changed.
    Poll,
    /// A new report.
    Report(Arc<Report>),
}

/// A child that is many devices until its input ends.
pub fn child(server: &str, authority: &str, token: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let authority = std::fs::read(authority)?;
    let mut devices = Vec::new();
    process::say(&json!("ready"));
    process::serve(|line| match line.splitn(3, ' ').collect::<Vec<_>>().as_slice() {
        ["enroll", count] => {
            let asked = enroll_all(server, &authority, token, count.parse()?);
            devices = runtime.block_on(asked)?;
            Ok(json!(devices.len()))
        }
        ["health", secs] => runtime.block_on(ask_for(&mut devices, Question::Health, secs.parse()?)),
        ["poll", secs] => runtime.block_on(ask_for(&mut devices, Question::Poll, secs.parse()?)),
        ["report", secs, report] => {
            let report = Question::Report(Arc::new(serde_json::from_str(report)?));
            runtime.block_on(ask_for(&mut devices, report, secs.parse()?))
        }
        _ => bail!("{line:?} is nothing that devices do"),
    })
}

async fn enroll_all(server: &str, authority: &[u8], token: &str, count: usize) -> anyhow::Result<Vec<Asking>> {
    let token: JoinToken = token.parse()?;
    let authorities = trust::parse_pem(authority)?;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(trust::by_authorities(&authorities)?)
            .timeout(Duration::from_secs(60))
            .no_proxy()
            .build()?;
        let request = EnrollRequest {
            device: fleet::device(number),
            key: Digest::of(format!("key of {number}").as_bytes()).hex(),
            token: Some(token.credential()),
            attributes: BTreeMap::new(),
        };
        let server: Arc<str> = server.into();
        tasks.spawn(async move {
            let key = request.key.clone();
            let answer = http.post(format!("{server}/v1/enroll")).json(&request).send().await?;
            ensure!(answer.status() == StatusCode::OK, "enrolling was answered {}", answer.status());
            let mut device = Asking { http, server, key, etag: String::new(), reports: 0 };
            device.etag = device.fetch().await?;
            Ok(device)
        });
    }
    let devices: anyhow::Result<Vec<_>> = tasks.join_all().await.into_iter().collect();
    devices
}

impl Asking {
    /// The entity tag of what is assigned.
    async fn fetch(&self) -> anyhow::Result<String> {
        let request = self.http.get(format!("{}/v1/assignment?wait=60", self.server)).bearer_auth(&self.key);
        let answer = request.send().await?;
        let tag = answer.headers().get(ETAG).context("an assignment")?.to_str()?.to_owned();
        answer.bytes().await?;
        Ok(tag)
    }

    fn request(&mut self, question: &Question) -> (RequestBuilder, StatusCode) {
        let Self { http, server, key, etag, reports } = self;
        match question {
            Question::Health => (http.get(format!("{server}/healthz")), StatusCode::OK),
            Question::Poll => {
                let request = http.get(format!("{server}/v1/assignment?wait=0"));
                (request.bearer_auth(key).header(IF_NONE_MATCH, etag.as_str()), StatusCode::NOT_MODIFIED)
            }
            Question::Report(report) => {
                *reports += 1;
                let start_id = Digest::of(key.as_bytes()).hex()[..32].to_owned();
                let report = Report { start: 1, start_id, seq: *reports, ..Report::clone(report) };
                (http.post(format!("{server}/v1/report")).bearer_auth(key).json(&report), StatusCode::OK)
            }
        }
    }
}

/// Every device asks, waits for the answer, and asks again, for so many seconds.
async fn ask_for(devices: &mut Vec<Asking>, question: Question, secs: f64) -> anyhow::Result<Value> {
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mut device in devices.drain(..) {
        let (question, stop) = (question.clone(), stop.clone());
        tasks.spawn(async move {
            let mut millis = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let (request, wanted) = device.request(&question);
                let asked = Instant::now();
                let answer = request.send().await?;
                let status = answer.status();
                let body = answer.bytes().await?;
                millis.push(asked.elapsed().as_secs_f64() * 1000.0);
                ensure!(status == wanted, "a question was answered {status}: {}", String::from_utf8_lossy(&body));
            }
            Ok((device, millis))
        });
    }
    tokio::time::sleep(Duration::from_secs_f64(secs)).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (device, millis) = done??;
        devices.push(device);
        all.extend(millis);
    }
    let secs = begun.elapsed().as_secs_f64();
    Ok(json!({ "count": all.len(), "secs": secs, "p99": quantile(&mut all, 0.99) }))
}
