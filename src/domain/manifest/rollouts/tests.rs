//! Rollout policies of `fleet.yml`, as written and as understood.

use super::*;
use crate::domain::manifest::problems::Draft;
use crate::domain::manifest::yaml::parse;
use crate::domain::rollout::gate::{AbortRule, Failure};
use crate::domain::rollout::policy::Retry;
use crate::domain::rollout::rate::Rate;
use crate::domain::rollout::share::{Amount, Share};
use std::collections::BTreeSet;
use std::sync::Arc;

fn read(text: &str) -> (Rollouts, Vec<Draft>) {
    let node = parse(text.as_bytes()).expect("it is YAML").expect("it is not empty");
    let Kind::Map(map) = &node.kind else { panic!("a mapping") };
    let mut problems = Problems::new(&Arc::from("fleet.yml"));
    let rollouts = Rollouts::read(map.value("rollouts"), map.value("rollout"), map.value("freezes"), &mut problems);
    (rollouts, problems.finish())
}

fn found(text: &str) -> String {
    let shown = |draft: Draft| {
        let hint = draft.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}:{} {}: {}{hint}", draft.span.line, draft.span.column, draft.code.name, draft.message)
    };
    read(text).1.into_iter().map(shown).collect::<Vec<_>>().join("\n")
}

/// The example of the documentation.
fn documented() -> &'static str {
    let document = include_str!("../../../../docs/rollouts.md");
    document.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("there is an example")
}

#[test]
fn the_example_of_the_documentation_is_right_and_means_what_it_says() {
    assert_eq!(found(documented()), "");
    let (rollouts, _) = read(documented());
    let careful = rollouts.policy(&PolicyName::new("careful").expect("a name")).expect("it is written");
    let [canaries, tenth] = &careful.steps[..] else { panic!("two steps: {careful:?}") };
    assert_eq!(canaries.selector, Selector::Group("canaries".to_owned()));
    assert_eq!((canaries.gate.min_success, canaries.soak_secs, canaries.timeout_secs), (Share::ALL, 1800, 1800));
    assert_eq!((tenth.take, tenth.window_secs), (Some(Amount::Share(Share::percent(10))), 21_600));
    let grows = Rate { base_per_min: 10, factor_hundredths: 200, after: 100, max_per_min: 100 };
    assert_eq!(tenth.rate, Some(grows));
    let lost = AbortRule { failure: Some(Failure::Lost), threshold: Share::percent(5), min_executed: 20 };
    assert_eq!((&tenth.abort[..], tenth.retry), (&[lost][..], Retry { max: 1, backoff_secs: 600 }));
    assert_eq!((careful.approvals, careful.on_error, careful.lost_after_secs), (1, OnError::Rollback, 900));
    assert_eq!((careful.last.window_secs, careful.late), (86_400, Late::DEFAULT));
    assert_eq!(careful.budgets[0].max_unavailable, Some(Amount::Count(1)));
    let rules: Vec<String> = rollouts
        .rules
        .iter()
        .map(|rule| format!("{:?} {}: {}", rule.stage.as_ref().map(StageName::as_str), rule.devices, rule.policy))
        .collect();
    assert_eq!(rules, [r#"Some("production") all devices: careful"#, r#"Some("main") group lab: immediate"#]);
    assert_eq!(rollouts.freezes.0.len(), 2);
}

/// The keys of a table of the documentation, each with what it says of the default.
fn defaults(of: &str) -> Vec<(&'static str, &'static str)> {
    let document = include_str!("../../../../docs/rollouts.md");
    let heading = format!("| key of a {of} | meaning | default |\n|---|---|---|\n");
    let (_, rest) = document.split_once(&heading).expect("there is a table of them");
    let rows = rest.lines().take_while(|line| line.starts_with('|'));
    let keys = rows.flat_map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [keys, _, stated] = cells[..] else { panic!("three cells: {row}") };
        let keys: Vec<&str> = keys.split('`').skip(1).step_by(2).collect();
        // Several keys in one row have a default each, or the same one.
        let each: Vec<&str> = stated.split(", ").collect();
        let one_each = keys.len() > 1 && each.len() == keys.len();
        (0..keys.len()).map(move |at| (keys[at], if one_each { each[at] } else { stated })).collect::<Vec<_>>()
    });
    keys.collect()
}

/// `KEY: VALUE` of all whose default is a value, as `final` has it if that differs.
fn written_out(defaults: &[(&str, &str)], of_final: &str) -> String {
    let value = |stated: &str| {
        let (usual, last) = stated.split_once("; `final`: ").unwrap_or((stated, stated));
        let stated = if of_final == "final" { last } else { usual };
        stated.starts_with('`').then(|| stated.trim_matches('`').to_owned())
    };
    let fields = defaults.iter().filter_map(|(key, stated)| Some(format!("{key}: {}", value(stated)?)));
    fields.collect::<Vec<_>>().join(", ")
}

#[test]
fn every_default_that_the_documentation_states_is_the_one_that_counts() {
    let (of_policy, of_step) = (defaults("policy"), defaults("step"));
    let keys = |stated: &[(&'static str, &str)]| stated.iter().map(|(key, _)| *key).collect::<BTreeSet<_>>();
    assert_eq!(keys(&of_policy), KNOWN.iter().copied().collect(), "every key of a policy is in the table");
    assert_eq!(keys(&of_step), step::KNOWN.iter().copied().collect(), "every key of a step is in the table");

    let (rollouts, _) = read("rollouts: {plain: {steps: [{}]}}");
    let plain = rollouts.policies.values().next().expect("it is written").clone();
    let of_last = of_step.iter().copied().filter(|(key, _)| !["name", "allow_empty"].contains(key));
    let of_others = of_policy.iter().copied().filter(|(key, _)| !["steps", "final"].contains(key));
    let explicit = format!(
        "rollouts: {{plain: {{{}, steps: [{{{}}}], final: {{{}}}}}}}",
        written_out(&of_others.collect::<Vec<_>>(), "steps"),
        written_out(&of_step, "steps"),
        written_out(&of_last.collect::<Vec<_>>(), "final"),
    );
    assert_eq!(found(&explicit), "", "{explicit}");
    assert_eq!(read(&explicit).0.policies.values().next(), Some(&plain), "{explicit}");

    // What is stated in words.
    let words: Vec<_> = of_step.iter().filter(|(_, stated)| !stated.starts_with('`')).copied().collect();
    let step = &plain.steps[0];
    for (key, stated) in words {
        match (key, stated) {
            ("group" | "filter", "all") => assert_eq!(step.selector, Selector::All),
            ("take", "all of them") => assert_eq!(step.take, None),
            ("rate", "no limit") => assert_eq!(step.rate, None),
            ("abort", "none") => assert_eq!(step.abort, []),
            ("retry", "never") => assert_eq!(step.retry.max, 0),
            ("site", "none") => assert_eq!(step.site, None),
            _ => panic!("nobody compares the default of {key}: {stated}"),
        }
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_a_hint() {
    let cases = [
        "rollouts: {p: {step: []}}",
        "rollouts: {p: {steps: [{window: 5x}]}}",
        "rollouts: {p: {steps: [{min_success: 99}]}}",
        "rollouts: {p: {steps: [{min_success: 101%}]}}",
        "rollouts: {p: {steps: [{group: a, filter: b}]}}",
        "rollouts: {p: {steps: [{take: 0}]}}",
        "rollouts: {p: {final: {take: 5}}}",
        "rollouts: {p: {steps: [{rate: {per_minute: 5, factor: 2}}]}}",
        "rollouts: {p: {steps: [{rate: {per_minute: 5, factor: 9, after: 1, max_per_minute: 9}}]}}",
        "rollouts: {p: {steps: [{abort: [{failure: losst, threshold: 5%}]}]}}",
        "rollouts: {p: {steps: [{abort: [{failure: lost}]}]}}",
        "rollouts: {p: {steps: [{retry: 99}]}}",
        "rollouts: {p: {on_error: rolback}}",
        "rollouts: {p: {lost_after: 5s}}",
        "rollouts: {p: {budgets: [{label: site}]}}",
        "rollouts: {p: {budgets: [{label: site, max_unavailable: 0}]}}",
        "rollouts: {p: {budgets: [{max_unavailable: 1}]}}",
        "rollouts: {two words: {}}",
        "rollout: cautios",
        "rollout: [{stage: main}]",
        "rollout: [{stage: main, policy: careful}]",
        "freezes: [{reason: holidays}]",
        "freezes: [{from: 2027-01-01T00:00:00Z, until: 2027-01-02T00:00:00Z}]",
        "freezes: [{reason: x, from: 2027-01-02T00:00:00Z, until: 2027-01-01T00:00:00Z}]",
        "freezes: [{reason: x, window: {days: fri, time: 12:00, duration: 1h}}]",
    ];
    let shown = cases.map(|text| format!("{text}\n  {}", found(text).replace('\n', "\n  ")));
    insta::assert_snapshot!(shown.join("\n"), @r#"
    rollouts: {p: {step: []}}
      1:16 unknown-key: a rollout policy has no key `step` (did you mean `steps`?)
    rollouts: {p: {steps: [{window: 5x}]}}
      1:33 bad-rollout: `window` cannot be `5x` (write a duration from 0s to 400d, such as `90s`, `30m`, `1h30m` or `2d`)
    rollouts: {p: {steps: [{min_success: 99}]}}
      1:38 bad-rollout: `min_success` cannot be `99` (write a percentage from 0% to 100% with at most two decimals, such as `99.5%`)
    rollouts: {p: {steps: [{min_success: 101%}]}}
      1:38 bad-rollout: `min_success` cannot be `101%` (write a percentage from 0% to 100% with at most two decimals, such as `99.5%`)
    rollouts: {p: {steps: [{group: a, filter: b}]}}
      1:24 bad-rollout: both `group` and `filter` say which devices (write the group into the filter: `"canaries" in groups && …`)
    rollouts: {p: {steps: [{take: 0}]}}
      1:31 bad-rollout: a step that takes nobody blocks for ever (leave the step out)
    rollouts: {p: {final: {take: 5}}}
      1:24 unknown-key: `final` has no key `take` (known keys: window, timeout, min_reports, min_success, soak, rate, abort, approvals, retry, on_insufficient_reports, spread, site)
    rollouts: {p: {steps: [{rate: {per_minute: 5, factor: 2}}]}}
      1:31 bad-rollout: `rate` grows only with `factor`, `after` and a `max_per_minute` that is no less than `per_minute`
    rollouts: {p: {steps: [{rate: {per_minute: 5, factor: 9, after: 1, max_per_minute: 9}}]}}
      1:55 bad-rollout: `factor` cannot be `9` (write a number from 1 to 5, such as `2` or `1.5`)
    rollouts: {p: {steps: [{abort: [{failure: losst, threshold: 5%}]}]}}
      1:43 bad-value: `failure` cannot be `losst` (did you mean `lost`?)
    rollouts: {p: {steps: [{abort: [{failure: lost}]}]}}
      1:33 missing-key: a rule of `abort` has no `threshold`
    rollouts: {p: {steps: [{retry: 99}]}}
      1:32 bad-number: `retry` must be a whole number from 0 to 10, not `99`
    rollouts: {p: {on_error: rolback}}
      1:26 bad-value: `on_error` cannot be `rolback` (did you mean `rollback`?)
    rollouts: {p: {lost_after: 5s}}
      1:28 bad-rollout: `lost_after` cannot be `5s` (write a duration from 60s to 400d, such as `90s`, `30m`, `1h30m` or `2d`)
    rollouts: {p: {budgets: [{label: site}]}}
      1:26 bad-rollout: a budget has neither `max_unavailable` nor `min_available`, so it allows anything (write `max_unavailable: 1`)
    rollouts: {p: {budgets: [{label: site, max_unavailable: 0}]}}
      1:26 bad-rollout: with `max_unavailable: 0` no device ever changes (use `hold`, or a freeze, to keep devices from changing)
    rollouts: {p: {budgets: [{max_unavailable: 1}]}}
      1:26 missing-key: a budget has no `label`
    rollouts: {two words: {}}
      1:12 bad-name: `two words` is not a name of a rollout policy (a name of a rollout policy is 1 to 64 letters, digits, `_`, `.` or `-`, beginning with a letter or digit)
    rollout: cautios
      1:10 bad-rollout: there is no rollout policy `cautios` (did you mean `cautious`?)
    rollout: [{stage: main}]
      1:11 missing-key: a rule of `rollout` has no `policy`
    rollout: [{stage: main, policy: careful}]
      1:33 bad-rollout: there is no rollout policy `careful` (name one of `rollouts`, or `immediate`, `cautious`, `canary-first` or `weekend`)
    freezes: [{reason: holidays}]
      1:11 bad-rollout: a freeze does not say when it is (write `{reason: …, from: 2026-12-18T00:00:00Z, until: 2027-01-04T00:00:00Z}`, or `window: {days: fri, time: 12:00, duration: 36h, zone: Europe/Zurich}` in the place of the two)
    freezes: [{from: 2027-01-01T00:00:00Z, until: 2027-01-02T00:00:00Z}]
      1:11 missing-key: a freeze has no `reason`
    freezes: [{reason: x, from: 2027-01-02T00:00:00Z, until: 2027-01-01T00:00:00Z}]
      1:11 bad-rollout: a freeze does not say when it is (write `{reason: …, from: 2026-12-18T00:00:00Z, until: 2027-01-04T00:00:00Z}`, or `window: {days: fri, time: 12:00, duration: 36h, zone: Europe/Zurich}` in the place of the two)
    freezes: [{reason: x, window: {days: fri, time: 12:00, duration: 1h}}]
      1:31 no-time-zone: the window of a freeze names no time zone (add `zone: Europe/Zurich`, or `zone: UTC`)
    "#);
}

#[test]
fn a_policy_with_an_error_is_left_out_as_a_whole_and_the_others_count() {
    let (rollouts, findings) = read("rollouts: {bad: {steps: [{window: never}]}, good: {}}");
    let names: Vec<&str> = rollouts.policies.keys().map(PolicyName::as_str).collect();
    assert_eq!((names, findings.len()), (vec!["good"], 1));
}

#[test]
fn a_ready_policy_can_be_written_anew() {
    let name = PolicyName::new("cautious").expect("a name");
    assert_eq!(read("rollouts: {other: {}}").0.policy(&name).map(|policy| policy.steps.len()), Some(2));
    assert_eq!(read("rollouts: {cautious: {}}").0.policy(&name).map(|policy| policy.steps.len()), Some(0));
}

#[test]
fn a_filter_that_cannot_be_meant_is_found_where_it_is_written() {
    let text = "\
groups: {lab: 'tags.site == \"lab\"'}
rollouts:
  careful:
    steps:
    - {filter: 'tags.site = \"bern\"'}
    - {filter: '\"lab\" in groups && reported.cpu == \"MIPS\"'}
rollout:
- {filter: 'tagz.site == \"x\"', policy: careful}
- {group: lab, policy: cautious}
";
    let file = crate::domain::manifest::fleet_file::FleetFile::read(&Arc::from("fleet.yml"), text.as_bytes());
    let shown = |draft: &Draft| format!("{}:{} {}", draft.span.line, draft.span.column, draft.message);
    let shown: Vec<String> = file.findings.iter().map(shown).collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    8:13 there is no `tagz`
    5:27 `=` is not expected here
    ");
    let compiled = |selector: &Selector| file.rollouts.selectors.contains_key(selector);
    assert!(compiled(&Selector::Group("lab".to_owned())), "{:?}", file.rollouts.selectors.keys());
    assert!(compiled(&Selector::Group("canaries".to_owned())), "the ready policies' selectors count too");
}
