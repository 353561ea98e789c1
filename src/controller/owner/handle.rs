//! How everybody else talks to the owner.

use super::super::watch::News;
use super::{Act, Answer, Command, CommandError, Pending};
use crate::domain::desired::Variant;
use crate::domain::fleet::{Change, Event};
use crate::domain::ids::{Actor, DeviceId, RolloutName};
use crate::domain::plan::rollouts::{NewDraft, RolloutAsked};
use crate::domain::reported::Report;
use crate::domain::rollout::machine::Which;
use crate::protocol::v1::messages::{EnrollRequest, EnrollStatus, ReportAnswer};
use tokio::sync::{mpsc, oneshot};

/// A way to send commands to the owner.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

impl Handle {
    pub(super) fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands }
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, CommandError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| CommandError::Stopping)?;
        answered.await.map_err(|_| CommandError::Stopping)?
    }

    /// Records a report, durably.
    pub async fn report(&self, device: DeviceId, report: Report) -> Result<ReportAnswer, CommandError> {
        self.ask(|answer| Command::Report(Pending { device, report: Box::new(report), answer })).await
    }

    /// Decides an enrollment.
    pub async fn enroll(&self, request: EnrollRequest) -> Result<EnrollStatus, CommandError> {
        self.ask(|answer| Command::Enroll { request: Box::new(request), answer }).await
    }

    /// Carries out an operator's act; answers with what it changed.
    pub async fn act(&self, actor: Actor, act: Act) -> Result<Vec<Change>, CommandError> {
        self.ask(|answer| Command::Act { act, actor, answer }).await
    }

    /// Does what an operator asks of a rollout; answers with what it changed.
    pub async fn rollout(
        &self,
        actor: Actor,
        name: RolloutName,
        act: RolloutAsked,
        reason: String,
    ) -> Result<Vec<Change>, CommandError> {
        self.ask(|answer| Command::Rollout { name, act, reason, actor, answer }).await
    }

    /// Lets devices of a rollout that failed go through another release first; answers with what that changed.
    pub async fn reroute(
        &self,
        actor: Actor,
        name: RolloutName,
        which: Which,
        variant: Variant,
        reason: String,
    ) -> Result<Vec<Change>, CommandError> {
        let variant = Box::new(variant);
        self.ask(|answer| Command::Reroute { name, which, variant, reason, actor, answer }).await
    }

    /// Makes a rollout that somebody drafted; answers with what that changed.
    pub async fn draft(&self, actor: Actor, draft: NewDraft, reason: String) -> Result<Vec<Change>, CommandError> {
        let draft = Box::new(draft);
        self.ask(|answer| Command::Draft { draft, reason, actor, answer }).await
    }

    /// A handle that does not keep the owner from ending.
    pub fn weak(&self) -> WeakHandle {
        WeakHandle(self.commands.downgrade())
    }

    /// The newest events, newest first.
    pub async fn events(&self, subject: Option<String>, limit: usize) -> Result<Vec<Event>, CommandError> {
        self.ask(|answer| Command::Events { subject, limit, answer }).await
    }

    /// Writes down what was said on the forge; no decision reads it. Called by the thread that says it.
    pub fn note(&self, changes: Vec<Change>) -> Result<(), CommandError> {
        let (answer, answered) = oneshot::channel();
        self.commands.blocking_send(Command::Note { changes, answer }).map_err(|_| CommandError::Stopping)?;
        answered.blocking_recv().map_err(|_| CommandError::Stopping)?
    }

    /// Tells what the fleet repo looks like. Called by the watcher's thread.
    pub fn news(&self, news: News) -> Result<(), CommandError> {
        self.commands.blocking_send(Command::News(news)).map_err(|_| CommandError::Stopping)
    }

    /// Lets the owner see whether a hold has ended. Called by the watcher's thread at each look.
    pub fn tick(&self) -> Result<(), CommandError> {
        self.commands.blocking_send(Command::Tick).map_err(|_| CommandError::Stopping)
    }

    /// Stops the owner once it has done what it was asked before.
    pub async fn stop(&self) {
        // Already stopped is as good.
        let _ = self.commands.send(Command::Stop).await;
    }
}

/// A handle that does not keep the owner from ending.
#[derive(Clone, Debug)]
pub struct WeakHandle(mpsc::WeakSender<Command>);

impl WeakHandle {
    /// Lets the owner see what is due. `Err` if it has ended.
    pub fn tick(&self) -> Result<(), CommandError> {
        let commands = self.0.upgrade().ok_or(CommandError::Stopping)?;
        commands.blocking_send(Command::Tick).map_err(|_| CommandError::Stopping)
    }
}
