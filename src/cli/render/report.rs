//! Reports for other programs: a page that needs nothing beside it, JUnit's XML and SARIF.

mod html;
mod junit;
mod sarif;

pub use html::drift as drift_page;
pub use junit::drift as drift_junit;
pub use sarif::{MAX_RESULTS, drift as drift_sarif, findings as findings_sarif};

use super::drift::NOTHING;
use super::text::plain;
use crate::domain::drift::{Difference, Verdict};

/// The program that reports.
const PRODUCT: &str = "bellwether";
/// Its version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A verdict as the reports say it.
fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::InSync => "in sync",
        Verdict::Drifted => "drifted",
        Verdict::Unknown => "unknown",
    }
}

/// `apps signage/player: nothing instead of present`.
fn sentence(difference: &Difference) -> String {
    let Difference { layer, subject, wanted, found } = difference;
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| NOTHING.to_owned());
    plain(&format!("{} {subject}: {} instead of {}", layer.name(), shown(found), shown(wanted)))
}
