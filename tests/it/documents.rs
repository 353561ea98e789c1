//! What the documents promise is checked against the code.

use bellwether::domain::actions::ActionsReport;
use bellwether::domain::overview::query::Folder;
use bellwether::domain::reported::Report;
use bellwether::domain::spec::DeviceSpec;
use bellwether::protocol::v1::actions::ActionsStatement;
use bellwether::protocol::v1::envelope::{Envelope, Statement};
use bellwether::protocol::v1::messages::{DumpAnswer, EnrollAnswer, EnrollRequest, ErrorBody, ReportAnswer};
use bellwether::protocol::v1::operator::{AttributesRequest, Done, SelectAnswer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads an example and writes it again: a field that the type does not know would be lost, a missing one refused.
#[track_caller]
fn check_example<T: DeserializeOwned + Serialize>(name: &str, json: &str) {
    let example: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{name} is not JSON: {error}"));
    let read: T = serde_json::from_str(json).unwrap_or_else(|error| panic!("{name} cannot be read: {error}"));
    let written = serde_json::to_value(read).expect("what was read can be written");
    assert_eq!(example, written, "{name} does not survive being read");
}

#[test]
fn every_example_of_the_protocol_is_what_the_code_reads() {
    let document = include_str!("../../docs/protocol.md");
    let examples: Vec<(&str, &str)> = document
        .split("```json ")
        .skip(1)
        .map(|rest| {
            let (name, rest) = rest.split_once('\n').expect("an example has a name and a body");
            (name, rest.split_once("```").expect("an example ends").0)
        })
        .collect();
    for (name, json) in &examples {
        match *name {
            "ActionsReport" => check_example::<ActionsReport>(name, json),
            "ActionsStatement" => check_example::<ActionsStatement>(name, json),
            "AttributesRequest" => check_example::<AttributesRequest>(name, json),
            "DeviceSpec" => check_example::<DeviceSpec>(name, json),
            "Done" => check_example::<Done>(name, json),
            "EnrollAnswer" => check_example::<EnrollAnswer>(name, json),
            "EnrollRequest" => check_example::<EnrollRequest>(name, json),
            "Envelope" => check_example::<Envelope>(name, json),
            "ErrorBody" => check_example::<ErrorBody>(name, json),
            "Folder" => check_example::<Folder>(name, json),
            "Report" => check_example::<Report>(name, json),
            "DumpAnswer" => check_example::<DumpAnswer>(name, json),
            "ReportAnswer" => check_example::<ReportAnswer>(name, json),
            "SelectAnswer" => check_example::<SelectAnswer>(name, json),
            "Statement" => check_example::<Statement>(name, json),
            other => panic!("no type is known for the example {other}"),
        }
    }
    assert_eq!(examples.len(), 15, "each message has one example");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = Vec::new();
    for folder in [root.to_path_buf(), root.join("docs"), root.join("docs/decisions")] {
        let entries = std::fs::read_dir(&folder).expect("list a folder of documents");
        let paths = entries.map(|entry| entry.expect("read a folder of documents").path());
        documents.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    let mut broken = Vec::new();
    for document in &documents {
        let text = std::fs::read_to_string(document).expect("read a document");
        let folder = document.parent().expect("a document is in a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link)) {
            let path = link.split('#').next().unwrap_or_default();
            let is_elsewhere = link.contains("://") || path.is_empty();
            if !is_elsewhere && !folder.join(path).exists() {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(documents.len() > 10, "the documents were found");
}
