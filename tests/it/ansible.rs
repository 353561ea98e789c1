//! `bellwether inventory` against the real `ansible-inventory`, on hand-written inventories for every rule and on generated ones.
//!
//! `scripts/setup test` puts ansible-core into `.cache/ansible`. Many inventories are asked for in one process of it.
//! `BELLWETHER_ANSIBLE_CASES=5000` generates that many, `BELLWETHER_ANSIBLE_SEED` begins elsewhere.

mod cases;
mod failures;
mod generated;

use crate::harness::process::BELLWETHER;
use crate::harness::run::run;
use bellwether::domain::manifest::{scalar, yaml};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// One inventory with a question about it.
pub struct Case {
    /// For the reader of a failure.
    pub name: String,
    /// Paths and texts.
    pub files: Vec<(String, String)>,
    /// Arguments, relative to the folder above `empty`: paths begin with `../`.
    pub arguments: Vec<String>,
    /// How much of the answers must agree.
    pub compare: Compare,
}

/// How much of two answers must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// All of it.
    Whole,
    /// Lines, without those that show objects of Python.
    Lines,
    /// Both refuse.
    Refused,
    /// All of it, or both refuse.
    WholeOrRefused,
}

impl Case {
    /// A case from literals.
    pub fn new(name: &str, files: &[(&str, &str)], arguments: &str) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let arguments = arguments.split(' ').map(str::to_owned).collect();
        Self { name: name.to_owned(), files, arguments, compare: Compare::Whole }
    }
}

#[derive(Serialize)]
struct Question<'a> {
    directory: &'a Path,
    arguments: &'a [String],
}

/// What a program answered.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// Its exit status.
    pub status: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
}

#[derive(Deserialize)]
struct Answers {
    version: String,
    answers: Vec<Answer>,
}

/// The interpreter that has ansible-core.
#[allow(clippy::disallowed_methods, reason = "a machine may keep its virtual environment elsewhere")]
pub fn interpreter() -> PathBuf {
    let kept = std::env::var_os("BELLWETHER_ANSIBLE").map(PathBuf::from);
    let folder = kept.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/ansible"));
    let python = folder.join("bin/python");
    assert!(python.exists(), "there is no {}: `scripts/setup test` puts ansible-core there", python.display());
    python
}

/// Asks both, and says where they disagree.
#[track_caller]
pub fn check(purpose: &str, cases: &[Case]) {
    let root = run().scratch(purpose);
    let directories: Vec<PathBuf> = (0..cases.len()).map(|number| root.join(number.to_string())).collect();
    for (case, directory) in cases.iter().zip(&directories) {
        std::fs::create_dir_all(directory.join("empty")).expect("make an empty folder");
        for (path, text) in &case.files {
            let path = directory.join(path);
            std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("make a folder");
            match path.to_string_lossy().ends_with('/') {
                true => std::fs::create_dir_all(&path).expect("make a folder"),
                false => std::fs::write(path, text).expect("write a file"),
            }
        }
    }
    let theirs = ansible(&root, cases, &directories);
    let mut differences = Vec::new();
    for ((case, directory), theirs) in cases.iter().zip(&directories).zip(theirs.answers) {
        let ours = bellwether(directory, &case.arguments);
        if let Some(difference) = difference(case, &ours, &theirs) {
            let files: String = case.files.iter().map(|(path, text)| format!("--- {path}\n{text}\n")).collect();
            differences.push(format!("== {} {:?}\n{files}{difference}", case.name, case.arguments));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} answers differ from ansible-core {}:\n{}",
        differences.len(),
        cases.len(),
        theirs.version,
        differences.iter().take(5).cloned().collect::<Vec<_>>().join("\n\n")
    );
}

fn ansible(root: &Path, cases: &[Case], directories: &[PathBuf]) -> Answers {
    let questions: Vec<Question<'_>> = cases
        .iter()
        .zip(directories)
        .map(|(case, directory)| Question { directory, arguments: &case.arguments })
        .collect();
    let mut child = run()
        .command(interpreter())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/ansible/oracle.py"))
        .arg(root)
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start python");
    let mut stdin = child.stdin.take().expect("standard input was asked for");
    stdin.write_all(&serde_json::to_vec(&questions).expect("questions are JSON")).expect("ask");
    drop(stdin);
    let output = child.wait_with_output().expect("wait for python");
    assert!(output.status.success(), "the oracle ended with {}", output.status);
    serde_json::from_slice(&output.stdout).expect("answers are JSON")
}

/// What Bellwether answers.
pub fn bellwether(directory: &Path, arguments: &[String]) -> Answer {
    let output = run()
        .command(BELLWETHER)
        .arg("inventory")
        .args(arguments)
        .current_dir(directory.join("empty"))
        .output()
        .expect("start bellwether");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("answers are UTF-8");
    Answer { status: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn difference(case: &Case, ours: &Answer, theirs: &Answer) -> Option<String> {
    let refused = (ours.status != 0, theirs.status != 0);
    match (case.compare, refused) {
        // A range beyond the hosts is empty there, and a slip here.
        (_, (true, false)) if ours.stderr.contains("selects beyond") => None,
        (Compare::Refused | Compare::WholeOrRefused, (true, true)) => None,
        (Compare::Whole | Compare::Lines | Compare::WholeOrRefused, (false, false))
            if same(case.compare, &ours.stdout, &theirs.stdout) =>
        {
            None
        }
        _ => Some(format!(
            "--- ours: {}\n{}{}\n--- theirs: {}\n{}{}",
            ours.status, ours.stdout, ours.stderr, theirs.status, theirs.stdout, theirs.stderr
        )),
    }
}

/// What Python shows as objects of its own, or what Ansible would decrypt.
const PYTHON_OBJECTS: [&str; 4] = ["datetime", "2025", "encrypted", "ANSIBLE_VAULT"];

fn same(compare: Compare, ours: &str, theirs: &str) -> bool {
    if compare == Compare::Lines {
        let lines = |text: &str| -> Vec<String> {
            text.lines()
                .filter(|line| !PYTHON_OBJECTS.iter().any(|object| line.contains(object)))
                .map(str::to_owned)
                .collect()
        };
        return lines(ours) == lines(theirs);
    }
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    ours == theirs || parsed(ours).is_some_and(|ours| Some(ours) == parsed(theirs)) || same_yaml(ours, theirs)
}

/// Whether two answers of `--yaml` say the same with the same types; lines may be broken elsewhere.
fn same_yaml(ours: &str, theirs: &str) -> bool {
    let parsed = |text: &str| {
        let document = yaml::parse(text.as_bytes()).ok()?;
        // An answer in JSON is not taken for one in YAML.
        (!text.starts_with(['{', '['])).then_some(document?)
    };
    let values = |node: &yaml::Node| (types(node), scalar::json(node));
    parsed(ours).zip(parsed(theirs)).is_some_and(|(ours, theirs)| values(&ours) == values(&theirs))
}

/// The tags of a document, in order.
fn types(node: &yaml::Node) -> Vec<String> {
    let own = node.tag.iter().map(ToString::to_string);
    let below: Vec<String> = match &node.kind {
        yaml::Kind::Scalar(_) => Vec::new(),
        yaml::Kind::List(items) => items.iter().flat_map(types).collect(),
        yaml::Kind::Map(map) => map.entries.iter().flat_map(|field| types(&field.value)).collect(),
    };
    own.chain(below).collect()
}

/// The same cases, and those of `--list` once more in YAML.
pub fn and_in_yaml(cases: Vec<Case>) -> Vec<Case> {
    let in_yaml = |case: &Case| {
        let lists = case.arguments.iter().any(|argument| argument == "--list");
        let files = case.files.clone();
        let arguments = case.arguments.iter().cloned().chain(["--yaml".to_owned()]).collect();
        lists.then(|| Case { name: format!("{}, in YAML", case.name), files, arguments, compare: case.compare })
    };
    let more: Vec<Case> = cases.iter().filter_map(in_yaml).collect();
    cases.into_iter().chain(more).collect()
}
