//! What one device of a rollout waits for: the same questions as when it is offered something, asked for the answer alone.

use super::{Awaited, awaited};
use crate::domain::ids::DeviceId;
use crate::domain::rollout::budget::Shortage;
use crate::domain::rollout::machine::member::{Back, Member, Phase, Wait};
use crate::domain::rollout::machine::offers::Kept;
use crate::domain::rollout::machine::work::Work;
use crate::domain::rollout::machine::{Returns, Rollout, Status, World};
use crate::domain::time::Timestamp;
use crate::domain::window::Opening;

impl Rollout {
    /// What one device waits for in this rollout. `None` if it is none of its devices, or has all that it gets.
    ///
    /// The devices of its site must be there, and all that hold slots of budgets; others do not matter.
    pub fn explain_device<W: World + ?Sized>(&self, device: &DeviceId, now: Timestamp, world: &W) -> Option<Awaited> {
        let member = self.members.get(device)?;
        if let Some(back) = member.back {
            return self.way_back(device, member, back, world);
        }
        let stands = !matches!(self.head.status, Status::Active | Status::Done { .. });
        Some(match &member.phase {
            Phase::Succeeded { .. } => return None,
            Phase::Excluded { reason } => {
                awaited("excluded", format!("kept out of {}: {reason}", self.head.name), None, None)
            }
            Phase::Bad { .. } => self.failed_device(device, member, String::new()),
            Phase::Queued { .. } | Phase::Offered { .. } if stands => {
                awaited("rollout", format!("it is {}", self.head.status), None, None)
            }
            Phase::Queued { wait } => self.queued(device, member, *wait, now, world),
            Phase::Offered { since } => {
                awaited("not-acknowledged", format!("offered at {since}, not yet acknowledged"), None, None)
            }
            Phase::InProgress { since, healthy: None, .. } => {
                awaited("in-progress", format!("at work since {since}"), None, None)
            }
            Phase::InProgress { healthy: Some(since), .. } => {
                let done = since.plus_secs(self.head.policy.step(member.step.unwrap_or(0) as usize).soak_secs.into());
                awaited("soaking", format!("healthy since {since}, soaks until {done}"), Some(done), None)
            }
            Phase::Ready { since } => {
                awaited("site", format!("ready since {since}, and waits for the rest of its site"), None, None)
            }
            Phase::Superseded => {
                awaited("superseded", "a newer commit took the rollout's place".to_owned(), None, None)
            }
            Phase::Canceled => awaited("canceled", format!("it is {}", self.head.status), None, None),
        })
    }

    fn title(&self, member: &Member) -> String {
        match member.step {
            Some(step) => format!("step {} ({})", step + 1, self.head.policy.step(step as usize).name),
            None => "a later step".to_owned(),
        }
    }

    /// How it failed, and what became of it since.
    fn failed_device(&self, device: &DeviceId, member: &Member, since: String) -> Awaited {
        let Phase::Bad { failure, at, message } = &member.phase else {
            return awaited("going-back", since, None, None);
        };
        let why = message.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        let since = if since.is_empty() { since } else { format!("; {since}") };
        // Where a retry would be refused, it is not advised.
        let hint = match &self.head.status {
            Status::Active | Status::Paused { .. } | Status::Error { .. } | Status::Done { .. } => {
                Some(format!("`bellwether rollout retry {} {device} --reason '…'`", self.head.name))
            }
            Status::Draft
            | Status::PendingApproval
            | Status::Aborted { .. }
            | Status::Superseded { .. }
            | Status::RollingBack { .. }
            | Status::RolledBack { .. } => None,
        };
        awaited("failed", format!("{failure} at {at}{why}{since}"), None, hint)
    }

    fn way_back<W: World + ?Sized>(
        &self,
        device: &DeviceId,
        member: &Member,
        back: Back,
        world: &W,
    ) -> Option<Awaited> {
        let since = match back {
            Back::Waiting => match world.returns(device) {
                Returns::Held => "it goes back to what it had when it is not held any more".to_owned(),
                Returns::Now | Returns::Never => "it waits for its turn to go back to what it had".to_owned(),
            },
            Back::Offered { since, .. } => format!("it was told at {since} to go back to what it had"),
            Back::Away => "it was told to go back to what it had, and is not heard of".to_owned(),
            Back::Done => "it has what it had before".to_owned(),
            Back::Kept => "it keeps what it got".to_owned(),
        };
        let is_over = matches!(back, Back::Done | Back::Kept) && !matches!(member.phase, Phase::Bad { .. });
        (!is_over).then(|| self.failed_device(device, member, since))
    }

    fn queued<W: World + ?Sized>(
        &self,
        device: &DeviceId,
        member: &Member,
        wait: Wait,
        now: Timestamp,
        world: &W,
    ) -> Awaited {
        let title = self.title(member);
        match wait {
            Wait::Until(at) => self.until(&title, device, member, at, now, world),
            Wait::Turn => match self.its_turn(member, &title, now, world) {
                Some(not_yet) => not_yet,
                None => self.kept_from(device, &title, now, world),
            },
            Wait::Word if !world.is_online(device) => {
                awaited("offline", format!("{title}: it is not heard of"), None, None)
            }
            Wait::Word | Wait::CatchUp(_) => match self.head.late.stopped {
                Some(since) if self.is_over(member) || matches!(wait, Wait::CatchUp(_)) => {
                    let message = format!(
                        "{title}: it was away, and no device that comes late is offered anything since {since}"
                    );
                    awaited("late-stopped", message, None, None)
                }
                Some(_) | None => self.kept_from(device, &title, now, world),
            },
        }
    }

    /// Whether its step was decided without it.
    fn is_over(&self, member: &Member) -> bool {
        member.step.is_some_and(|step| (step as usize) < self.head.current)
    }

    /// A moment that it waits for: the opening of its window, or enough time since it failed.
    fn until<W: World + ?Sized>(
        &self,
        title: &str,
        device: &DeviceId,
        member: &Member,
        at: Timestamp,
        now: Timestamp,
        world: &W,
    ) -> Awaited {
        match world.opening(device, now) {
            Opening::Closed { opens: None } => never_opens(title),
            Opening::Closed { opens: Some(opens) } if opens >= at || member.retries == 0 => opens_at(title, opens),
            Opening::Closed { .. } | Opening::Open { .. } | Opening::Unrestricted if member.retries > 0 => {
                let (used, most) = (member.retries, self.head.policy.step(member.step.unwrap_or(0) as usize).retry.max);
                let message = format!("{title}: it failed, and is tried again at {at}, retry {used} of {most}");
                awaited("retry", message, Some(at), None)
            }
            Opening::Closed { .. } | Opening::Open { .. } | Opening::Unrestricted => {
                let message = format!("{title}: its window was closed when it was looked at; the next look is at {at}");
                awaited("window-closed", message, Some(at), None)
            }
        }
    }

    /// What comes before its turn; `None` if that has come.
    fn its_turn<W: World + ?Sized>(&self, member: &Member, title: &str, now: Timestamp, world: &W) -> Option<Awaited> {
        if self.is_over(member) {
            return None;
        }
        if let Some(frozen) = self.frozen(now, world) {
            return Some(frozen);
        }
        let at = self.head.current;
        let (_, step) = self.current()?;
        if step.blocked.is_some() {
            return self.step_waits(now).into_iter().next();
        }
        if member.step.map(|step| step as usize) != Some(at) {
            if let Some(superseding) = self.superseding() {
                return Some(superseding);
            }
            return Some(awaited("queued", format!("{title} begins when step {} has passed", at + 1), None, None));
        }
        if step.clock.shown_ms(now) >= member.due_ms {
            return None;
        }
        let at = step.clock.shows_at(member.due_ms, now);
        let message = at.map_or("its turn comes when the clock of the step runs again".to_owned(), |at| {
            format!("its turn is at {at}")
        });
        Some(awaited("turn", format!("{title}: {message}"), at, None))
    }

    /// What keeps a device whose turn has come.
    fn kept_from<W: World + ?Sized>(&self, device: &DeviceId, title: &str, now: Timestamp, world: &W) -> Awaited {
        if let Some(frozen) = self.frozen(now, world) {
            return frozen;
        }
        let mut copy = self.clone();
        let work = Work::new(&mut copy, now, world);
        match work.kept(device, &work.unit(device)) {
            Some(Kept::Site { device: other }) => {
                let of_other = match work.kept_alone(&other) {
                    Some(kept) => self.kept_by(kept, &format!("{title}: {other} of its site comes with it"), &other),
                    None => awaited("site", format!("{title}: {other} of its site is looked at first"), None, None),
                };
                Awaited { code: "site".to_owned(), ..of_other }
            }
            Some(kept) => self.kept_by(kept, title, device),
            None => self.lined_up(device, title, now, world),
        }
    }

    fn kept_by(&self, kept: Kept, title: &str, device: &DeviceId) -> Awaited {
        match kept {
            Kept::Offline => awaited("offline", format!("{title}: it is not heard of"), None, None),
            Kept::Window { opens: Some(opens) } => opens_at(title, opens),
            Kept::Window { opens: None } => never_opens(title),
            Kept::Budget { budget, value, shortage } => {
                let label =
                    self.head.policy.budgets.get(budget).map(|budget| budget.label.as_str()).unwrap_or_default();
                let why = match shortage {
                    Shortage::Slots { taken, most } => {
                        format!(
                            "rollouts have taken {taken} of the devices with {label}={value}, and may take {most} at once"
                        )
                    }
                    Shortage::Available { left, least } => {
                        format!("{left} of the devices with {label}={value} would stay available, and {least} must")
                    }
                };
                awaited("budget", format!("{title}: {why}"), None, None)
            }
            Kept::Excluded { reason } => {
                awaited("excluded", format!("{title}: it cannot take part: {reason}"), None, None)
            }
            Kept::Site { device: other } => {
                awaited("site", format!("{title}: {device} waits for {other} of its site"), None, None)
            }
        }
    }

    /// Nothing keeps it: it comes as soon as it is looked at, at the rate of those that it is among.
    fn lined_up<W: World + ?Sized>(&self, device: &DeviceId, title: &str, now: Timestamp, world: &W) -> Awaited {
        let member = &self.members[device];
        let next = self.next(now, world);
        if self.is_over(member) || matches!(member.phase, Phase::Queued { wait: Wait::CatchUp(_) }) {
            let rate = self.head.policy.late.catchup_rate;
            let rate = rate.map(|rate| format!("; {rate} may start")).unwrap_or_default();
            return awaited(
                "catching-up",
                format!("it was away, and catches up when its turn comes{rate}"),
                next,
                None,
            );
        }
        if matches!(member.phase, Phase::Queued { wait: Wait::Word }) {
            let message =
                format!("{title}: it has not acknowledged what it was offered; it is offered it again when it asks");
            return awaited("not-acknowledged", message, None, None);
        }
        let rate = self.current().and_then(|(policy, _)| policy.rate);
        match rate {
            Some(rate) => awaited("rate", format!("{title}: its turn has come; {rate} may start"), next, None),
            None => awaited("turn", format!("{title}: its turn has come"), next, None),
        }
    }
}

fn opens_at(title: &str, opens: Timestamp) -> Awaited {
    awaited("window-closed", format!("{title}: its window opens at {opens}"), Some(opens), None)
}

fn never_opens(title: &str) -> Awaited {
    let hint = "its windows are under `maintenance` in its files".to_owned();
    awaited("window-closed", format!("{title}: its window is closed, and is not known to open"), None, Some(hint))
}
