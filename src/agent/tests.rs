//! The whole agent against a device plane in the same process, over real HTTPS: what it says, keeps and refuses.

use super::engine::simulated::SimulatedEngine;
use super::settings::{EngineKind, HostKind, JoinSettings, OsKind, Settings};
use super::{AgentError, run};
use crate::clock;
use crate::domain::assignment::Assignment;
use crate::domain::device::machine::{Pace, PollMode};
use crate::domain::digest::Digest;
use crate::domain::enrollment::{JoinToken, TokenId, TokenSecret};
use crate::domain::generation::{Attempt, Epoch, Generation, Order};
use crate::domain::ids::{DeviceId, FleetName};
use crate::domain::reported::{Phase, Report};
use crate::domain::spec::{AppSpec, DeviceSpec, SealedSpec, ServiceSpec};
use crate::domain::time::Timestamp;
use crate::ports::engine::fake::Tamper;
use crate::protocol::v1::envelope::{Statement, sign};
use crate::protocol::v1::messages::{EnrollAnswer, EnrollRequest, EnrollStatus, ReportAnswer};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ed25519_dalek::SigningKey;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How long a test waits for something that must come. Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(240);

/// What a test tells the plane, and what the plane saw.
#[derive(Clone, Default)]
struct Scene {
    offer: Option<(String, Vec<u8>)>,
    enrolled: BTreeSet<String>,
    enrollments: Vec<EnrollRequest>,
    reports: Vec<Report>,
}

/// A device plane on loopback.
struct Plane {
    address: String,
    ca: Digest,
    scene: watch::Sender<Scene>,
    key: SigningKey,
}

fn fleet() -> FleetName {
    "acme".parse().expect("a fleet name")
}

impl Plane {
    async fn start() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
        let chain = vec![leaf.der().clone(), authority.der().clone()];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key.serialize_der().try_into().expect("a key"))
            .expect("a certificate with its key");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket for the runtime");
        let address = format!("https://{}", listener.local_addr().expect("bound"));
        let (scene, _) = watch::channel(Scene::default());
        let router = axum::Router::new()
            .route("/v1/enroll", post(enroll))
            .route("/v1/assignment", get(assignment))
            .route("/v1/report", post(report))
            .with_state(scene.clone());
        let config = axum_server::tls_rustls::RustlsConfig::from_config(Arc::new(config));
        let server = axum_server::from_tcp_rustls(listener, config).expect("a server");
        tokio::spawn(server.serve(router.into_make_service()));
        Self { address, ca: Digest::of(authority.der()), scene, key: SigningKey::from_bytes(&[7; 32]) }
    }

    fn settings(&self, place: &Path) -> Settings {
        let token =
            JoinToken { id: TokenId::from_bytes([1; 6]), secret: TokenSecret::from_bytes([2; 32]), ca: self.ca };
        Settings {
            state_dir: place.to_owned(),
            enrollment: Some(JoinSettings {
                server: self.address.clone(),
                token: Some(token),
                device: Some(device()),
                ca_file: None,
            }),
            engine: EngineKind::Simulated,
            core_dumps: None,
            os: OsKind::None,
            host: HostKind::Simulated,
            lock_dir: place.join("locks"),
            boot_id_file: place.join("boot_id"),
            reboot: Vec::new(),
            api: None,
            branch: None,
            attributes: BTreeMap::from([("site".to_owned(), "zurich".to_owned())]),
            pace: Pace { poll: PollMode::Long, poll_interval_secs: 1, look_interval_secs: 1, ..Pace::default() },
            log: tracing::Level::INFO,
        }
    }

    /// Offers a spec, changed as a forger would.
    fn offer(&self, generation: u64, spec: DeviceSpec, forge: impl FnOnce(&mut Statement), key: &SigningKey) {
        let spec = SealedSpec::seal(spec);
        let generation = Generation::new(generation).expect("not zero");
        let assignment = Assignment {
            device: device(),
            stage: "main".parse().expect("a stage name"),
            commit: "a".repeat(40).parse().expect("a commit id"),
            order: Order { epoch: Epoch::FIRST, generation },
            attempt: Attempt::FIRST,
            spec,
            rollout: None,
            assigned_at: Timestamp::EPOCH,
            soak_secs: 0,
            force: None,
        };
        let mut statement = Statement::of(&fleet(), &assignment, clock::now());
        forge(&mut statement);
        let envelope = serde_json::to_vec(&sign(&statement, key)).expect("an envelope");
        self.scene.send_modify(|scene| scene.offer = Some((assignment.mark().etag(), envelope)));
    }

    fn approve(&self) {
        self.scene.send_modify(|scene| scene.enrolled = scene.enrollments.iter().map(|one| one.key.clone()).collect());
    }

    /// Waits until what the plane saw is so.
    async fn until(&self, what: &str, holds: impl Fn(&Scene) -> bool) -> Scene {
        let mut seen = self.scene.subscribe();
        match tokio::time::timeout(PATIENCE, seen.wait_for(|scene| holds(scene))).await {
            Ok(scene) => scene.expect("the plane lives").clone(),
            Err(_) => panic!("it never came to this: {what}; reports: {:#?}", self.scene.borrow().reports),
        }
    }

    async fn until_reported(&self, what: &str, holds: impl Fn(&Report) -> bool) -> Report {
        let scene = self.until(what, |scene| scene.reports.last().is_some_and(&holds)).await;
        scene.reports.last().expect("it holds of the last one").clone()
    }
}

type Shared = State<watch::Sender<Scene>>;

async fn enroll(State(scene): Shared, Json(request): Json<EnrollRequest>) -> Json<EnrollAnswer> {
    let enrolled = scene.borrow().enrolled.contains(&request.key);
    scene.send_modify(|scene| scene.enrollments.push(request));
    let status = if enrolled { EnrollStatus::Enrolled } else { EnrollStatus::Pending };
    let public_key = crate::domain::digest::hex(SigningKey::from_bytes(&[7; 32]).verifying_key().as_bytes());
    Json(EnrollAnswer { status, fleet: fleet(), public_key })
}

fn is_enrolled(scene: &watch::Sender<Scene>, headers: &HeaderMap) -> bool {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    bearer.strip_prefix("Bearer ").is_some_and(|key| scene.borrow().enrolled.contains(key))
}

async fn assignment(State(scene): Shared, headers: HeaderMap) -> Response {
    if !is_enrolled(&scene, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let known = known.trim_matches('"').to_owned();
    let mut seen = scene.subscribe();
    // The test's runtime ends what is still held.
    let news = seen.wait_for(|scene| scene.offer.as_ref().is_some_and(|(etag, _)| *etag != known)).await;
    match news.ok().and_then(|scene| scene.offer.clone()) {
        Some((etag, envelope)) => ([(header::ETAG, format!("\"{etag}\""))], envelope).into_response(),
        None => StatusCode::NOT_MODIFIED.into_response(),
    }
}

async fn report(State(scene): Shared, headers: HeaderMap, Json(report): Json<Report>) -> Response {
    if !is_enrolled(&scene, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    scene.send_modify(|scene| scene.reports.push(report));
    Json(ReportAnswer::Recorded).into_response()
}

fn device() -> DeviceId {
    "kiosk-1".parse().expect("a device name")
}

fn web(image: &str) -> DeviceSpec {
    let services = BTreeMap::from([("app".parse().expect("a service name"), ServiceSpec::of_image(image))]);
    let web = AppSpec {
        release: "1.0.0".parse().expect("a version"),
        services,
        volumes: BTreeSet::new(),
        networks: BTreeMap::new(),
    };
    DeviceSpec { apps: BTreeMap::from([("web".parse().expect("an app name"), web)]), ..DeviceSpec::default() }
}

/// An agent that runs until it is told to stop.
struct RunningAgent {
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Result<(), AgentError>>,
}

impl RunningAgent {
    fn start(settings: Settings) -> Self {
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(run(settings, async move { drop(stopped.await) }));
        Self { stop, ended }
    }

    async fn stop(self) -> Result<(), AgentError> {
        let _ = self.stop.send(());
        tokio::time::timeout(PATIENCE, self.ended).await.expect("it ends").expect("it does not panic")
    }

    /// As `kill -9` would, at whatever it is doing.
    async fn kill(self) {
        self.ended.abort();
        let _ = self.ended.await;
    }
}

#[tokio::test]
async fn a_device_enrolls_waits_applies_reports_drift_and_comes_back_after_a_stop() {
    let plane = Plane::start().await;
    let place = tempfile::tempdir().expect("a directory");
    let agent = RunningAgent::start(plane.settings(place.path()));
    let scene = plane.until("it asks to belong", |scene| !scene.enrollments.is_empty()).await;
    let request = &scene.enrollments[0];
    assert_eq!(request.token.as_deref(), Some(format!("bwt1_010101010101_{}", "02".repeat(32)).as_str()));
    assert_eq!((request.attributes["site"].as_str(), request.key.len()), ("zurich", 64));
    plane.approve();
    plane.until_reported("it waits", |report| report.phase == Phase::Waiting).await;
    plane.offer(1, web("a:1"), |_| {}, &plane.key);
    plane.until_reported("it has applied", |report| report.phase == Phase::Settled && report.applied.is_some()).await;
    let engine = SimulatedEngine::open(&place.path().join("engine")).expect("the agent's engine");
    let (app, service) = ("web".parse().expect("an app name"), "app".parse().expect("a service name"));
    assert!(engine.tamper(&Tamper::Stop { app, service }).expect("changed"));
    let mended =
        plane.until_reported("it has mended", |report| report.phase == Phase::Settled && !report.found.is_empty());
    let mended = mended.await;
    assert_eq!(mended.found[0].difference.subject, "web/app state");
    agent.stop().await.expect("a clean stop");
    let again = RunningAgent::start(Settings { enrollment: None, ..plane.settings(place.path()) });
    let report = plane.until_reported("it is back", |report| report.start == 2 && report.phase == Phase::Settled).await;
    assert_eq!((report.seq, &report.found), (1, &Vec::new()));
    assert_eq!(report.observed, mended.observed);
    again.stop().await.expect("a clean stop");
    let creates: Vec<u64> = engine.contents().expect("readable").creates.into_values().collect();
    assert_eq!(creates, [1]);
}

#[tokio::test]
async fn an_agent_that_is_killed_again_and_again_makes_each_container_once() {
    let plane = Plane::start().await;
    let place = tempfile::tempdir().expect("a directory");
    let mut agent = RunningAgent::start(plane.settings(place.path()));
    plane.until("it asks to belong", |scene| !scene.enrollments.is_empty()).await;
    plane.approve();
    for generation in 1..=4 {
        plane.offer(generation, web(&format!("a:{generation}")), |_| {}, &plane.key);
        let order = Order { epoch: Epoch::FIRST, generation: Generation::new(generation).expect("not zero") };
        plane.until_reported("it has accepted", |report| report.observed.is_some_and(|mark| mark.order == order)).await;
        agent.kill().await;
        agent = RunningAgent::start(plane.settings(place.path()));
    }
    plane.until_reported("it has applied", |report| report.start == 5 && report.phase == Phase::Settled).await;
    agent.stop().await.expect("a clean stop");
    let engine = SimulatedEngine::open(&place.path().join("engine")).expect("the agent's engine");
    let creates = engine.contents().expect("readable").creates;
    assert!(creates.values().all(|count| *count == 1), "{creates:#?}");
    let order: Vec<_> =
        plane.scene.borrow().reports.iter().filter_map(|report| report.observed).map(|m| m.order).collect();
    assert!(order.is_sorted(), "what was accepted goes back: {order:?}");
}

#[tokio::test]
async fn offers_that_cannot_be_believed_are_refused_and_touch_nothing() {
    let plane = Plane::start().await;
    let place = tempfile::tempdir().expect("a directory");
    let agent = RunningAgent::start(plane.settings(place.path()));
    plane.until("it asks to belong", |scene| !scene.enrollments.is_empty()).await;
    plane.approve();
    plane.offer(5, web("a:1"), |_| {}, &plane.key);
    plane.until_reported("it has applied", |report| report.phase == Phase::Settled && report.applied.is_some()).await;
    let engine = SimulatedEngine::open(&place.path().join("engine")).expect("the agent's engine");
    let before = engine.contents().expect("readable");
    let stranger = SigningKey::from_bytes(&[8; 32]);
    let day = 24 * 3600;
    type Forge = fn(&mut Statement);
    let cases: [(&str, &SigningKey, u64, Forge); 6] = [
        ("BadSignature", &stranger, 6, |_| {}),
        ("WrongDevice", &plane.key, 7, |statement| statement.device = "kiosk-2".parse().expect("a device name")),
        ("Expired", &plane.key, 8, |statement| statement.expires = Timestamp::EPOCH),
        ("DigestMismatch", &plane.key, 9, |statement| statement.spec = "{\"schema\":1}".to_owned()),
        ("NewerSchema", &plane.key, 10, |statement| {
            statement.spec = "{\"schema\":99}".to_owned();
            statement.spec_digest = Digest::of(statement.spec.as_bytes());
        }),
        ("Outdated", &plane.key, 4, |_| {}),
    ];
    assert!(clock::now() > Timestamp::EPOCH.plus_secs(day), "the machine's clock is set");
    for (reason, key, generation, forge) in cases {
        plane.offer(generation, web("forged:1"), forge, key);
        let report =
            plane.until_reported(reason, |report| report.refused.as_ref().is_some_and(|one| one.reason == reason));
        assert_eq!(report.await.observed.map(|mark| mark.order.generation.value()), Some(5));
    }
    assert_eq!(engine.contents().expect("readable"), before);
    agent.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_controller_with_another_authority_never_hears_a_secret() {
    let plane = Plane::start().await;
    let mut settings = plane.settings(Path::new("/nonexistent"));
    let token = settings.enrollment.as_mut().and_then(|join| join.token.as_mut()).expect("a token");
    token.ca = Digest::of(b"another authority");
    let mut identity = super::identity::Identity::new(plane.address.clone(), device()).expect("made");
    let answer = super::link::enroll(&mut identity, Some(token), &BTreeMap::new()).await;
    let error = answer.expect_err("it is not believed").to_string();
    assert!(error.contains("invalid peer certificate"), "{error}");
    assert!(plane.scene.borrow().enrollments.is_empty());
    assert!(!error.contains(identity.key()));
}

#[tokio::test]
async fn a_damaged_ledger_ends_the_agent_before_it_does_anything() {
    let plane = Plane::start().await;
    let place = tempfile::tempdir().expect("a directory");
    std::fs::write(place.path().join("ledger"), "bellwether-ledger 1 sha").expect("written");
    let error = run(plane.settings(place.path()), std::future::pending()).await.expect_err("it cannot go on");
    assert!(matches!(error, AgentError::Ledger(_)), "{error}");
    assert!(plane.scene.borrow().enrollments.is_empty());
}
