//! What stages ask for and allow.

use super::*;
use crate::domain::plan::policy::Promotion;

#[test]
fn stages_name_the_files_of_those_who_may_sign() {
    let stages = |signers: &str| {
        file(&format!("fleet: acme\nrepo: /f\nstages: [main, {{name: production, signers: {signers}}}]\n"))
    };
    let settings = stages("{ssh: allowed, openpgp: /keys.asc}").unwrap();
    assert_eq!(settings.signers.len(), 1);
    assert!(settings.signers.contains_key("production"));
    insta::assert_snapshot!(stages("{}").unwrap_err(), @r"
    the configuration cannot be used

    error[missing-key]: `signers` has no `ssh`
     --> bellwether.yml:3:44
      |
    3 | stages: [main, {name: production, signers: {}}]
      |                                            ^

    1 error
    ");
    insta::assert_snapshot!(stages("{gpg: keys}").unwrap_err(), @r"
    the configuration cannot be used

    error[missing-key]: `signers` has no `ssh`
     --> bellwether.yml:3:44
      |
    3 | stages: [main, {name: production, signers: {gpg: keys}}]
      |                                            ^^^^^^^^^^

    error[unknown-key]: `signers` has no key `gpg`
     --> bellwether.yml:3:45
      |
    3 | stages: [main, {name: production, signers: {gpg: keys}}]
      |                                             ^^^
      = hint: known keys: ssh, openpgp

    2 errors
    ");
}

#[test]
fn a_stage_can_let_services_reach_the_host() {
    let check = |stage: &str| file(&format!("fleet: acme\nrepo: /srv/fleet.git\nstages: [{{name: main, {stage}}}]\n"));
    let host = check("host_paths: [/run/dbus], privileged: true").unwrap().stages[0].host.clone();
    assert!(host.allows_path("/run/dbus/system_bus_socket") && !host.allows_path("/run"));
    assert_eq!(host.privileged, crate::domain::manifest::compose::Privileged::Allowed);
    assert!(file(SMALLEST).unwrap().stages[0].host.are_none());
    for wrong in ["host_paths: [run]", "host_paths: [/a/../b]", "privileged: maybe", "host_paths: /run"] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn every_stage_but_the_first_can_take_verified_trees_only() {
    let check = |stages: &str| file(&format!("fleet: acme\nrepo: /srv/fleet.git\nstages: {stages}\n"));
    let stages =
        check("[main, {name: canary, promotion: any}, {name: production, promotion: verified}]").unwrap().stages;
    let promotions: Vec<Promotion> = stages.iter().map(|stage| stage.promotion).collect();
    assert_eq!(promotions, [Promotion::Any, Promotion::Any, Promotion::Verified]);
    assert!(check("[main, {name: production, promotion: yes}]").is_err());
    insta::assert_snapshot!(check("[{name: main, promotion: verified}, production]").unwrap_err(), @r"
    the configuration cannot be used

    error[bad-value]: no stage comes before the first one, so nothing can be verified there
     --> bellwether.yml:3:34
      |
    3 | stages: [{name: main, promotion: verified}, production]
      |                                  ^^^^^^^^
      = hint: write it at the stages after it

    1 error
    ");
}
