//! One inventory for each of Ansible's rules.

use super::{Case, Compare, and_in_yaml, check};

/// An inventory of one host with these variables.
fn one(name: &str, vars: &str) -> Case {
    let vars: String = vars.lines().map(|line| format!("      {line}\n")).collect();
    let text = format!("all:\n  hosts:\n    h:\n{vars}");
    Case::new(name, &[("inventory.yml", text.as_str())], "-i ../inventory.yml --list")
}

fn refused(name: &str, files: &[(&str, &str)], arguments: &str) -> Case {
    Case { compare: Compare::Refused, ..Case::new(name, files, arguments) }
}

const LAYERS: &str = "
all:
  vars: {A: all, B: all, C: all, D: all, E: all, F: all, G: all, H: all}
  children:
    g:
      vars: {B: group, C: group, D: group, E: group, F: group, G: group, H: group}
      hosts:
        h: {F: host, G: host, H: host}
    ungrouped:
      hosts: {lonely: }
";

const ORDER: &str = "
all:
  children:
    parent: {vars: {LAST: parent}, children: {aaa: {vars: {LAST: aaa}, hosts: {h1: }}}}
    zeta: {vars: {ansible_group_priority: 10, LAST: zeta}, hosts: {h1: , h2: , h3: }}
    alpha: {vars: {ansible_group_priority: '5', LAST: alpha}, hosts: {h1: , h2: }}
    Upper: {vars: {LAST: Upper}, hosts: {h3: , h4: }}
    lower: {vars: {LAST: lower}, hosts: {h3: , h4: }}
    negative: {vars: {ansible_group_priority: -3, LAST: negative}, hosts: {h4: }}
";

#[test]
fn layers_and_groups_are_laid_over_each_other_as_ansible_does() {
    let layered = [
        ("inventory.yml", LAYERS),
        ("group_vars/all.yml", "C: file-all\nD: file-all\nE: file-all\n"),
        ("group_vars/g.yml", "D: file-group\nE: file-group\n"),
        ("group_vars/ungrouped.yml", "U: ungrouped\n"),
        ("host_vars/h.yml", "G: file-host\nH: file-host\n"),
        ("play/group_vars/all.yml", "D: play-all\nE: play-all\n"),
        ("play/group_vars/g.yml", "E: play-group\n"),
        ("play/host_vars/h.yml", "H: play-host\n"),
    ];
    let mut cases = vec![
        Case::new("every layer", &layered, "-i ../inventory.yml --list"),
        Case::new("every layer and a play", &layered, "-i ../inventory.yml --list --playbook-dir ../play"),
        Case::new("one host", &layered, "-i ../inventory.yml --host h"),
        Case::new("export", &layered, "-i ../inventory.yml --list --export"),
        Case::new("the order of groups", &[("inventory.yml", ORDER)], "-i ../inventory.yml --list"),
        Case::new("the order of groups, export", &[("inventory.yml", ORDER)], "-i ../inventory.yml --list --export"),
        Case::new(
            "replaced as a whole",
            &[
                ("inventory.yml", "all: {vars: {d: {a: 1, b: 2}, l: [1, 2]}, hosts: {h: {d: {c: 3}}}}\n"),
                ("host_vars/h.yml", "l: [3]\n"),
            ],
            "-i ../inventory.yml --list",
        ),
        Case::new(
            "longest path",
            &[(
                "inventory.yml",
                "all: {children: {a: {children: {b: {children: {c: {vars: {X: c}, hosts: {h: }}}}}}, d: {vars: {X: d}, children: {c: }, hosts: {h: }}, e: {vars: {X: e}, children: {f: {vars: {X: f}, hosts: {h: }}}}}}\n",
            )],
            "-i ../inventory.yml --list",
        ),
        Case::new(
            "priority in a file is only a variable",
            &[
                ("inventory.yml", "all: {children: {a: {hosts: {h: }}, b: {hosts: {h: }}}}\n"),
                ("group_vars/a.yml", "ansible_group_priority: 10\nX: a\n"),
                ("group_vars/b.yml", "X: b\n"),
            ],
            "-i ../inventory.yml --list",
        ),
        Case::new(
            "the same host in several groups",
            &[("inventory.yml", "all: {children: {a: {hosts: {h: {X: 1, Y: 1}}}, b: {hosts: {h: {X: 2}}}}}\n")],
            "-i ../inventory.yml --list",
        ),
    ];
    for (name, priority) in [("cut", "2.9"), ("truth", "true"), ("text", "' 7 '"), ("hexadecimal", "0x10")] {
        let text = format!(
            "all: {{children: {{z: {{vars: {{ansible_group_priority: {priority}, X: z}}, hosts: {{h: }}}}, a: {{vars: {{ansible_group_priority: 2, X: a}}, hosts: {{h: }}}}}}}}\n"
        );
        cases.push(Case::new(name, &[("inventory.yml", text.as_str())], "-i ../inventory.yml --list"));
    }
    check("ansible-layers", &and_in_yaml(cases));
}

#[test]
fn files_of_variables_are_found_as_ansible_finds_them() {
    let inventory = "all: {children: {g1: {hosts: {h: , web.yml: }}, g2: {hosts: {h: }}}}\n";
    let with = |name: &str, files: &[(&str, &str)]| {
        let mut all = vec![("inventory.yml", inventory)];
        all.extend_from_slice(files);
        Case::new(name, &all, "-i ../inventory.yml --list")
    };
    check(
        "ansible-files",
        &[
            with("a folder hides a file", &[("group_vars/g1.yml", "A: 1"), ("group_vars/g1/x.yml", "B: 1")]),
            with("no extension comes first", &[("group_vars/g1", "A: 1"), ("group_vars/g1.yml", "A: 2")]),
            with("then yml, yaml, json", &[("group_vars/g1.yaml", "A: 1"), ("group_vars/g1.json", "{\"A\": 2}")]),
            with(
                "only json",
                &[("group_vars/g1.json", "{\"A\": 1e3, \"B\": \"NO\", \"C\": 1.50, \"D\": \"\\ud83d\\ude00\"}")],
            ),
            with(
                "a folder with nothing to read hides",
                &[("group_vars/g1.yml", "A: 1"), ("group_vars/g1/x.txt", "B: 1")],
            ),
            with("a folder with an extension", &[("group_vars/g1.yml/x.yml", "A: 1")]),
            with(
                "byte order in folders",
                &[
                    ("group_vars/g1/9.yml", "A: 9\nB: 9"),
                    ("group_vars/g1/10.yml", "A: 10"),
                    ("group_vars/g1/Z.yml", "B: Z"),
                    ("group_vars/g1/sub/x.yml", "C: sub"),
                    ("group_vars/g1/sub-a.yml", "C: sub-a"),
                    ("group_vars/g1/.hidden.yml", "D: 1"),
                    ("group_vars/g1/old.yml~", "D: 2"),
                    ("group_vars/g1/notes.conf", "D: 3"),
                    ("group_vars/g1/dir.d/x.yml", "D: 4"),
                    ("group_vars/g1/plain", "E: 1"),
                ],
            ),
            with("a host that looks like a file", &[("host_vars/web.yml", "A: 1")]),
            with(
                "empty files",
                &[("group_vars/g1.yml", ""), ("group_vars/g2.yml", "# nothing\n"), ("host_vars/h.yml", "---\n")],
            ),
            with("files that are as good as empty", &[("group_vars/g1.yml", "[]"), ("group_vars/g2.yml", "false")]),
            with("orphans", &[("group_vars/nobody.yml", "A: 1"), ("host_vars/nobody.yml", "A: 1")]),
            with(
                "names of Ansible's own",
                &[("host_vars/h.yml", "groups: 1\ninventory_dir: 2\nrole_path: 3\nmine: 4\n")],
            ),
        ],
    );
}

#[test]
fn inventories_are_read_as_ansible_reads_them() {
    let of = |name: &str, text: &str| Case::new(name, &[("inventory.yml", text)], "-i ../inventory.yml --list");
    let bad = |name: &str, text: &str| refused(name, &[("inventory.yml", text)], "-i ../inventory.yml --list");
    check(
        "ansible-inventories",
        &and_in_yaml(vec![
            of(
                "ranges",
                "all: {hosts: {'w[01:03].x': {A: 1}, 'd-[a:c]': , 'n[0:10:5]': , '[a:b][1:2]': , 'l[y:B]': }}\n",
            ),
            of(
                "ports",
                "all: {hosts: {'a:2222': , 'b[1:2]:22': {A: 1}, '[2001:db8::1]:22': , '2001:db8::2': , 'odd name:1': , '10.0.0.1:0022': }}\n",
            ),
            of("a port counts at the first mention", "all: {children: {x: {hosts: {a: }}, y: {hosts: {'a:22': }}}}\n"),
            of("several tops", "a: {hosts: {h: }}\nb: {hosts: {i: }, children: {c: {hosts: {j: }}}}\nlonely:\n"),
            of("ungrouped", "all: {hosts: {x: }}\nungrouped: {hosts: {h: , y: }, vars: {U: 1}}\na: {hosts: {h: }}\n"),
            of("host and group collide", "all: {children: {web: {hosts: {web: {A: 1}, other: }, vars: {B: 2}}}}\n"),
            of("collide later", "all: {hosts: {web: {A: 1}}, children: {web: {hosts: {other: }}}}\n"),
            of("collide ungrouped", "web: {hosts: {other: }}\nall: {hosts: {web: {A: 1}}}\n"),
            of("texts for mappings", "all: {hosts: one, children: {g: {hosts: two}}}\n"),
            of("a child as text", "all: {children: g}\n"),
            of("keys that are not known", "all: {hosts: {h: }, hots: {i: }, extra: 5}\n"),
            of("duplicate keys", "all: {hosts: {h: {A: 1, A: 2}, i: , h: {B: 1}}}\nall: {hosts: {j: }}\n"),
            of("nothing for variables", "all: {hosts: {a: , b: false, c: [], d: '', e: 0, f: {}}}\n"),
            of(
                "anchors and merges",
                "all: {vars: &v {A: 1, B: {C: 1}}, hosts: {h: {<<: *v, A: 2}, i: {<<: [*v, {D: 4, A: 9}]}, j: *v, k: {<<: {A: 5}, <<: {A: 6}}}}\n",
            ),
            of("quoted names", "all: {hosts: {'1': , 'yes': , 'a b': }}\n"),
            of("names with dashes", "all: {children: {a-b: {hosts: {h: }}, 'c d': {hosts: {i: }}}}\n"),
            of("groups that are nothing", "all: {hosts: {h: }}\nempty:\ntext: hello\n"),
            of("a child as text that is known", "g: {hosts: {h: }}\nall: {children: {g: hello}}\n"),
            of("unicode", "all: {hosts: {zürich: {ort: Zürich 😀}}}\n"),
            Case::new(
                "json",
                &[("i.json", "{\"all\": {\"hosts\": {\"h\": {\"a\": 1e3, \"b\": \"1.10\", \"1\": true}}}}")],
                "-i ../i.json --list",
            ),
            Case::new("no extension", &[("hosts", "all:\n  hosts:\n    h:\n")], "-i ../hosts --list"),
            bad("a list of hosts", "all: {hosts: [a, b]}\n"),
            bad("a number for a name", "all: {hosts: {1: }}\n"),
            bad("a truth for a name", "all: {hosts: {yes: }}\n"),
            bad("a number for a group", "1: {hosts: {a: }}\n"),
            bad("a cycle", "a: {children: {b: {children: {a: }}}}\n"),
            bad("all inside", "a: {children: {all: {hosts: {h: }}}}\n"),
            bad("itself", "a: {children: {a: {hosts: {h: }}}}\n"),
            bad("broken", "all: [\n"),
            bad("several documents", "all: {hosts: {a: }}\n---\nall: {hosts: {b: }}\n"),
            bad("a child that is text", "all: {children: {g: hello}}\n"),
            bad("bad ranges", "all: {hosts: {'a[1': }}\n"),
            bad("unequal ranges", "all: {hosts: {'a[01:100]': }}\n"),
            bad("a bad priority", "all: {vars: {ansible_group_priority: high}, hosts: {a: }}\n"),
            bad("no such tag", "all: {hosts: {h: {a: !foo x}}}\n"),
            bad("no such date", "all: {hosts: {h: {a: 2025-02-31}}}\n"),
            refused("no such file", &[("x", "")], "-i ../nothing.yml --list"),
            refused("no such host", &[("inventory.yml", "all: {hosts: {h: }}\n")], "-i ../inventory.yml --host nobody"),
            refused(
                "no such group",
                &[("inventory.yml", "all: {hosts: {h: }}\n")],
                "-i ../inventory.yml --graph nobody",
            ),
        ]),
    );
}

#[test]
fn values_have_the_types_that_ansible_gives_them() {
    check(
        "ansible-types",
        &[
            one("booleans", "a: [yes, No, ON, off, TRUE, False, y, n, 'yes', YeS]"),
            one(
                "whole numbers",
                "a: [0, 7, -7, +7, 017, 00123, 08, 0o17, 0x1F, -0x1f, 0b11, 1_000, 0_7, 12:30, 12:30:45, -1:30, 1:60, 08:00:27:00:00:01]\nb: 123456789012345678901234567890\nc: 170141183460469231731687303715884105728999",
            ),
            one(
                "floats",
                "a: [1.10, 1., .5, -.5, 1e3, 1.5e3, 1.5e+3, 1E+5, 1.0e+16, 1.0e-7, 0.0001, 0.00001, 123456789.0, 1_0.5, -0.0, 190:20:30.15, 1.2.3, ., 100000000000000000000.0, 0.1]",
            ),
            one("infinities", "a: [.inf, -.INF, +.Inf, .nan, .NaN, inf, nan]"),
            one("nothing", "a: [~, null, Null, NULL, nUll, '']\nb:\nc: ''"),
            one(
                "dates",
                "a: 2025-10-10\nb: 2025-10-10T12:00:00Z\nc: 2025-10-10 12:00:00.5 +02:30\nd: 2025-1-2 3:04:05\ne: 2025-10-10t12:00:00-5\nf: 2001-12-14 21:59:43.10 -5\ng: 2025-10-10-1056-pi2\nh: 2025-1-2\ni: '2025-10-10'\nj: 2025-10-10 12:00:00.1234567\nk: [2024-02-29]",
            ),
            one("keys", "a: {1: a, 10: c, 2: b}\nb: {yes: x, no: y}\nc: {1.10: x}\nd: {~: x}\ne: {1: a, b: c}\n1: f"),
            one(
                "tags",
                "a: [!!str 5, !!int '5', !!float '5', !!bool 'yes', ! 12, !!null '', !!float 1e3]\nb: !!set {b}\nc: !!omap [b: 1, a: 2]\nd: !!pairs [b: 1, b: 2]\ne: !!map {a: 1}\nf: !!seq [1]",
            ),
            one(
                "unsafe",
                "a: !unsafe '{{ x }}'\nb: !unsafe {k: v, n: 5, l: [x]}\nc: !unsafe [a, 1, true, {d: e}]\nd: !unsafe 5\ne: !unsafe '5'",
            ),
            one(
                "vault",
                "a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3132\n  3334\nb: [!vault \"$ANSIBLE_VAULT;1.1;AES256\\n31\"]",
            ),
            one(
                "texts",
                "a: \"\\u00e4\\U0001F600\\n\\t\\\"\\\\\\x01\"\nb: 'it''s'\nc: |\n  lines\n   more\nd: >-\n  folded\n  text\ne: plain text # comment\nf: \"{{ template }}\"\ng: \"\\x7f\\x85\\u2028/\"",
            ),
            one("containers", "a: {}\nb: []\nc: [[1, [2]], {d: {e: [f]}}]\nd:\n- 1\n- x: 1\n  y: 2"),
        ],
    );
}

#[test]
fn several_inventories_are_laid_over_each_other() {
    let files = [
        ("one/hosts.yml", "all: {vars: {A: one}, children: {g: {vars: {B: one}, hosts: {h: {C: one}}}}}\n"),
        ("one/group_vars/g.yml", "F: file-one\n"),
        ("one/group_vars/k.yml", "F: k-one\n"),
        (
            "two/hosts.yml",
            "all: {vars: {A: two}, children: {g: {vars: {B: two}, hosts: {h: {C: two}, i: }}, k: {hosts: {h: }}}}\n",
        ),
        ("two/group_vars/g.yml", "F: file-two\nB: file-two\n"),
        ("dir/10-x.yml", "all: {vars: {A: ten}, hosts: {x: }}\n"),
        ("dir/9-x.yml", "all: {vars: {A: nine}, hosts: {y: }}\n"),
        ("dir/notes.txt", "nothing"),
        ("dir/old.yml.orig", "nothing"),
        ("dir/x.cfg", "nothing"),
        ("dir/README.md", "nothing"),
        ("dir/back~", "nothing"),
        ("dir/.hidden", "nothing"),
        ("dir/group_vars/all.yml", "D: dir\n"),
        ("dir/host_vars/y.yml", "E: dir\n"),
        ("dir/sub/z.yml", "sub: {hosts: {z: }}\n"),
        ("dir/sub/group_vars/sub.yml", "never: read\n"),
    ];
    let case = |name: &str, arguments: &str| Case::new(name, &files, arguments);
    check(
        "ansible-several",
        &and_in_yaml(vec![
            case("two files", "-i ../one/hosts.yml -i ../two/hosts.yml --list"),
            case("the other way round", "-i ../two/hosts.yml -i ../one/hosts.yml --list"),
            case("again", "-i ../one/hosts.yml -i ../two/hosts.yml -i ../one/hosts.yml --list"),
            case("a folder", "-i ../dir --list"),
            case("a folder and a file", "-i ../dir -i ../one/hosts.yml --list --export"),
            case("names", "-i a.example,b:2222,c[1:2], --list"),
            case("names and a file", "-i h,new, -i ../one/hosts.yml --list"),
            case("graph", "-i ../dir -i ../one -i ../two --graph"),
            case("graph of a group", "-i ../one -i ../two --graph g"),
            Case { compare: Compare::Lines, ..case("graph with variables", "-i ../one -i ../two --graph --vars") },
        ]),
    );
}

#[test]
fn patterns_select_what_ansible_selects() {
    let inventory = "
all:
  children:
    web: {hosts: {'w[1:5]': , 'shared': }}
    db: {hosts: {d1: , d2: , shared: }}
    zurich: {hosts: {w1: , d1: }}
    sites: {children: {zurich: , bern: {hosts: {w2: , d2.bern.example: }}}}
    empty:
  hosts: {lonely: , '2001:db8::1': , 10.0.0.1: }
";
    let patterns = [
        "all",
        "*",
        "web",
        "web:db",
        "web,db",
        "web:&zurich",
        "web:!zurich",
        "!zurich",
        "&zurich",
        "!web:&zurich:db",
        "!zurich:&web:web",
        "w1",
        "w1:d1",
        "w*",
        "*1",
        "w?",
        "[wd]1",
        "w[!12]",
        "w[1-3]",
        "~w[12]",
        "~.*bern",
        "~(web|db)",
        "web[0]",
        "web[-1]",
        "web[1:2]",
        "web[2:]",
        "web[0:0]",
        "web[-6]",
        "web[9]",
        "web[1-2]",
        "ungrouped",
        "ungr*",
        "al*",
        "empty",
        "typo",
        "web:!typo",
        "web:&typo",
        "typo:web",
        "w1,&web,!w2",
        "10.0.0.1",
        "10.*",
        "2001:db8::1",
        "2001:db8::1,w1",
        "d2.bern.example",
        "*.example",
        "web:w9",
        "W1",
        "~W1",
        "~[ab]",
        "w1 , w2",
        "web;db",
        "@../names",
        "@../names,!w1",
        "@../missing",
        "sites:&web",
        "!lonely",
        "web:",
        ":web",
        "w1:w1",
        "zurich[1]",
        "a[b",
    ];
    let files = [("inventory.yml", inventory), ("names", "w1\n\nweb:db\nd1\n")];
    let cases: Vec<Case> = patterns
        .iter()
        .map(|pattern| {
            let mut case = Case::new(pattern, &files, "-i ../inventory.yml --list --limit");
            case.arguments.push((*pattern).to_owned());
            case.compare = Compare::WholeOrRefused;
            case
        })
        .collect();
    check("ansible-patterns", &cases);
}
