//! The operators' side: reading what is known, and acting with a name.

use super::auth::Operator;
use super::errors::Refused;
use super::request::{Asked, Body, Named};
use super::{Server, Shared};
use crate::clock;
use crate::controller::lists::{ListStatus, Newest};
use crate::controller::owner::Act;
use crate::domain::acts::operator::{self as acts, NewToken};
use crate::domain::acts::retry;
use crate::domain::digest::Digest;
use crate::domain::enrollment::{JoinToken, TokenId, TokenSecret};
use crate::domain::fleet::{Change, Event, Revision};
use crate::domain::ids::{Actor, DeviceId, NameError, StageName};
use crate::domain::manifest::listed_by::RegistryRules;
use crate::domain::overview::OverviewInput;
use crate::domain::overview::baseline::Baseline;
use crate::domain::overview::device::{self, DeviceDetail, DeviceRow};
use crate::domain::overview::drift::{DriftReport, drift_report};
use crate::domain::overview::secrets::SecretsAnswer;
use crate::domain::plan::ownership::Standing;
use crate::domain::registered;
use crate::protocol::v1::operator::{
    ApproveRequest, AttributesRequest, Done, EpochRequest, HoldRequest, ListAnswer, MAX_EVENTS_ANSWER, ResumeRequest,
    RetryRequest, TokenAnswer, TokenRequest, WhyAnswer,
};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use ring::rand::SecureRandom as _;
use serde::Deserialize;

/// Lets a closure look at everything that is known now.
pub(super) fn overview<T>(server: &Server, look: impl FnOnce(&OverviewInput<'_>) -> T) -> T {
    let last_seen = server.published.all_last_seen();
    let world = server.world.read();
    look(&OverviewInput {
        pass: world.pass_input(&server.options, clock::now()),
        last_seen: &last_seen,
        offline_after_secs: server.options.offline_after_secs,
    })
}

/// The same on a thread that may take its time, for answers that look at every device.
pub(super) async fn overview_of_all<T: Send + 'static>(
    server: Shared,
    look: impl FnOnce(&OverviewInput<'_>) -> T + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(move || overview(&server, look)).await.map_err(|_| {
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the controller failed at this request")
    })
}

/// `GET /v1/devices`
pub async fn devices(State(server): State<Shared>, _: Operator) -> Result<Json<Vec<DeviceRow>>, Refused> {
    let rows = overview_of_all(server, |input| {
        device::devices(input).into_iter().map(|device| device::row(input, device)).collect()
    });
    Ok(Json(rows.await?))
}

fn unknown_device(device: &DeviceId) -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "unknown-device", format!("device {device} is not known"))
        .hint("`bellwether devices` lists all")
}

/// `GET /v1/devices/{device}`
pub async fn device(
    State(server): State<Shared>,
    _: Operator,
    Named(device): Named,
) -> Result<Json<DeviceDetail>, Refused> {
    overview(&server, |input| device::detail(input, &device)).map(Json).ok_or_else(|| unknown_device(&device))
}

/// `GET /v1/devices/{device}/why`
pub async fn why(State(server): State<Shared>, _: Operator, Named(device): Named) -> Result<Json<WhyAnswer>, Refused> {
    let detail = overview(&server, |input| device::detail(input, &device)).ok_or_else(|| unknown_device(&device))?;
    let (stage, revision) = overview(&server, |input| explaining(input, &detail)).unzip();
    let explanation = match &revision {
        Some(revision) => server.watcher.explain(revision.clone(), device).await,
        None => None,
    };
    let (commit, inventory) = revision.map(|revision| (revision.commit, revision.inventory)).unzip();
    Ok(Json(WhyAnswer { device: detail, stage, commit, inventory: inventory.flatten(), explanation }))
}

/// The stage and the commit that tell where a device's values come from. Of a device in transit that is what the most gated stage
/// that lists it says, because there somebody must finish the move.
fn explaining(input: &OverviewInput<'_>, detail: &DeviceDetail) -> Option<(StageName, Revision)> {
    let pass = &input.pass;
    let stage = match &detail.row.standing {
        Standing::Owned(stage) => stage.clone(),
        Standing::InTransit => {
            let lists = |stage: &&StageName| {
                pass.accepted(stage).is_some_and(|desired| desired.devices.contains_key(&detail.row.device))
            };
            pass.stages.iter().rev().map(|policy| &policy.name).find(lists)?.clone()
        }
        Standing::Unmanaged => return None,
    };
    let revision = pass.state.stages.get(&stage)?.counts()?;
    Some((stage, revision))
}

pub(super) fn list_answer((url, status): (String, ListStatus)) -> (String, ListAnswer) {
    let ListStatus { newest, since, last_contact, trouble } = status;
    (url, ListAnswer { newest, since, last_contact, trouble })
}

/// Which list is wanted.
#[derive(Debug, Deserialize)]
pub struct ListQuery {
    digest: Option<Digest>,
    registry: Option<String>,
    url: Option<String>,
}

/// `GET /v1/inventory`
pub async fn inventory(
    State(server): State<Shared>,
    _: Operator,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, Refused> {
    let found = tokio::task::spawn_blocking(move || list(&server, &query)).await;
    let found = found.map_err(|_| {
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the controller failed at this request")
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], found?).into_response())
}

fn list(server: &Server, ListQuery { digest, registry, url }: &ListQuery) -> Result<Vec<u8>, Refused> {
    if let Some(names) = registry {
        let names = names.split(',').filter(|name| !name.is_empty()).map(str::parse);
        let vars = names
            .collect::<Result<_, _>>()
            .map_err(|error: NameError| Refused::new(StatusCode::BAD_REQUEST, "bad-name", error.to_string()))?;
        return Ok(registered::list(&server.world.read().state, &RegistryRules { vars }).into_bytes());
    }
    let digest = match (digest, url) {
        (Some(digest), _) => *digest,
        (None, Some(url)) => match server.lists.newest(url) {
            Newest::List(digest) => digest,
            Newest::Nothing(why) => {
                return Err(Refused::new(StatusCode::NOT_FOUND, "no-inventory", format!("{url} gave no list: {why}")));
            }
            Newest::NotAllowed => {
                let message = format!("the controller's configuration does not name {url} under `inventories`");
                return Err(Refused::new(StatusCode::NOT_FOUND, "no-inventory", message));
            }
        },
        (None, None) => {
            let message = "name a list with `digest`, `registry` or `url`";
            return Err(Refused::new(StatusCode::BAD_REQUEST, "bad-request", message));
        }
    };
    let found = server.lists.load(&digest).ok().flatten();
    found.map(|bytes| bytes.to_vec()).ok_or_else(|| {
        Refused::new(StatusCode::NOT_FOUND, "no-inventory", format!("there is no list {}", digest.short()))
    })
}

/// `GET /v1/secrets`
pub async fn secrets(State(server): State<Shared>, _: Operator) -> Result<Json<SecretsAnswer>, Refused> {
    let answer = server.watcher.secrets().await;
    answer.map(Json).ok_or_else(|| {
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the controller has too many requests of this kind")
            .retry_after(5)
    })
}

/// `GET /v1/drift`
pub async fn drift(State(server): State<Shared>, _: Operator) -> Result<Json<DriftReport>, Refused> {
    Ok(Json(overview_of_all(server, |input| drift_report(input, |_| true)).await?))
}

/// `GET /v1/baseline`
pub async fn baseline(State(server): State<Shared>, _: Operator) -> Result<Json<Baseline>, Refused> {
    let options = server.options.clone();
    let baseline =
        overview_of_all(server, move |input| Baseline::of_state(&options.fleet, &options.stages, input.pass.state));
    Ok(Json(baseline.await?))
}

/// Which events are wanted.
#[derive(Debug, Deserialize)]
pub struct EventsQuery {
    subject: Option<String>,
    limit: Option<usize>,
}

/// `GET /v1/events`
pub async fn events(
    State(server): State<Shared>,
    _: Operator,
    Asked(EventsQuery { subject, limit }): Asked<EventsQuery>,
) -> Result<Json<Vec<Event>>, Refused> {
    let limit = limit.unwrap_or(100).min(MAX_EVENTS_ANSWER);
    Ok(Json(server.owner.events(subject, limit).await?))
}

pub(super) async fn act(server: &Server, actor: Actor, act: Act) -> Result<Json<Done>, Refused> {
    let changes = server.owner.act(actor, act).await?;
    let events = changes.into_iter().filter_map(|change| match change {
        Change::Event(event) => Some(event),
        _ => None,
    });
    Ok(Json(Done { events: events.collect() }))
}

/// `POST /v1/approvals`
pub async fn approve(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Body(ApproveRequest { digest }): Body<ApproveRequest>,
) -> Result<Json<Done>, Refused> {
    act(&server, actor, Box::new(move |state, _, acting| acts::approve_commit(state, &digest, acting))).await
}

/// `POST /v1/devices/{device}/approve`
pub async fn approve_device(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Named(device): Named,
) -> Result<Json<Done>, Refused> {
    let done =
        act(&server, actor, Box::new(move |state, _, acting| acts::approve_device(state, &device, acting))).await;
    server.watcher.lists_changed();
    done
}

/// `POST /v1/devices/{device}/reject`
pub async fn reject_device(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Named(device): Named,
) -> Result<Json<Done>, Refused> {
    act(&server, actor, Box::new(move |state, _, acting| acts::reject_device(state, &device, acting))).await
}

/// `POST /v1/devices/{device}/attributes`
pub async fn set_attributes(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Named(device): Named,
    Body(AttributesRequest { set, remove, listing }): Body<AttributesRequest>,
) -> Result<Json<Done>, Refused> {
    let act_now: Act = Box::new(move |state, _, acting| match listing {
        None => acts::set_attributes(state, &device, &set, &remove, acting),
        Some(listing) => acts::register(state, &device, listing, &set, &remove, acting),
    });
    let done = act(&server, actor, act_now).await;
    server.watcher.lists_changed();
    done
}

/// `POST /v1/holds`
pub async fn hold(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Body(HoldRequest { on, reason, until }): Body<HoldRequest>,
) -> Result<Json<Done>, Refused> {
    act(&server, actor, Box::new(move |state, stages, acting| acts::hold(state, stages, &on, &reason, until, acting)))
        .await
}

/// `POST /v1/resume`
pub async fn resume(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Body(ResumeRequest { on }): Body<ResumeRequest>,
) -> Result<Json<Done>, Refused> {
    act(&server, actor, Box::new(move |state, _, acting| acts::resume(state, &on, acting))).await
}

/// `POST /v1/devices/{device}/retry`
pub async fn retry(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Named(device): Named,
    Body(RetryRequest { reason, over_locks }): Body<RetryRequest>,
) -> Result<Json<Done>, Refused> {
    act(&server, actor, Box::new(move |state, _, acting| retry::retry(state, &device, over_locks, &reason, acting)))
        .await
}

/// `POST /v1/tokens`
pub async fn token(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Body(TokenRequest { bound, uses, valid_secs }): Body<TokenRequest>,
) -> Result<Json<TokenAnswer>, Refused> {
    let join = JoinToken {
        id: TokenId::from_bytes(random()?),
        secret: TokenSecret::from_bytes(random()?),
        ca: server.ca_fingerprint,
    };
    let token = NewToken { id: join.id.to_string(), secret_hash: join.secret.digest(), uses, valid_secs, bound };
    let changes =
        server.owner.act(actor, Box::new(move |state, _, acting| acts::new_token(state, token, acting))).await?;
    let expires = changes.iter().find_map(|change| match change {
        Change::Token(_, record) => Some(record.expires),
        _ => None,
    });
    let expires = expires.unwrap_or_else(clock::now);
    Ok(Json(TokenAnswer { token: join.reveal(), id: join.id.to_string(), expires }))
}

fn random<const N: usize>() -> Result<[u8; N], Refused> {
    let mut bytes = [0u8; N];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the system gave no random bytes"))?;
    Ok(bytes)
}

/// `POST /v1/epoch`
pub async fn epoch(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Body(EpochRequest { from, reason }): Body<EpochRequest>,
) -> Result<Json<Done>, Refused> {
    act(&server, actor, Box::new(move |state, _, acting| acts::raise_epoch(state, from, &reason, acting))).await
}

/// `POST /v1/refresh`
pub async fn refresh(State(server): State<Shared>, _: Operator) -> Json<Done> {
    server.fetching.wake();
    server.watcher.wake();
    Json(Done { events: Vec::new() })
}
