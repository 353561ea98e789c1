//! Rollouts: reading how they stand, and asking something of them.

use super::Shared;
use super::auth::Operator;
use super::errors::Refused;
use super::request::{Body, Named};
use crate::clock;
use crate::controller::owner::CommandError;
use crate::controller::watch::{AskedBranch, AskedVariant, Branched};
use crate::domain::acts::operator::{ActError, check_reason};
use crate::domain::fleet::{Change, Revision, StageRecord};
use crate::domain::ids::{Actor, AppName, RolloutName, Version};
use crate::domain::manifest::rollouts::read_step;
use crate::domain::overview::rollouts::{RolloutDetail, RolloutRow, detail, rows};
use crate::domain::plan::pass::PassInput;
use crate::domain::plan::reroute::rerouted;
use crate::domain::plan::rollouts::{DraftError, DraftSteps, NewDraft, RolloutActError, RolloutAsked};
use crate::domain::rollout::machine::{Acknowledge, Act, Which};
use crate::protocol::v1::operator::{Done, DraftRequest, RolloutAsk, RolloutRequest};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

async fn look<T: Send + 'static>(
    server: Shared,
    look: impl FnOnce(&PassInput<'_>) -> T + Send + 'static,
) -> Result<T, Refused> {
    let looked = tokio::task::spawn_blocking(move || {
        let world = server.world.read();
        look(&PassInput { contacts: &*server.published, ..world.pass_input(&server.options, clock::now()) })
    });
    looked.await.map_err(|_| {
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the controller failed at this request")
    })
}

/// `GET /v1/rollouts`
pub async fn list(State(server): State<Shared>, _: Operator) -> Result<Json<Vec<RolloutRow>>, Refused> {
    Ok(Json(look(server, rows).await?))
}

/// `GET /v1/rollouts/{rollout}`
pub async fn one(
    State(server): State<Shared>,
    _: Operator,
    Named(name): Named<RolloutName>,
) -> Result<Json<RolloutDetail>, Refused> {
    let found = look(server, {
        let name = name.clone();
        move |input| detail(input, &name)
    })
    .await?;
    found.map(Json).ok_or_else(|| {
        Refused::new(StatusCode::NOT_FOUND, "unknown-rollout", format!("there is no rollout {name}"))
            .hint("`bellwether rollouts` lists all")
    })
}

/// `POST /v1/rollouts/{rollout}`
pub async fn ask(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Named(name): Named<RolloutName>,
    Body(RolloutRequest { ask, reason }): Body<RolloutRequest>,
) -> Result<Json<Done>, Refused> {
    check_reason(&reason).map_err(|error: ActError| CommandError::from(error))?;
    let act = match ask {
        RolloutAsk::Approve => Act::Approve,
        RolloutAsk::Pause { until } => Act::Pause { until },
        RolloutAsk::Resume => Act::Resume { acknowledge: Acknowledge::Nothing },
        RolloutAsk::ResumeAcknowledging => Act::Resume { acknowledge: Acknowledge::Failures },
        RolloutAsk::Abort => Act::Abort,
        RolloutAsk::Retry { devices } if devices.is_empty() => {
            let message = "no devices to retry are named";
            return Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "malformed", message)
                .hint("`retry-failed` asks for all that failed"));
        }
        RolloutAsk::RetryFailed => Act::Retry(Which::Failed),
        RolloutAsk::Lift => Act::Lift,
        RolloutAsk::Retry { devices } => Act::Retry(Which::Devices(devices)),
        RolloutAsk::Reroute { devices, .. } if devices.is_empty() => {
            let message = "no devices to reroute are named";
            return Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "malformed", message)
                .hint("`reroute-failed` asks for all that failed"));
        }
        RolloutAsk::Reroute { devices, app, via } => {
            return reroute(&server, actor, name, Which::Devices(devices), (app, via), reason).await;
        }
        RolloutAsk::RerouteFailed { app, via } => {
            return reroute(&server, actor, name, Which::Failed, (app, via), reason).await;
        }
        RolloutAsk::Rollback => Act::Rollback,
        RolloutAsk::Activate => Act::Activate,
        RolloutAsk::AddStep { at, step } => {
            let world = server.world.read();
            let unknown = || CommandError::Rollout(RolloutActError::Unknown(name.clone()));
            let record = world.state.rollouts.get(&name).ok_or_else(unknown)?;
            let at = at.map_or(record.head.policy.steps.len(), |at| at.saturating_sub(1));
            Act::AddStep { at, step: Box::new(read_step(&step).map_err(bad_step)?) }
        }
        RolloutAsk::DeleteStep { at: 0 } => return Err(bad_step("steps are counted from 1".to_owned()).into()),
        RolloutAsk::DeleteStep { at } => Act::DeleteStep { at: at - 1 },
        RolloutAsk::Delete => {
            return Ok(Json(done(server.owner.rollout(actor, name, RolloutAsked::Delete, reason).await?)));
        }
    };
    Ok(Json(done(server.owner.rollout(actor, name, act.into(), reason).await?)))
}

/// Lets devices that failed go through another release.
async fn reroute(
    server: &Shared,
    actor: Actor,
    name: RolloutName,
    which: Which,
    (app, via): (AppName, Version),
    reason: String,
) -> Result<Json<Done>, Refused> {
    let asked = asked_variant(server, &name, &which, app, via)?;
    let variant = server.watcher.variant(asked).await?;
    Ok(Json(done(server.owner.reroute(actor, name, which, variant, reason).await?)))
}

fn bad_step(why: String) -> CommandError {
    CommandError::Rollout(RolloutActError::Draft(DraftError::BadStep(why)))
}

/// `POST /v1/rollouts`
pub async fn draft(
    State(server): State<Shared>,
    Operator(actor): Operator,
    Body(request): Body<DraftRequest>,
) -> Result<Json<Done>, Refused> {
    let DraftRequest { name, stage, branch, commit, devices, policy, steps, change, reason } = request;
    check_reason(&reason).and_then(|()| check_reason(&change)).map_err(|error: ActError| CommandError::from(error))?;
    let steps = match policy {
        Some(policy) if steps.is_empty() => DraftSteps::Policy(policy),
        Some(_) => return Err(bad_step("a policy has its own steps".to_owned()).into()),
        None => {
            let steps: Result<Vec<_>, String> = steps.iter().map(|step| read_step(step)).collect();
            DraftSteps::Own(steps.map_err(bad_step)?)
        }
    };
    if server.options.stages.iter().any(|policy| policy.name == branch) {
        let why = format!("{branch} is a stage: what it has goes out by itself");
        return Err(Refused::from(CommandError::Rollout(RolloutActError::Draft(DraftError::Broken(why)))));
    }
    let counts = server.world.read().state.stages.get(&stage).and_then(StageRecord::counts);
    let no_commit = || CommandError::Rollout(RolloutActError::Draft(DraftError::NoCommit(stage.clone())));
    let base = counts.ok_or_else(no_commit)?;
    let asked = AskedBranch { branch: branch.clone(), commit, stage: stage.clone(), base: base.clone() };
    let Branched { commit, desired } = server.watcher.branch(asked).await?;
    let draft = NewDraft { name, stage, branch, commit, base, desired, devices, steps, change };
    Ok(Json(done(server.owner.draft(actor, draft, reason).await?)))
}

fn done(changes: Vec<Change>) -> Done {
    let events = changes.into_iter().filter_map(|change| match change {
        Change::Event(event) => Some(event),
        _ => None,
    });
    Done { events: events.collect() }
}

/// What has to be read of the rollout's commit before devices can be led through another release.
fn asked_variant(
    server: &Shared,
    name: &RolloutName,
    which: &Which,
    app: AppName,
    release: Version,
) -> Result<AskedVariant, CommandError> {
    let world = server.world.read();
    let record = world.state.rollouts.get(name).ok_or_else(|| RolloutActError::Unknown(name.clone()))?;
    let devices = rerouted(record, which).map_err(RolloutActError::from)?;
    let stage = record.head.stage.clone();
    let inventory = world.state.stages.get(&stage).and_then(|stage| stage.inventory);
    let revision = Revision { commit: record.head.commit.clone(), inventory };
    Ok(AskedVariant { stage, revision, app, release, devices })
}
