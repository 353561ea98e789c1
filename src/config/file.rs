//! The file `bellwether.yml`.

use super::fragment::{Fragment, Given, ListGiven, OperatorGiven, Place, Setting, StageGiven};
use crate::domain::manifest::problems::Problems;
use crate::domain::manifest::read::{Extensions, Keys, fields, list, missing, text};
use crate::domain::manifest::yaml::{self, Kind, Node, Span, YamlError};
use std::path::Path;
use std::sync::Arc;

/// How many stages there can be. Each is a branch that somebody merges into by hand.
pub(super) const MAX_STAGES: usize = 64;

const ROOT: Keys = Keys {
    what: "the configuration",
    known: &[
        "fleet",
        "repo",
        "stages",
        "data_dir",
        "listen",
        "names",
        "tls",
        "socket",
        "operators",
        "poll_secs",
        "offline_after_secs",
        "log",
        "git",
        "secrets",
        "inventories",
        "forge",
    ],
    later: &["database", "metrics"],
    extensions: Extensions::Ignored,
};
const TLS: Keys = Keys { what: "`tls`", known: &["cert", "key"], later: &[], extensions: Extensions::Unknown };
const LOG: Keys = Keys { what: "`log`", known: &["format", "level"], later: &[], extensions: Extensions::Unknown };
const GIT: Keys = Keys {
    what: "`git`",
    known: &[
        "user",
        "token_file",
        "ca_file",
        "ssh_key_file",
        "known_hosts_file",
        "ssh_agent",
        "timeout_secs",
        "plain_http",
    ],
    later: &[],
    extensions: Extensions::Unknown,
};
const SIGNERS: Keys =
    Keys { what: "`signers`", known: &["ssh", "openpgp"], later: &[], extensions: Extensions::Unknown };
const SECRETS: Keys =
    Keys { what: "`secrets`", known: &["env", "directory", "identity"], later: &[], extensions: Extensions::Unknown };
const FORGE: Keys = Keys {
    what: "`forge`",
    known: &["repository", "api", "token_file", "app_id", "app_key", "stages", "link", "webhook_secret_file"],
    later: &[],
    extensions: Extensions::Unknown,
};
const STAGE: Keys = Keys {
    what: "a stage",
    known: &[
        "name",
        "max_unstaged",
        "deletion_budget",
        "signers",
        "host_paths",
        "privileged",
        "soak_secs",
        "promotion",
    ],
    later: &[],
    extensions: Extensions::Unknown,
};
const LIST: Keys = Keys {
    what: "an inventory",
    known: &["url", "signed_by", "signature", "ca", "cert", "key"],
    later: &[],
    extensions: Extensions::Unknown,
};
const OPERATOR: Keys = Keys {
    what: "an operator",
    known: &["name", "key_sha256"],
    later: &["role", "expires"],
    extensions: Extensions::Unknown,
};

/// Reads the file's bytes. What is wrong inside goes to `problems`, whose file is the path that people know it by; an error means
/// that nothing of it could be read.
pub(super) fn read(bytes: &[u8], folder: &Arc<Path>, problems: &mut Problems) -> Result<Fragment, YamlError> {
    let mut reading = Reading { folder: folder.clone(), fragment: Fragment::default(), problems };
    // A file with comments only says nothing.
    if let Some(root) = yaml::parse(bytes)? {
        reading.root(&root);
    }
    Ok(reading.fragment)
}

struct Reading<'a> {
    folder: Arc<Path>,
    fragment: Fragment,
    problems: &'a mut Problems,
}

impl Reading<'_> {
    fn root(&mut self, root: &Node) {
        for field in fields(root, &ROOT, self.problems).unwrap_or_default() {
            let value = &field.value;
            match &*field.key.text {
                "stages" => self.stages(value),
                "names" => self.names(value),
                "operators" => self.operators(value),
                "inventories" => self.lists(value),
                "tls" => self.section(value, &TLS, "tls"),
                "log" => self.section(value, &LOG, "log"),
                "git" => self.section(value, &GIT, "git"),
                "secrets" => self.section(value, &SECRETS, "secrets"),
                "forge" => self.section(value, &FORGE, "forge"),
                key => self.scalar(value, key),
            }
        }
    }

    fn section(&mut self, node: &Node, keys: &Keys, section: &str) {
        for field in fields(node, keys, self.problems).unwrap_or_default() {
            self.scalar(&field.value, &format!("{section}.{}", field.key.text));
        }
    }

    fn scalar(&mut self, node: &Node, key: &str) {
        if let Some(given) = self.text(node, &format!("`{key}`")) {
            self.fragment.texts.insert(Setting::of(key).key, given);
        }
    }

    fn text(&mut self, node: &Node, what: &str) -> Option<Given> {
        let value = text(node, what, self.problems)?.to_owned();
        Some(Given { value, place: self.place(node.span) })
    }

    fn place(&self, span: Span) -> Place {
        Place { source: self.problems.file().clone(), span, folder: self.folder.clone() }
    }

    fn stages(&mut self, node: &Node) {
        let Some(items) = list(node, "`stages`", self.problems) else { return };
        let stages = items.iter().filter_map(|item| self.stage(item)).collect();
        self.fragment.stages = Some(Given { value: stages, place: self.place(node.span) });
    }

    /// A name, or a mapping with a name.
    fn stage(&mut self, node: &Node) -> Option<StageGiven> {
        if !matches!(node.kind, Kind::Map(_)) {
            let name = self.text(node, "a stage")?;
            return Some(StageGiven::named(name));
        }
        fields(node, &STAGE, self.problems)?;
        let field = |this: &mut Self, key: &str| {
            let Kind::Map(map) = &node.kind else { return None };
            this.text(map.value(key)?, &format!("`{key}`"))
        };
        let (max_unstaged, deletion_budget) = (field(self, "max_unstaged"), field(self, "deletion_budget"));
        let (allowed_signers, keyring) = self.signers(node);
        let (privileged, soak_secs) = (field(self, "privileged"), field(self, "soak_secs"));
        let promotion = field(self, "promotion");
        let Kind::Map(map) = &node.kind else { return None };
        let host_paths = map.value("host_paths").map(|paths| {
            let items = list(paths, "`host_paths`", self.problems).unwrap_or_default();
            items.iter().filter_map(|item| self.text(item, "a path")).collect()
        });
        let host_paths = host_paths.unwrap_or_default();
        let name = self.required(node, "a stage", "name")?;
        Some(StageGiven {
            name,
            max_unstaged,
            deletion_budget,
            allowed_signers,
            keyring,
            host_paths,
            privileged,
            soak_secs,
            promotion,
        })
    }

    /// The files of a stage's `signers`. An empty mapping is an error: it looks as if signatures were asked for.
    fn signers(&mut self, stage: &Node) -> (Option<Given>, Option<Given>) {
        let Kind::Map(map) = &stage.kind else { return (None, None) };
        let Some(signers) = map.value("signers") else { return (None, None) };
        if fields(signers, &SIGNERS, self.problems).is_none() {
            return (None, None);
        }
        let Kind::Map(map) = &signers.kind else { return (None, None) };
        let mut file = |key: &str| self.text(map.value(key)?, &format!("`{key}`"));
        let (allowed_signers, keyring) = (file("ssh"), file("openpgp"));
        if map.value("ssh").is_none() && map.value("openpgp").is_none() {
            missing(signers.span, "`signers`", "ssh", self.problems);
        }
        (allowed_signers, keyring)
    }

    fn names(&mut self, node: &Node) {
        let Some(items) = list(node, "`names`", self.problems) else { return };
        let names = items.iter().filter_map(|item| self.text(item, "a name")).collect();
        self.fragment.names = Some(Given { value: names, place: self.place(node.span) });
    }

    fn operators(&mut self, node: &Node) {
        let Some(items) = list(node, "`operators`", self.problems) else { return };
        let operators = items.iter().filter_map(|item| self.operator(item)).collect();
        self.fragment.operators = Some(Given { value: operators, place: self.place(node.span) });
    }

    fn lists(&mut self, node: &Node) {
        let Some(items) = list(node, "`inventories`", self.problems) else { return };
        let lists = items.iter().filter_map(|item| self.list(item)).collect();
        self.fragment.lists = Some(Given { value: lists, place: self.place(node.span) });
    }

    fn list(&mut self, node: &Node) -> Option<ListGiven> {
        fields(node, &LIST, self.problems)?;
        let url = self.required(node, "an inventory", "url")?;
        let Kind::Map(map) = &node.kind else { return None };
        let mut field = |key: &str| self.text(map.value(key)?, &format!("`{key}`"));
        let (signature, signed_by, ca) = (field("signature"), field("signed_by"), field("ca"));
        let (cert, key) = (field("cert"), field("key"));
        Some(ListGiven { url, signature, signed_by, ca, cert, key })
    }

    fn operator(&mut self, node: &Node) -> Option<OperatorGiven> {
        fields(node, &OPERATOR, self.problems)?;
        let name = self.required(node, "an operator", "name");
        let key_sha256 = self.required(node, "an operator", "key_sha256");
        Some(OperatorGiven { name: name?, key_sha256: key_sha256? })
    }

    fn required(&mut self, node: &Node, what: &str, key: &str) -> Option<Given> {
        let Kind::Map(map) = &node.kind else { return None };
        match map.value(key) {
            Some(value) => self.text(value, &format!("`{key}`")),
            None => {
                missing(node.span, what, key, self.problems);
                None
            }
        }
    }
}
