//! A rollout policy that cannot be meant: nobody is let through around it.

use super::*;

/// Each of these, taken as if it were not there, would send a change to everybody at once.
const BROKEN: [&str; 8] = [
    "rollouts: {careful: {steps: [{soak: 5x}]}}\nrollout: careful\n",
    "rollouts: {careful: {steps: [{window: -1h}]}}\nrollout: careful\n",
    "rollouts: {careful: {steps: [{min_success: 101%}]}}\nrollout: careful\n",
    "rollouts: {careful: {stepps: []}}\nrollout: careful\n",
    "rollouts: {careful: {steps: []}}\nrollout: carefull\n",
    "rollout: [{stage: main, policy: cautious, filter: 'groups =='}]\n",
    "rolout: cautious\n",
    "rollout: cautious\nfreezes: [{reason: holidays, from: tomorrow, until: later}]\n",
];

#[test]
fn a_policy_that_cannot_be_meant_keeps_its_commit_from_counting() {
    for text in BROKEN {
        let text = format!("name: acme\n{text}");
        let desired = Resolver::default().resolve(&snapshot(&[("fleet.yml", &text)]));
        let rejection = desired.rejection().unwrap_or_else(|| panic!("it counts: {text}"));
        assert_eq!(rejection.place.file, "fleet.yml", "{text}");
    }
}

#[test]
fn a_rule_for_a_group_that_nobody_has_is_told() {
    let fleet = "name: acme\ngroups: {boards: 'reported.cpu == \"MIPS\"'}\nrollout:\n- {group: kiosks, policy: cautious}\n\
                 - {group: kiosk, policy: cautious}\n- {group: boards, policy: cautious}\n- {group: elsewhere, policy: cautious}\n";
    let desired = Resolver::default().resolve(&snapshot(&[("fleet.yml", fleet)]));
    assert_eq!(desired.rejection(), None);
    let told: Vec<_> = desired.findings.iter().filter(|one| one.code == "no-such-group").collect();
    let hints: Vec<_> = told.iter().map(|one| (one.place.line, one.hint.as_deref().unwrap_or_default())).collect();
    assert_eq!(
        hints,
        [(5, "did you mean `kiosks`?"), (7, "name a group of the inventory, or take the rule away")],
        "{told:?}"
    );
}
