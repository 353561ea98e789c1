//! What was found of the host, said as `config`.

use super::{Acceptance, Holds};
use crate::domain::drift::Difference;
use crate::domain::edits::{Becomes, Wish};
use crate::domain::spec::Subject;

/// Whether it differs after each start of the device, until the agent has set it.
pub(super) fn begins_anew(difference: &Difference) -> bool {
    matches!(difference.subject.parse(), Ok(Subject::Sysctl(_)))
}

/// What the file would say, or why it cannot.
pub(super) fn setting(difference: &Difference) -> Result<Acceptance, &'static str> {
    let Difference { layer: _, subject, wanted: _, found } = difference;
    if subject.starts_with("files/") && subject.ends_with(" content") {
        return Err("nobody is told what is in the file; copy it from the device into `config.files`");
    }
    let mode_of = subject.strip_suffix(" mode").filter(|rest| rest.starts_with("files/"));
    let Ok(setting) = mode_of.unwrap_or(subject).parse::<Subject>() else {
        return Err("it is no setting of `config`");
    };
    let mut path = vec!["config".to_owned()];
    path.extend(match &setting {
        Subject::Sysctl(name) => vec!["sysctl".to_owned(), name.to_string()],
        Subject::File(file) => vec!["files".to_owned(), file.to_string()],
        Subject::Hostname | Subject::TimeZone | Subject::PersistentLogging => vec![setting.to_string()],
    });
    path.extend(mode_of.map(|_| "mode".to_owned()));
    // What is not there is accepted by asking for it no longer.
    let becomes = match found {
        Some(value) => vec![Becomes::Text(value.clone())],
        None => vec![Becomes::Inherited, Becomes::Removed],
    };
    let sentence = match found {
        Some(value) => format!("`{}` is {}", path.join("."), crate::domain::manifest::problems::show(value)),
        None => format!("`{}` is asked for no longer", path.join(".")),
    };
    Ok(Acceptance {
        wishes: becomes.into_iter().map(|becomes| Wish { path: path.clone(), becomes }).collect(),
        subject: subject.clone(),
        sentence,
        holds: match (mode_of, setting) {
            (Some(_), Subject::File(file)) => Holds::Mode { file, mode: found.clone() },
            (_, setting) => Holds::Setting { setting, value: found.clone() },
        },
    })
}
