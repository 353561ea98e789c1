//! The drift report as test results: a suite for each stage, a case for each device. What is unknown has not passed.

use super::sentence;
use crate::cli::render::drift::{Line, lines};
use crate::cli::render::text::{count, plain};
use crate::domain::drift::Verdict;
use crate::domain::overview::drift::{DeviceDrift, DriftReport};
use askama::Template;
use std::collections::BTreeMap;

#[derive(Template)]
#[template(path = "drift-junit.xml")]
struct Results {
    at: String,
    tests: usize,
    failures: usize,
    errors: usize,
    suites: Vec<Suite>,
}

struct Suite {
    name: String,
    failures: usize,
    errors: usize,
    cases: Vec<Case>,
}

struct Case {
    device: String,
    outcome: Outcome,
}

/// What came of a case: with a headline and all lines where something is to be said.
enum Outcome {
    Passed,
    Failed(String, String),
    Unknown(String, String),
}

/// The results.
pub fn drift(report: &DriftReport) -> Result<String, askama::Error> {
    let mut suites: BTreeMap<String, Suite> = BTreeMap::new();
    for (device, one) in &report.devices {
        let name = one.standing.to_string();
        let suite =
            suites.entry(name.clone()).or_insert_with(|| Suite { name, failures: 0, errors: 0, cases: Vec::new() });
        let outcome = outcome(one);
        match &outcome {
            Outcome::Passed => {}
            Outcome::Failed(..) => suite.failures += 1,
            Outcome::Unknown(..) => suite.errors += 1,
        }
        suite.cases.push(Case { device: device.to_string(), outcome });
    }
    let suites: Vec<Suite> = suites.into_values().collect();
    Results {
        // Seconds are as fine as readers of the format take it, without a zone.
        at: report.at.to_string().chars().take("2027-01-15T08:00:00".len()).collect(),
        tests: report.devices.len(),
        failures: suites.iter().map(|suite| suite.failures).sum(),
        errors: suites.iter().map(|suite| suite.errors).sum(),
        suites,
    }
    .render()
    .map(|text| text + "\n")
}

fn outcome(one: &DeviceDrift) -> Outcome {
    let (mut differing, mut texts) = (0, Vec::new());
    for line in lines(&one.drift) {
        match line {
            Line::Differs(difference) => {
                differing += 1;
                texts.push(sentence(difference));
            }
            Line::Unknown { layers, reason } => texts.push(format!("{layers}: unknown: {}", plain(reason))),
        }
    }
    let text = texts.join("\n");
    match one.verdict {
        Verdict::InSync => Outcome::Passed,
        Verdict::Drifted => Outcome::Failed(count(differing, "difference"), text),
        Verdict::Unknown => Outcome::Unknown("not all is known".to_owned(), text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::drift::tests::report;
    use super::*;

    #[test]
    fn a_device_that_drifts_fails_and_one_that_is_unknown_has_not_passed() {
        insta::assert_snapshot!(drift(&report()).expect("results"), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="bellwether drift" tests="3" failures="1" errors="1">
          <testsuite name="production" timestamp="2027-01-15T08:00:00" tests="3" failures="1" errors="1" skipped="0">
            <testcase classname="production" name="kiosk-1"/>
            <testcase classname="production" name="kiosk-2">
              <failure type="drifted" message="2 differences">apps signage/player: nothing instead of present
        variables signage/web environment.URL: c instead of a|b</failure>
            </testcase>
            <testcase classname="production" name="kiosk-3">
              <error type="unknown" message="not all is known">spec, apps, variables, os, host: unknown: the device has not reported yet
        connectivity: unknown: never heard from</error>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
    }
}
