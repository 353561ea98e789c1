//! The fleet repo of a trial: hosts at sites, some of them canaries, and policies of chance.

use crate::stream::Stream;
use bellwether::domain::ids::DeviceId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What the repo says.
pub struct Fleet {
    /// Hosts, and the site of each.
    pub hosts: BTreeMap<DeviceId, String>,
    /// The first to get anything; perhaps nobody.
    pub canaries: BTreeSet<DeviceId>,
    policies: String,
    /// Whether policies are in the repo.
    pub has_policies: bool,
    /// What devices get.
    pub value: u32,
    /// Values that do not work, and on which devices: on all, or on every other one.
    pub bad: BTreeMap<u32, Bad>,
    commits: u32,
}

/// On which devices something does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    Everywhere,
    OnEveryOther,
}

impl Fleet {
    pub fn new(chance: &mut Stream) -> Self {
        let count = match chance.below(60) {
            0 => 100 + chance.below(101),
            1..=8 => 15 + chance.below(25),
            _ => 2 + chance.below(12),
        };
        let sites = 1 + count / 6;
        let name = |number: u64| DeviceId::new(&format!("d{number:03}")).expect("a device name");
        let hosts: BTreeMap<DeviceId, String> =
            (0..count).map(|number| (name(number), format!("s{}", chance.below(sites)))).collect();
        // Now and then there is none.
        let many = if chance.happens(80) { 0 } else { 1 + chance.below(1 + count / 8) };
        let canaries = (0..many).map(|_| name(chance.below(count))).collect();
        let policies = policies(chance);
        Self { hosts, canaries, policies, has_policies: false, value: 0, bad: BTreeMap::new(), commits: 0 }
    }

    /// Other content for everybody.
    pub fn change(&mut self, good: bool, chance: &mut Stream) {
        // Sometimes what was bad before comes back in a newer commit.
        let known: Vec<u32> = self.bad.keys().copied().collect();
        if let Some(old) = chance.pick(&known).filter(|_| !good).copied()
            && chance.happens(200)
        {
            self.value = old;
            return;
        }
        self.commits += 1;
        self.value = self.commits;
        if !good {
            let bad = if chance.happens(600) { Bad::Everywhere } else { Bad::OnEveryOther };
            self.bad.insert(self.value, bad);
        }
    }

    /// Every file by path.
    pub fn files(&mut self) -> Vec<(String, String)> {
        self.commits += 1;
        let policies = if self.has_policies { self.policies.as_str() } else { "" };
        let list = |names: &mut dyn Iterator<Item = &DeviceId>, indent: &str| {
            names.fold(String::new(), |mut text, name| {
                let _ = writeln!(text, "{indent}{name}:");
                text
            })
        };
        let mut inventory = format!("all:\n  hosts:\n{}", list(&mut self.hosts.keys(), "    "));
        if !self.canaries.is_empty() {
            let canaries = list(&mut self.canaries.iter(), "        ");
            let _ = write!(inventory, "  children:\n    canaries:\n      hosts:\n{canaries}");
        }
        let value = self.value;
        let mut files = vec![
            ("README.md".to_owned(), format!("{}\n", self.commits)),
            ("fleet.yml".to_owned(), format!("name: sim\napps:\n  web: {{}}\n{policies}")),
            ("inventory.yml".to_owned(), inventory),
            (
                "group_vars/all.yml".to_owned(),
                format!("device_type: box\nbranch: main\npins:\n  web: 1.0.0\nvariables:\n  VALUE: \"{value}\"\n"),
            ),
            ("releases/web/1.0.0/release.yml".to_owned(), "version: 1.0.0\n".to_owned()),
            ("releases/web/1.0.0/compose.yml".to_owned(), "services:\n  app:\n    image: example/app:1\n".to_owned()),
        ];
        for (name, site) in &self.hosts {
            files.push((format!("host_vars/{name}.yml"), format!("labels:\n  site: {site}\n")));
        }
        files
    }

    /// Whether content does not work on a device.
    pub fn fails(&self, value: u32, device: &DeviceId) -> bool {
        match self.bad.get(&value) {
            None => false,
            Some(Bad::Everywhere) => true,
            Some(Bad::OnEveryOther) => device.as_str().bytes().map(u32::from).sum::<u32>() % 2 == 0,
        }
    }
}

/// One policy for everybody, or canaries with one of their own. All share their budgets.
fn policies(chance: &mut Stream) -> String {
    let budgets = match chance.below(3) {
        0 => String::new(),
        _ => format!("    budgets: [{{label: site, max_unavailable: {}}}]\n", 1 + chance.below(2)),
    };
    let mut text = "rollouts:\n".to_owned();
    policy("careful", &budgets, chance, &mut text);
    if chance.happens(300) {
        policy("other", &budgets, chance, &mut text);
        text.push_str(
            "rollout:\n  - {stage: main, group: canaries, policy: other}\n  - {stage: main, policy: careful}\n",
        );
    } else {
        text.push_str("rollout: [{stage: main, policy: careful}]\n");
    }
    text
}

fn policy(name: &str, budgets: &str, chance: &mut Stream, text: &mut String) {
    let approvals = u64::from(chance.happens(150));
    let on_error = if chance.happens(400) { "rollback" } else { "pause" };
    let rate = [6, 12, 60][chance.below(3) as usize];
    let _ = write!(
        text,
        "  {name}:\n    approvals: {approvals}\n    on_error: {on_error}\n    lost_after: 3m\n    late: {{catchup_rate: {rate}, max_failures: 20%}}\n{budgets}"
    );
    // A site goes at once, so it must fit into the budgets.
    let site = |chance: &mut Stream| if budgets.is_empty() && chance.happens(500) { ", site: site" } else { "" };
    let reports = |chance: &mut Stream| ["", ", min_reports: 90%", ", min_reports: 100%"][chance.below(3) as usize];
    let window = |chance: &mut Stream| [0, 60, 180, 300][chance.below(4) as usize];
    let mut steps = Vec::new();
    if chance.happens(800) {
        let (window, soak) = (window(chance), chance.below(60));
        let (site, reports) = (site(chance), reports(chance));
        steps.push(format!(
            "{{name: canaries, group: canaries, min_success: 100%, window: {window}s, soak: {soak}s, timeout: 15m{site}{reports}}}"
        ));
    }
    if chance.happens(500) {
        let (window, approvals) = (window(chance), u64::from(chance.happens(200)));
        let rate = if chance.happens(300) { ", rate: {per_minute: 4}" } else { "" };
        let (site, reports) = (site(chance), reports(chance));
        steps.push(format!(
            "{{name: some, take: 30%, window: {window}s, soak: 10s, timeout: 15m, approvals: {approvals}{rate}{site}{reports}}}"
        ));
    }
    if !steps.is_empty() {
        let _ = writeln!(text, "    steps:\n      - {}", steps.join("\n      - "));
    }
    let retry = if chance.happens(400) { ", retry: {max: 1, backoff: 30s}" } else { "" };
    let (window, success, site) = (window(chance), [60, 90, 100][chance.below(3) as usize], site(chance));
    let _ = writeln!(
        text,
        "    final: {{window: {window}s, soak: 5s, timeout: 15m, min_success: {success}%{retry}{site}}}"
    );
}
