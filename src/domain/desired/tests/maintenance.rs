//! Maintenance windows in the files of a fleet repo.

use super::{Resolver, resolved, show, snapshot};
use crate::domain::desired::explain;
use std::fmt::Write as _;

/// The windows of every device, after what was found.
fn windows(files: &[(&str, &str)]) -> String {
    let desired = Resolver::default().resolve(&snapshot(files));
    let mut text: String =
        show(&desired).lines().filter(|line| line.contains(".yml:")).fold(String::new(), |all, line| all + line + "\n");
    for (name, device) in &desired.devices {
        let Some(sealed) = &device.spec else {
            let _ = writeln!(text, "{name}: keeps what it has");
            continue;
        };
        let maintenance = &sealed.spec.maintenance;
        let _ = writeln!(text, "{name}: download [{}] apply [{}]", maintenance.download, maintenance.apply);
    }
    text
}

#[test]
fn a_group_says_when_and_each_site_where() {
    insta::assert_snapshot!(windows(&[
        (
            "group_vars/all.yml",
            "branch: main\nmaintenance:\n  zone: Europe/Zurich\n  download: [{time: 20:00, duration: 10h}]\n  apply:\n  \
             - {days: mon-fri, time: 02:00, duration: 2h}\n  - {cron: '0 1 * * sat,7', duration: 240m, zone: UTC}\n",
        ),
        ("host_vars/a.yml", "maintenance: {zone: '{{ town }}', download: null}\ntown: Asia/Hong_Kong\n"),
        ("host_vars/b.yml", "maintenance: {apply: [{time: 03:30, duration: 1h30m}]}\n"),
        ("host_vars/c.yml", "maintenance: null\n"),
    ]), @"
    a: download [] apply [0 1 * * 0,6 for 4h (STD0); 0 2 * * 1-5 for 2h (STD-8)]
    b: download [0 20 * * * for 10h (STD-1DST,M3.5.0,M10.5.0/3)] apply [30 3 * * * for 1h30m (STD-1DST,M3.5.0,M10.5.0/3)]
    c: download [] apply []
    ");
}

#[test]
fn windows_that_mean_the_same_are_the_same_content() {
    let digest = |text: &str| {
        let desired = Resolver::default().resolve(&snapshot(&[("group_vars/all.yml", text)]));
        desired
            .devices
            .values()
            .next()
            .and_then(|device| device.spec.as_ref())
            .map(|spec| spec.digest)
            .expect("content")
    };
    let weekly =
        "branch: main\nmaintenance: {zone: Europe/Zurich, apply: [{days: [tue, mon], time: 2:00, duration: 1h}]}\n";
    let cron = "branch: main\nmaintenance: {apply: [{cron: 0 2 * * 1-2, duration: 60m, zone: Europe/Berlin}]}\n";
    let later =
        "branch: main\nmaintenance: {zone: Europe/Zurich, apply: [{days: [tue, mon], time: 3:00, duration: 1h}]}\n";
    assert_eq!(digest(weekly), digest(cron));
    assert_ne!(digest(weekly), digest(later));
}

#[test]
fn slips_in_windows_are_findings_where_they_stand() {
    insta::assert_snapshot!(resolved(&[
        ("group_vars/all.yml", "branch: main\n"),
        (
            "host_vars/a.yml",
            "maintenance:\n  zone: Europe/Zurick\n  aply: []\n  apply:\n  - {time: 24:00, duration: 1h}\n  - {time: 02:00, duration: 0m}\n  \
             - {time: 02:00, duration: 8d}\n  - {time: 02:00, duration: 90s}\n  - {time: 02:00, duration: soon}\n  - {time: 02:00}\n  \
             - {days: monday, time: 02:00, duration: 1h}\n  - {days: 1-5, time: 02:00, duration: 1h}\n  - {duration: 1h}\n  \
             - {cron: 0 2 30 2 *, duration: 1h}\n  - {cron: 0 2 * *, duration: 1h}\n  - {cron: 0 25 * * *, duration: 1h}\n  \
             - {cron: 0 2 */2 * mon, duration: 1h}\n  - {cron: 0 2 * * *, time: 02:00, duration: 1h}\n  \
             - {time: '{{ night }}', duration: 1h}\n",
        ),
        ("host_vars/b.yml", "maintenance: {apply: [], download: [{time: 02:00, duration: 1h, zone: europe/zurich}]}\n"),
        ("host_vars/c.yml", "maintenance: {apply: [{time: 02:00, duration: 1h}]}\n"),
    ]), @r#"
    host_vars/a.yml:2:9: error unknown-time-zone: there is no time zone `Europe/Zurick` (did you mean `Europe/Zurich`?) [a]
    host_vars/a.yml:3:3: error unknown-key: `maintenance` has no key `aply` (did you mean `apply`?) [a]
    host_vars/a.yml:5:12: error bad-window: `24:00` is no time of the day (write hours and minutes, `00:00` to `23:59`) [a]
    host_vars/a.yml:6:29: error bad-window: a window that is open for no time never lets anything happen (write `90m`, `2h` or `1d`, at most 7 days) [a]
    host_vars/a.yml:7:29: error bad-window: `8d` is too long for a window (write `90m`, `2h` or `1d`, at most 7 days) [a]
    host_vars/a.yml:8:29: error bad-window: `90s` is not a whole number of minutes (write `90m`, `2h` or `1d`, at most 7 days) [a]
    host_vars/a.yml:9:29: error bad-window: `soon` is no duration (write `90m`, `2h` or `1d`, at most 7 days) [a]
    host_vars/a.yml:10:5: error bad-window: a window has no `duration` (write `{days: mon-fri, time: 02:00, duration: 2h}` or `{cron: "0 2 * * mon-fri", duration: 2h}`) [a]
    host_vars/a.yml:11:12: error bad-window: `monday` is no weekday (did you mean `mon`?) [a]
    host_vars/a.yml:12:12: error bad-window: `1-5` is no weekday (write `mon`, `mon-fri` or `[mon, wed, sat]`; leave `days` out for every day) [a]
    host_vars/a.yml:13:5: error bad-window: a window has neither `cron` nor `time` (write `{days: mon-fri, time: 02:00, duration: 2h}` or `{cron: "0 2 * * mon-fri", duration: 2h}`) [a]
    host_vars/a.yml:14:12: error bad-cron: no calendar has such a day, so this never comes (fields are minute, hour, day of the month, month and weekday: `30 2 * * mon-fri`) [a]
    host_vars/a.yml:15:12: error bad-cron: a cron expression has five fields (minute, hour, day of the month, month, weekday), not 4 (fields are minute, hour, day of the month, month and weekday: `30 2 * * mon-fri`) [a]
    host_vars/a.yml:16:12: error bad-cron: `25` cannot be the hour of a cron expression: it is a number from 0 to 23, a range or a step (fields are minute, hour, day of the month, month and weekday: `30 2 * * mon-fri`) [a]
    host_vars/a.yml:17:12: error bad-cron: cron programs disagree on a day of the month by steps together with a weekday (fields are minute, hour, day of the month, month and weekday: `30 2 * * mon-fri`) [a]
    host_vars/a.yml:18:5: error bad-window: a window has both `cron` and `days` or `time` (write `{days: mon-fri, time: 02:00, duration: 2h}` or `{cron: "0 2 * * mon-fri", duration: 2h}`) [a]
    host_vars/a.yml:19:12: error template: `time` cannot be a template [a]
    host_vars/b.yml:1:22: error bad-window: `apply` lists no window (write `null` to lift the restriction, or use `hold` to keep the device from changing) [b]
    host_vars/b.yml:1:71: error unknown-time-zone: there is no time zone `europe/zurich` (did you mean `Europe/Zurich`?) [b]
    host_vars/c.yml:1:23: error no-time-zone: the window `every day 02:00 for 1h` has no time zone (write `zone` in it, or in `maintenance` for all windows) [c]
    a: main (keeps what it has)
    b: main (keeps what it has)
    c: main (keeps what it has)
    "#);
}

#[test]
fn a_zone_that_no_rule_describes_is_a_warning() {
    insta::assert_snapshot!(windows(&[(
        "host_vars/a.yml",
        "maintenance: {zone: Asia/Gaza, apply: [{time: 02:00, duration: 1h}]}\n",
    )]), @"
    host_vars/a.yml:1:21: warning irregular-time-zone: the clocks of Asia/Gaza are set by dates that no rule describes; devices count with `STD-2DST,M3.4.4/50,M10.4.4/50` all year (leave an hour more on both sides of its windows, or give them a zone such as `UTC`)
    a: download [] apply [0 2 * * * for 1h (STD-2DST,M3.4.4/50,M10.4.4/50)]
    b: download [] apply []
    c: download [] apply []
    ");
}

#[test]
fn an_explanation_shows_windows_as_they_are_written() {
    let files = snapshot(&[
        (
            "group_vars/all.yml",
            "branch: main\nmaintenance: {zone: UTC, apply: [{days: mon-fri, time: 2:00, duration: 2h}, {cron: 0 1 * * 0, duration: 90m, zone: Asia/Tokyo}]}\n",
        ),
        ("host_vars/a.yml", "maintenance: {zone: Europe/Rome}\n"),
    ]);
    let explanation = explain(&files, &"a".parse().expect("a name")).expect("the device is listed");
    let shown: Vec<String> = explanation
        .selected("maintenance")
        .into_iter()
        .map(|one| {
            format!(
                "{} = {} ({}), over {:?}",
                one.key,
                one.value,
                one.place,
                one.overridden.iter().map(|one| &one.value).collect::<Vec<_>>()
            )
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    maintenance.apply = mon-fri 02:00 for 2h; 0 1 * * 0 for 1h30m (Asia/Tokyo) (group_vars/all.yml:2:26), over []
    maintenance.zone = Europe/Rome (host_vars/a.yml:1:15), over ["UTC"]
    "#);
}
