//! Inventories made by chance from a seed: groups, depths, priorities, layers, layouts of files, types, ranges, several sources.

use super::{Case, Compare, check};

/// How many are made unless `BELLWETHER_ANSIBLE_CASES` says otherwise: seconds of both programs.
const USUAL_CASES: u64 = 300;
/// How many are asked for in one process, so that memory stays small.
const AT_ONCE: u64 = 500;

#[allow(clippy::disallowed_methods, reason = "long runs are asked for by the environment")]
fn asked_for(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().map_or(usual, |text| text.parse().expect("a number"))
}

#[test]
fn generated_inventories_mean_what_they_mean_to_ansible() {
    let first = asked_for("BELLWETHER_ANSIBLE_SEED", 1);
    let end = first + asked_for("BELLWETHER_ANSIBLE_CASES", USUAL_CASES);
    let mut seed = first;
    while seed < end {
        let cases: Vec<Case> = (seed..end.min(seed + AT_ONCE)).map(case).collect();
        check("ansible-generated", &cases);
        seed += AT_ONCE;
    }
}

/// A stream of numbers that look like chance (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }

    /// Whether something happens that happens so many times in a hundred.
    fn percent(&mut self, of: usize) -> bool {
        self.below(100) < of
    }

    fn one<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const GROUPS: [&str; 12] = ["a", "b", "Zeta", "alpha", "g_1", "g-2", "web", "db", "zurich", "m10", "m9", "ungrouped"];
const HOSTS: [&str; 14] = [
    "h1",
    "h2",
    "h3",
    "w[1:3]",
    "r[01:03]",
    "x[a:c].example",
    "s[0:4:2]",
    "p:22",
    "web",
    "10.0.0.7",
    "'2001:db8::7'",
    "dot.example",
    "Upper",
    "q_r",
];
const KEYS: [&str; 10] = ["A", "B", "C", "d_e", "ansible_host", "ansible_group_priority", "z", "'1'", "Key", "groups"];
const VALUES: [&str; 52] = [
    "1",
    "0",
    "-5",
    "1.10",
    "NO",
    "yes",
    "Off",
    "true",
    "017",
    "0o17",
    "0x1F",
    "0b11",
    "1_000",
    "12:30",
    "12:30:45",
    "-1:30:00",
    "08",
    "1e3",
    "1.5e+3",
    "1.0e-7",
    ".5",
    "1.",
    ".inf",
    "-.inf",
    "~",
    "null",
    "''",
    "2025-10-10",
    "2025-10-10T12:00:00Z",
    "2025-1-2 3:04:05.25 -3",
    "text",
    "two words",
    "'NO'",
    "\"1.10\"",
    "\"esc \\u00e4 \\n\"",
    "'{{ x }}'",
    "zürich",
    "[]",
    "{}",
    "[1, NO, [x]]",
    "{a: 1, b: {c: 2}}",
    "{1: x, 2: y}",
    "{yes: 1}",
    "!unsafe '{{ y }}'",
    "!unsafe [a, 5]",
    "!vault secret",
    "!!str 5",
    "!!int '7'",
    "190:20:30.15",
    "123456789012345678901",
    "+12",
    "1.0e+20",
];
const PATTERNS: [&str; 16] = [
    "a",
    "b",
    "Zeta",
    "web",
    "h1",
    "w*",
    "~h[12]",
    "*.example",
    "typo",
    "all",
    "x*",
    "[a-h]*",
    "ungrouped",
    "r0?",
    "10.0.0.7",
    "Up*",
];

/// Variables as the body of a block mapping, indented so far.
fn vars(chance: &mut Chance, indent: usize) -> String {
    let mut text = String::new();
    let mut left: Vec<&str> = KEYS.to_vec();
    for _ in 0..1 + chance.below(4) {
        let key = left.remove(chance.below(left.len()));
        // In groups it must be a number, and elsewhere it may.
        let value = if key == "ansible_group_priority" {
            chance.one(&["1", "2", "10", "-1", "'3'"])
        } else {
            chance.one(&VALUES)
        };
        text.push_str(&format!("{:indent$}{key}: {value}\n", ""));
    }
    text
}

fn group(chance: &mut Chance, name: &str, children: &[&str], indent: usize) -> String {
    let mut text = format!("{:indent$}{name}:\n", "");
    let inner = indent + 2;
    let mut parts = vec![0, 1, 2];
    while !parts.is_empty() {
        match parts.remove(chance.below(parts.len())) {
            0 if chance.percent(60) => {
                text.push_str(&format!("{:inner$}vars:\n{}", "", vars(chance, inner + 2)));
            }
            1 if !children.is_empty() => {
                text.push_str(&format!("{:inner$}children:\n", ""));
                for child in children {
                    text.push_str(&format!("{:width$}{child}:\n", "", width = inner + 2));
                }
            }
            2 if chance.percent(75) => {
                text.push_str(&format!("{:inner$}hosts:\n", ""));
                let mut left: Vec<&str> = HOSTS.to_vec();
                for _ in 0..1 + chance.below(4) {
                    let host = left.remove(chance.below(left.len()));
                    text.push_str(&format!("{:width$}{host}:\n", "", width = inner + 2));
                    if chance.percent(40) {
                        text.push_str(&vars(chance, inner + 4));
                    }
                }
            }
            _ => {}
        }
    }
    text
}

/// An inventory file. Groups contain only later ones, so there is no circle.
fn inventory(chance: &mut Chance) -> String {
    let count = 1 + chance.below(GROUPS.len() - 1);
    let mut text = String::new();
    if chance.percent(70) {
        let children: Vec<&str> = GROUPS[..count].iter().copied().filter(|_| chance.percent(30)).collect();
        text.push_str(&group(chance, "all", &children, 0));
    }
    for (index, name) in GROUPS[..count].iter().enumerate() {
        // Ansible takes hosts out of `ungrouped` and of what it stands in; nobody means that.
        let later = GROUPS[index + 1..count].iter().copied().filter(|name| *name != "ungrouped");
        let children: Vec<&str> = later.filter(|_| chance.percent(25)).collect();
        if index == 0 || chance.percent(85) {
            text.push_str(&group(chance, name, &children, 0));
        }
    }
    text
}

/// `group_vars` and `host_vars` in a folder, in any layout.
fn files(chance: &mut Chance, folder: &str, files: &mut Vec<(String, String)>) {
    for (kind, names) in [
        ("group_vars", ["all", "a", "b", "Zeta", "web", "g-2", "ungrouped", "nobody"]),
        ("host_vars", ["h1", "w1", "w2", "r01", "xa.example", "web", "p", "10.0.0.7"]),
    ] {
        for name in names {
            if !chance.percent(35) {
                continue;
            }
            for _ in 0..1 + chance.below(2) {
                let place = chance.one(&[
                    ".yml",
                    ".yml",
                    ".yml",
                    ".yaml",
                    ".json",
                    "",
                    "/10.yml",
                    "/9.yml",
                    "/x",
                    "/sub/a.yml",
                    "/.hidden.yml",
                    "/b.yml~",
                    "/n.txt",
                    ".txt",
                ]);
                let path = format!("{folder}{kind}/{name}{place}");
                let text = match place {
                    ".json" => format!(
                        "{{\"J\": {}, \"A\": \"{name}\"}}\n",
                        chance.one(&["1e3", "1.50", "\"NO\"", "null", "[1, 2.0]"])
                    ),
                    _ => vars(chance, 0),
                };
                // A path cannot be a file and a folder.
                let clash = |(other, _): &(String, String)| {
                    other.starts_with(&format!("{path}/")) || path.starts_with(&format!("{other}/")) || *other == path
                };
                if !files.iter().any(clash) {
                    files.push((path, text));
                }
            }
        }
    }
}

fn case(seed: u64) -> Case {
    let mut chance = Chance(seed);
    let chance = &mut chance;
    let mut all: Vec<(String, String)> = Vec::new();
    let mut arguments: Vec<String> = Vec::new();
    match chance.below(4) {
        0 | 1 => {
            all.push(("inventory.yml".to_owned(), inventory(chance)));
            files(chance, "", &mut all);
            arguments.extend(["-i".to_owned(), "../inventory.yml".to_owned()]);
        }
        2 => {
            for name in ["one", "two"] {
                all.push((format!("{name}/hosts.yml"), inventory(chance)));
                files(chance, &format!("{name}/"), &mut all);
                arguments.extend(["-i".to_owned(), format!("../{name}/hosts.yml")]);
            }
        }
        _ => {
            for name in ["10.yml", "9.yaml", "sub/x.json.yml"] {
                all.push((format!("dir/{name}"), inventory(chance)));
            }
            files(chance, "dir/", &mut all);
            arguments.extend(["-i".to_owned(), "../dir".to_owned()]);
        }
    }
    if chance.percent(25) {
        all.push(("play/site.yml".to_owned(), String::new()));
        files(chance, "play/", &mut all);
        arguments.extend(["--playbook-dir".to_owned(), "../play".to_owned()]);
    }
    let mut compare = Compare::Whole;
    match chance.below(10) {
        0 => arguments.push("--graph".to_owned()),
        1 => {
            arguments.extend(["--graph".to_owned(), "--vars".to_owned()]);
            compare = Compare::Lines;
            // Ansible would want to decrypt what it draws.
            all.iter_mut().for_each(|(_, text)| *text = text.replace("!vault secret", "'secret'"));
        }
        2 => arguments.extend(["--list".to_owned(), "--export".to_owned()]),
        3..=5 => {
            let mut pattern = String::new();
            for _ in 0..1 + chance.below(3) {
                let sign = chance.one(&["", "", "&", "!"]);
                pattern.push_str(&format!(
                    "{}{sign}{}",
                    if pattern.is_empty() { "" } else { ":" },
                    chance.one(&PATTERNS)
                ));
            }
            arguments.extend(["--list".to_owned(), "--limit".to_owned(), pattern]);
            compare = Compare::WholeOrRefused;
        }
        _ => arguments.push("--list".to_owned()),
    }
    Case { name: format!("seed {seed}"), files: all, arguments, compare }
}
