//! Which devices a filter means, and the tree of dynamic groups.

use super::auth::Operator;
use super::errors::Refused;
use super::operator::{act, list_answer};
use super::request::{Asked, Body};
use super::{Server, Shared};
use crate::clock;
use crate::controller::World;
use crate::domain::acts::several;
use crate::domain::filter::views::{Saved, View};
use crate::domain::filter::{Answer, DynamicGroups, Filter, FilterError, Test};
use crate::domain::ids::DeviceId;
use crate::domain::manifest::near::nearest;
use crate::domain::overview::OverviewInput;
use crate::domain::overview::export::{self, ExportPage, MAX_EXPORT_DEVICES};
use crate::domain::overview::query::{Folder, Undetermined, folder, saved, sorted, view_row};
use crate::domain::overview::status;
use crate::protocol::v1::operator::{
    Done, HoldDevicesRequest, MAX_PAGE, RepoAnswer, ResumeDevicesRequest, SelectAnswer, Selected, StatusAnswer,
};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use std::collections::BTreeSet;

/// How many devices a page has unless more or fewer are asked for.
const USUAL_PAGE: usize = 1000;

/// Which devices are wanted.
#[derive(Debug, Deserialize)]
pub struct SelectQuery {
    filter: Option<String>,
    view: Option<String>,
    #[serde(default)]
    from: usize,
    limit: Option<usize>,
}

/// `GET /v1/select`
pub async fn select(
    State(server): State<Shared>,
    _: Operator,
    Asked(query): Asked<SelectQuery>,
) -> Result<Json<SelectAnswer>, Refused> {
    asked(server, move |world, input| page(world, input, &query)).await
}

/// Of which devices a status is wanted.
#[derive(Debug, Deserialize)]
pub struct StatusQuery {
    filter: Option<String>,
    view: Option<String>,
}

/// `GET /v1/status`
pub async fn status(
    State(server): State<Shared>,
    _: Operator,
    Asked(StatusQuery { filter, view }): Asked<StatusQuery>,
) -> Result<Json<StatusAnswer>, Refused> {
    let (fleet, address) = (server.options.fleet.clone(), server.address);
    let lists = server.lists.status().into_iter().map(list_answer).collect();
    asked(server, move |world, input| {
        let mut selected = None;
        let status = if filter.is_none() && view.is_none() {
            status::status(input)
        } else {
            let saved = saved(&input.pass);
            let view = view.as_deref().map(|name| self::view(&saved, name)).transpose()?;
            let test = wanted(filter.as_deref(), view, &saved.groups)?;
            let found = world.matches(input, &test, &saved.groups);
            let (total, undetermined) = (found.yes.len(), Undetermined::of(&found.unknown));
            selected = Some(Selected { total, undetermined, slips: world.slips(input, &test) });
            let meant: BTreeSet<DeviceId> = found.yes.into_iter().collect();
            status::status_among(input, |device| meant.contains(device))
        };
        let repo = world.repo.clone();
        Ok(StatusAnswer {
            fleet,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address,
            status: status.with_missing(&repo.missing),
            repo: RepoAnswer {
                last_contact: repo.last_contact,
                unavailable: repo.unavailable,
                missing: repo.missing,
                unreadable: repo.unreadable,
                lists,
            },
            selected,
        })
    })
    .await
}

/// `POST /v1/holds/devices`
pub async fn hold_devices(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Body(HoldDevicesRequest { devices, reason, until }): Body<HoldDevicesRequest>,
) -> Result<Json<Done>, Refused> {
    let held = Box::new(move |state: &_, stages: &[_], acting: &_| {
        several::hold_devices(state, stages, &devices, &reason, until, acting)
    });
    act(&server, actor, held).await
}

/// `POST /v1/resume/devices`
pub async fn resume_devices(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Body(ResumeDevicesRequest { devices }): Body<ResumeDevicesRequest>,
) -> Result<Json<Done>, Refused> {
    act(&server, actor, Box::new(move |state, _, acting| several::resume_devices(state, &devices, acting))).await
}

/// Which page is wanted.
#[derive(Debug, Deserialize)]
pub struct ExportQuery {
    after: Option<DeviceId>,
    limit: Option<usize>,
}

/// `GET /v1/export`
pub async fn export(
    State(server): State<Shared>,
    _: Operator,
    Asked(ExportQuery { after, limit }): Asked<ExportQuery>,
) -> Result<Json<ExportPage>, Refused> {
    asked(server, move |_, input| Ok(export::page(input, after.as_ref(), limit.unwrap_or(MAX_EXPORT_DEVICES)))).await
}

/// Which folder is wanted.
#[derive(Debug, Deserialize)]
pub struct GroupsQuery {
    #[serde(default)]
    path: String,
}

/// `GET /v1/groups`
pub async fn groups(
    State(server): State<Shared>,
    _: Operator,
    Asked(GroupsQuery { path }): Asked<GroupsQuery>,
) -> Result<Json<Folder>, Refused> {
    asked(server, move |world, input| {
        let saved = saved(&input.pass);
        let groups = &saved.groups;
        folder(&path, groups, |test| world.matches(input, test, groups)).ok_or_else(|| {
            let message = format!("no dynamic group is at `{}`", path.chars().take(200).collect::<String>());
            Refused::new(StatusCode::NOT_FOUND, "unknown-group", message).hint("`bellwether ls` lists the top")
        })
    })
    .await
}

/// Looks at everything, on a thread that may take its time.
async fn asked<T: Send + 'static>(
    server: Shared,
    look: impl FnOnce(&World, &OverviewInput<'_>) -> Result<T, Refused> + Send + 'static,
) -> Result<Json<T>, Refused> {
    let failed =
        |_| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the controller failed at this request");
    let looked = tokio::task::spawn_blocking(move || {
        let server: &Server = &server;
        let last_seen = server.published.all_last_seen();
        let world = server.world.read();
        let input = OverviewInput {
            pass: world.pass_input(&server.options, clock::now()),
            last_seen: &last_seen,
            offline_after_secs: server.options.offline_after_secs,
        };
        look(&world, &input)
    });
    Ok(Json(looked.await.map_err(failed)??))
}

fn page(world: &World, input: &OverviewInput<'_>, query: &SelectQuery) -> Result<SelectAnswer, Refused> {
    let saved = saved(&input.pass);
    let view = query.view.as_deref().map(|name| view(&saved, name)).transpose()?;
    let test = wanted(query.filter.as_deref(), view, &saved.groups)?;
    let found = world.matches(input, &test, &saved.groups);
    let total = found.yes.len();
    let sort = view.map(|view| view.sort.as_slice()).unwrap_or_default();
    let limit = query.limit.unwrap_or(USUAL_PAGE).clamp(1, MAX_PAGE);
    let ordered = sorted(input, found.yes, sort);
    let devices = ordered.iter().skip(query.from).take(limit).map(|device| view_row(input, device, view)).collect();
    let next = query.from.saturating_add(limit);
    Ok(SelectAnswer {
        total,
        columns: view.iter().flat_map(|view| &view.columns).map(|column| column.name().to_string()).collect(),
        devices,
        undetermined: Undetermined::of(&found.unknown),
        slips: world.slips(input, &test),
        next: (next < total).then_some(next),
    })
}

fn view<'a>(saved: &'a Saved, name: &str) -> Result<&'a View, Refused> {
    saved.views.get(name).ok_or_else(|| {
        let message = format!("there is no view `{}`", name.chars().take(200).collect::<String>());
        let refused = Refused::new(StatusCode::NOT_FOUND, "unknown-view", message);
        match nearest(name, saved.views.keys().map(|name| &**name)) {
            Some(near) => refused.hint(&format!("did you mean `{near}`?")),
            None if saved.views.is_empty() => refused.hint("fleet.yml names none under `views:`"),
            None => {
                let names: Vec<&str> = saved.views.keys().take(20).map(|name| &**name).collect();
                refused.hint(&format!("views: {}", names.join(", ")))
            }
        }
    })
}

/// What the view and the filter ask for together.
fn wanted(filter: Option<&str>, view: Option<&View>, groups: &DynamicGroups) -> Result<Test, Refused> {
    let mut tests: Vec<Test> =
        view.and_then(|view| view.filter.as_ref()).map(|one| one.test.clone()).into_iter().collect();
    if let Some(text) = filter {
        tests.push(Filter::new(text, groups).map_err(|error| bad_filter(text, &error))?.test);
    }
    Ok(if tests.is_empty() { Test::Is(Answer::Yes) } else { Test::All(tests) })
}

fn bad_filter(text: &str, error: &FilterError) -> Refused {
    let message = format!("{}\n{}", error.message, error.underlined(text));
    let refused = Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-filter", message);
    match &error.hint {
        Some(hint) => refused.hint(hint),
        None => refused,
    }
}
