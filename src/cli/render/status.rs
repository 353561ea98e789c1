//! The fleet on one screen.

use super::findings;
use super::table::{Cell, Table, escaped, listed, row};
use super::text::{Tone, age, age_or_never, count, names, plain};
use crate::domain::finding::Severity;
use crate::domain::fleet::{Waiting, WaitingFor};
use crate::domain::overview::status::{HoldRow, StageStatus, Status};
use crate::protocol::v1::operator::{ListAnswer, RepoAnswer, Selected, StatusAnswer};
use std::fmt::Write as _;

/// How many devices a line of a status names before it counts the rest.
const NAMED_DEVICES: usize = 10;

/// The status as a screen of text.
pub fn text(answer: &StatusAnswer, width: Option<u16>) -> String {
    let StatusAnswer { fleet, version, status, repo, address, selected } = answer;
    let listens = address.map(|address| format!(", listens on {address}")).unwrap_or_default();
    let head = Tone::Strong.paint(format!("fleet {fleet}"));
    let mut text = format!(
        "{head}, epoch {}, controller {}{listens}
",
        status.epoch,
        plain(version)
    );
    text.push_str(&repo_lines(repo, status));
    text.push_str(&only(selected.as_ref()));
    let _ = write!(text, "\n{}", stages(status).text(width));
    for stage in &status.stages {
        if let Some(waiting) = &stage.waiting {
            let _ = write!(text, "\n{}", waiting_lines(stage, waiting, status));
        }
    }
    text.push_str(&notices(status));
    text
}

/// The same as Markdown.
pub fn markdown(answer: &StatusAnswer) -> String {
    let StatusAnswer { fleet, version, status, repo, address, selected } = answer;
    let listens = address.map(|address| format!(", listens on {address}")).unwrap_or_default();
    let version = escaped(version);
    let mut text =
        format!("## Fleet {}\n\nepoch {}, controller {version}{listens}\n\n", escaped(fleet.as_str()), status.epoch);
    let lines = repo_lines(repo, status) + &only(selected.as_ref());
    let _ = write!(text, "{}\n{}", listed(&lines), stages(status).markdown());
    let waiting = status.stages.iter().filter_map(|stage| Some((stage, stage.waiting.as_ref()?)));
    let waiting: String = waiting.map(|(stage, waiting)| waiting_lines(stage, waiting, status)).collect();
    let list = listed(&(waiting + &notices(status)));
    if !list.is_empty() {
        let _ = write!(text, "\n{list}");
    }
    text
}

/// Of which devices it speaks, if not of all.
fn only(selected: Option<&Selected>) -> String {
    selected.map(|selected| format!("only of {}\n", count(selected.total, "device"))).unwrap_or_default()
}

fn repo_lines(repo: &RepoAnswer, status: &Status) -> String {
    let RepoAnswer { last_contact, unavailable, missing, unreadable, lists } = repo;
    let contact = age_or_never(status.at, *last_contact);
    let mut text = match unavailable {
        None if last_contact.is_none() => format!("{} not looked at yet\n", Tone::Unsure.paint("repo")),
        None => format!("{} read {contact}\n", Tone::Good.paint("repo")),
        Some(reason) => format!(
            "{} {}; last contact {contact}. Everything goes on as it is\n",
            Tone::Bad.paint("repo unavailable:"),
            plain(reason)
        ),
    };
    if !missing.is_empty() {
        let _ = writeln!(text, "{} {}", Tone::Bad.paint("no branch for:"), names(missing, NAMED_DEVICES));
    }
    for (stage, reason) in unreadable {
        let _ = writeln!(text, "{} {}", Tone::Bad.paint(format!("stage {stage} cannot be read:")), plain(reason));
    }
    for (url, list) in lists {
        text.push_str(&list_line(url, list, status));
    }
    text
}

fn list_line(url: &str, list: &ListAnswer, status: &Status) -> String {
    let ListAnswer { newest, since, last_contact, trouble } = list;
    let url = plain(url);
    let known = newest.as_ref().map(|newest| format!("{} of {}", newest.short(), age_or_never(status.at, *since)));
    match (trouble, known) {
        (None, Some(known)) => format!("{} {url}: {known}\n", Tone::Good.paint("inventory")),
        (None, None) => format!("{} {url}: not asked yet\n", Tone::Unsure.paint("inventory")),
        (Some(reason), known) => {
            let contact = age_or_never(status.at, *last_contact);
            let counts = known.map_or_else(|| "none came yet".to_owned(), |known| format!("{known} stands"));
            format!("{} {url}: {}; last contact {contact}; {counts}\n", Tone::Bad.paint("inventory"), plain(reason))
        }
    }
}

fn number(number: usize, tone: Tone) -> Cell {
    Cell::new(number.to_string(), if number == 0 { Tone::Quiet } else { tone })
}

fn stages(status: &Status) -> Table {
    let mut table = Table::new(&[
        "STAGE", "COMMIT", "DEVICES", "SETTLED", "FAILING", "OFFLINE", "DRIFTED", "UNKNOWN", "ERRORS", "WARNINGS",
    ]);
    for stage in &status.stages {
        let errors = stage.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        let commit = match (&stage.accepted, &stage.inventory) {
            (None, _) => "none yet".to_owned(),
            (Some(commit), None) => commit.short().to_owned(),
            (Some(commit), Some(inventory)) => format!("{} + {}", commit.short(), inventory.short()),
        };
        let settled = if stage.settled == stage.devices { Tone::Good } else { Tone::Plain };
        table.row(row![
            &stage.stage,
            commit,
            stage.devices,
            number(stage.settled, settled),
            number(stage.failing, Tone::Bad),
            number(stage.offline, Tone::Bad),
            number(stage.drifted, Tone::Bad),
            number(stage.unknown, Tone::Unsure),
            number(errors, Tone::Bad),
            number(stage.findings.len() - errors, Tone::Unsure),
        ]);
    }
    table
}

fn waiting_lines(stage: &StageStatus, waiting: &Waiting, status: &Status) -> String {
    let since = age(status.at, waiting.since);
    let head = format!("commit {} of {}", waiting.revision().short(), stage.stage);
    match &waiting.why {
        WaitingFor::Repair { message } => {
            format!("{} {head} ({since}): {}\n", Tone::Bad.paint("broken"), plain(message))
        }
        WaitingFor::Approval { digest, reasons, changes } => {
            let mut text =
                format!("{} {head} ({since}), {}\n", Tone::Unsure.paint("held"), count(changes.len(), "change"));
            for reason in reasons {
                let _ = writeln!(text, "  because {reason}");
            }
            let devices = names(changes.iter().map(|change| &change.device), NAMED_DEVICES);
            let _ = writeln!(text, "  changes {devices}");
            let _ = writeln!(text, "  if this is meant: bellwether approve {}", digest.short());
            text
        }
    }
}

fn notices(status: &Status) -> String {
    let mut text = String::new();
    let mut list = |tone: Tone, title: &str, line: String| {
        if !line.is_empty() {
            let _ = writeln!(text, "{} {line}", tone.paint(format!("{title}:")));
        }
    };
    list(Tone::Unsure, "pending, waits for `bellwether approve DEVICE`", names(&status.pending, NAMED_DEVICES));
    for (stage, one) in status.stages.iter().flat_map(|stage| stage.conditions.iter().map(move |one| (stage, one))) {
        list(Tone::Bad, &format!("{} is {}", stage.stage, one.kind), plain(&one.message));
    }
    list(Tone::Unsure, "in transit", names(&status.in_transit, NAMED_DEVICES));
    list(Tone::Plain, "unmanaged", names(&status.unmanaged, NAMED_DEVICES));
    for (device, message) in &status.conflicts {
        list(Tone::Bad, &format!("conflict on {device}"), plain(message));
    }
    for (device, stages) in &status.claim_conflicts {
        list(
            Tone::Unsure,
            &format!("claim conflict on {device}"),
            format!("claimed by {}", names(stages, NAMED_DEVICES)),
        );
    }
    for HoldRow { on, hold } in &status.holds {
        let until = match hold.until {
            Some(until) => format!("ends {}", age(status.at, until)),
            None => "until it is resumed".to_owned(),
        };
        let line = format!("{} (by {}, {until})", plain(&hold.reason), plain(hold.actor.as_str()));
        list(Tone::Unsure, &format!("hold on {on}"), line);
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// The findings of every stage, for `-o wide`.
pub fn findings_of(status: &Status) -> String {
    let mut text = String::new();
    for stage in status.stages.iter().filter(|stage| !stage.findings.is_empty()) {
        let _ = writeln!(text, "\n{}", Tone::Strong.paint(format!("findings of {}", stage.stage)));
        text.push_str(&findings::text(&stage.findings));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::bare;
    use super::*;
    use crate::domain::digest::Digest;
    use crate::domain::fleet::{HeldChange, HeldReason, Hold, HoldScope};
    use crate::domain::generation::Epoch;
    use crate::domain::time::Timestamp;
    use std::collections::BTreeMap;

    fn stage(name: &str, devices: usize) -> StageStatus {
        StageStatus {
            counting: None,
            earlier: Vec::new(),
            promotion: Default::default(),
            stage: name.parse().expect("a stage"),
            accepted: Some("1a2b3c4d".repeat(5).parse().expect("a commit")),
            inventory: None,
            waiting: None,
            conditions: Vec::new(),
            devices,
            settled: devices,
            failing: 0,
            offline: 0,
            drifted: 0,
            unknown: 0,
            findings: Vec::new(),
        }
    }

    fn answer() -> StatusAnswer {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let device = |name: &str| name.parse().expect("a device");
        let mut production = stage("production", 4);
        production.settled = 2;
        production.drifted = 1;
        production.unknown = 1;
        production.waiting = Some(Waiting {
            commit: "ffee0011".repeat(5).parse().expect("a commit"),
            tree: "ffee0011".repeat(5).parse().expect("a tree"),
            inventory: None,
            since: now.plus_secs(-12_000),
            why: WaitingFor::Approval {
                digest: Digest::of(b"held"),
                reasons: vec![HeldReason::LastDevice],
                changes: vec![HeldChange { device: device("kiosk-1"), from: None, to: None }],
            },
        });
        let hold = Hold {
            reason: "trade fair".to_owned(),
            actor: "anna".parse().expect("an actor"),
            since: now,
            until: Some(now.plus_secs(7200)),
        };
        StatusAnswer {
            selected: None,
            fleet: "lindenhof".parse().expect("a fleet"),
            version: "0.1.0".to_owned(),
            address: None,
            status: Status {
                at: now,
                epoch: Epoch::FIRST,
                stages: vec![stage("main", 1), production],
                in_transit: vec![device("board-1")],
                unmanaged: Vec::new(),
                pending: vec![device("kiosk-9")],
                conflicts: BTreeMap::new(),
                claim_conflicts: BTreeMap::new(),
                holds: vec![HoldRow { on: HoldScope::Fleet, hold }],
            },
            repo: RepoAnswer { last_contact: Some(now.plus_secs(-7)), ..RepoAnswer::default() },
        }
    }

    #[test]
    fn a_status_fits_a_screen_and_says_what_a_person_must_do() {
        insta::assert_snapshot!(bare(&text(&answer(), None)), @"
        fleet lindenhof, epoch 1, controller 0.1.0
        repo read 7s ago

        STAGE        COMMIT     DEVICES   SETTLED   FAILING   OFFLINE   DRIFTED   UNKNOWN   ERRORS   WARNINGS
        main         1a2b3c4d   1         1         0         0         0         0         0        0
        production   1a2b3c4d   4         2         0         0         1         1         0        0

        held commit ffee0011 of production (3h 20m ago), 1 change
          because the stage's last device would be unmanaged
          changes kiosk-1
          if this is meant: bellwether approve c20dea4d876b

        pending, waits for `bellwether approve DEVICE`: kiosk-9
        in transit: board-1
        hold on fleet: trade fair (by anna, ends in 2h)
        ");
    }

    #[test]
    fn a_status_fits_a_job_summary() {
        insta::assert_snapshot!(markdown(&answer()), @r"
        ## Fleet lindenhof

        epoch 1, controller 0.1.0

        - repo read 7s ago

        | Stage | Commit | Devices | Settled | Failing | Offline | Drifted | Unknown | Errors | Warnings |
        | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
        | main | 1a2b3c4d | 1 | 1 | 0 | 0 | 0 | 0 | 0 | 0 |
        | production | 1a2b3c4d | 4 | 2 | 0 | 0 | 1 | 1 | 0 | 0 |

        - held commit ffee0011 of production (3h 20m ago), 1 change
          - because the stage's last device would be unmanaged
          - changes kiosk-1
          - if this is meant: bellwether approve c20dea4d876b
        - pending, waits for \`bellwether approve DEVICE\`: kiosk-9
        - in transit: board-1
        - hold on fleet: trade fair (by anna, ends in 2h)
        ");
    }

    #[test]
    fn an_unavailable_repo_is_said_first() {
        let mut answer = answer();
        answer.repo.unavailable = Some("no route to host".to_owned());
        let text = bare(&text(&answer, None));
        let line = text.lines().nth(1).unwrap_or_default();
        assert_eq!(line, "repo unavailable: no route to host; last contact 7s ago. Everything goes on as it is");
    }
}
