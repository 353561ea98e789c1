//! What maintenance windows leave of a turn's steps.
//!
//! They restrict what a new assignment changes, and nothing else: what had been reached is mended at any time, a device goes back
//! to what was good at any time, what only stopped is started at any time, and so is what an update took away and a closing window
//! or a power cut kept from coming back.

use crate::domain::device::action::{Action, Failure};
use crate::domain::ids::{AppName, ServiceName};
use crate::domain::spec::{DeviceSpec, Maintenance, Purpose};
use crate::domain::time::Timestamp;
use std::collections::BTreeSet;

/// The reason of a wait for a window.
pub(super) const WINDOW_CLOSED: &str = "WindowClosed";

/// Takes out what must not be done now. What is left comes with the reason if anything was taken.
///
/// `before` is what was good before, if there is something.
pub(super) fn within(
    steps: Vec<Action>,
    windows: &Maintenance,
    before: Option<&DeviceSpec>,
    now: Timestamp,
) -> (Vec<Action>, Option<Failure>) {
    let closed = |purpose| windows.closed(purpose, now);
    let (download, apply) = (closed(Purpose::Download), closed(Purpose::Apply));
    if download.is_none() && apply.is_none() {
        return (steps, None);
    }
    let made: BTreeSet<(AppName, ServiceName)> = steps.iter().filter_map(made).collect();
    let removed: BTreeSet<(AppName, ServiceName)> = steps.iter().filter_map(removed).collect();
    let lacks_images = steps.iter().any(|step| matches!(step, Action::Pull { .. }));
    let was_there = |app: &AppName, service: &ServiceName| {
        before.and_then(|spec| spec.apps.get(app)).is_some_and(|app| app.services.contains_key(service))
    };
    // Its container is gone and nothing has come yet: a service that ran must not be kept from running.
    let comes_back = |app: &AppName, service: &ServiceName| {
        was_there(app, service) && !removed.contains(&(app.clone(), service.clone())) && !lacks_images
    };
    let why_not = |step: &Action| match step {
        Action::Pull { .. } => download.clone(),
        Action::StartService { app, service } if !made.contains(&(app.clone(), service.clone())) => None,
        Action::CreateService { app, service, .. } | Action::StartService { app, service }
            if comes_back(app, service) =>
        {
            None
        }
        // They take nothing away.
        Action::CreateNetwork { .. } | Action::CreateVolume { .. } => None,
        // The OS is decided apart from services, with windows of its own.
        Action::FetchOs { .. }
        | Action::InstallOs { .. }
        | Action::Host(_)
        | Action::Reboot { .. }
        | Action::ConfirmOs { .. }
        | Action::FallBackOs { .. }
        | Action::KeepOs
        | Action::DiscardOs => None,
        Action::RemoveService { .. }
        | Action::CreateService { .. }
        | Action::StartService { .. }
        | Action::RemoveNetwork { .. }
        | Action::AdjustService { .. }
        | Action::CreateSuccessor { .. }
        | Action::StartSuccessor { .. }
        | Action::Promote { .. }
        | Action::RemoveSuccessor { .. }
        | Action::RemoveImage { .. } => apply.clone().or_else(|| download.clone().filter(|_| lacks_images)),
    };
    let mut waits = None;
    let mut left = Vec::new();
    for step in steps {
        match why_not(&step) {
            None => left.push(step),
            Some(closed) => {
                let message = || format!("{step} waits: {closed}");
                waits.get_or_insert_with(|| Failure { reason: WINDOW_CLOSED, message: message() });
            }
        }
    }
    (left, waits)
}

/// The service whose container a step takes away.
fn removed(step: &Action) -> Option<(AppName, ServiceName)> {
    match step {
        Action::RemoveService { app, service, .. } => Some((app.clone(), service.clone())),
        _ => None,
    }
}

/// The service whose container a step makes.
fn made(step: &Action) -> Option<(AppName, ServiceName)> {
    match step {
        Action::CreateService { app, service, .. } => Some((app.clone(), service.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::device::machine::bench::{app, service, web};
    use crate::domain::device::steps::app_steps;
    use crate::domain::spec::Strategy;
    use crate::domain::window::{Minutes, Schedule, Window};
    use crate::ports::engine::fake::{FakeEngine, Tamper};

    /// Sundays, an hour from two o'clock on.
    fn sundays() -> crate::domain::window::Windows {
        let minutes = Minutes::try_from(60).expect("an hour");
        let opens = Schedule::weekly([0], 2, 0);
        [Window { opens, minutes, zone: "UTC0".parse().expect("a zone") }].into_iter().collect()
    }

    fn shown((steps, waits): (Vec<Action>, Option<Failure>)) -> String {
        let steps = steps.iter().map(Action::to_string).collect::<Vec<_>>().join(", ");
        let waits = waits.map(|wait| format!("; {}", wait.message)).unwrap_or_default();
        format!("{steps}{waits}")
    }

    #[test]
    fn outside_of_the_windows_only_what_takes_nothing_away_is_done() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().expect("a Saturday");
        let (old, mut new) = (web("hello"), web("bonjour"));
        let mut engine = FakeEngine::default();
        for step in app_steps(&old, &engine.look(&Default::default())) {
            engine.perform(&step).expect("it is possible");
        }
        let front =
            new.apps.get_mut(&app("web")).and_then(|web| web.services.get_mut(&service("app"))).expect("it is there");
        front.image = "example/app:2".to_owned();
        front.update.strategy = Strategy::DownloadThenKill;
        let turn = |engine: &FakeEngine, windows: &Maintenance| {
            let present = crate::domain::device::steps::images(&new);
            shown(within(app_steps(&new, &engine.look(&present)), windows, Some(&old), now))
        };
        let apply = Maintenance { apply: sundays(), ..Maintenance::default() };
        let download = Maintenance { download: sundays(), ..Maintenance::default() };
        insta::assert_snapshot!(turn(&engine, &Maintenance::default()), @"pull example/app:2, remove web/app (image, environment GREETING changed), create web/app, start web/app");
        insta::assert_snapshot!(turn(&engine, &apply), @"pull example/app:2; remove web/app (image, environment GREETING changed) waits: the apply window is closed until Sun 02:00 there, 2026-11-22T02:00:00Z");
        insta::assert_snapshot!(turn(&engine, &download), @"; pull example/app:2 waits: the download window is closed until Sun 02:00 there, 2026-11-22T02:00:00Z");
        engine.tamper(&Tamper::Stop { app: app("web"), service: service("db") });
        insta::assert_snapshot!(turn(&engine, &apply), @"pull example/app:2, start web/db; remove web/app (image, environment GREETING changed) waits: the apply window is closed until Sun 02:00 there, 2026-11-22T02:00:00Z");
        // The window closed after the old container had gone.
        engine.images.insert("example/app:2".to_owned());
        engine.tamper(&Tamper::Remove { app: app("web"), service: service("app") });
        insta::assert_snapshot!(turn(&engine, &apply), @"start web/db, create web/app, start web/app");
    }
}
