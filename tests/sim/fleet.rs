//! Fleet repos as people write them: a small model of one branch, its files, and the edits that people make.

use crate::stream::Stream;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The stages, least gated first.
pub const STAGES: [&str; 3] = ["main", "canary", "production"];
/// Releases of the app `web`. 1.2.0 has the content of 1.1.0: another version alone must restart nothing.
const RELEASES: [&str; 4] = ["1.0.0", "1.1.0", "1.2.0", "2.0.0"];

/// The files of one branch.
#[derive(Clone, Debug)]
pub struct FleetText {
    /// Hosts by name.
    pub hosts: BTreeMap<String, HostText>,
    /// A variable of all devices.
    pub shared: u64,
    /// The repo's own limit of changes at once.
    pub limit: Option<u64>,
    /// The inventory.
    pub inventory: InventoryText,
    /// What `fleet.yml` calls the fleet.
    pub name: &'static str,
}

/// The fleet of the controller.
pub const FLEET: &str = "sim";

/// The state of `inventory.yml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InventoryText {
    Sound,
    Broken,
    Missing,
}

/// One host.
#[derive(Clone, Debug)]
pub struct HostText {
    pub branch: BranchText,
    pub release: usize,
    pub value: u64,
    pub tool: Option<u64>,
    pub os: Option<u64>,
    pub hold: bool,
    pub file: FileText,
}

/// What a host says of its branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchText {
    Stage(usize),
    /// The device chooses main or canary.
    Device,
    Unset,
}

/// The state of a host's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileText {
    Sound,
    /// It names a release that does not exist: the branch is known, the content is not.
    Faulty,
    /// It is no YAML: not even the branch is known.
    Unreadable,
}

impl FleetText {
    /// A fleet whose devices are spread over the stages.
    pub fn new(names: &[String], chance: &mut Stream) -> Self {
        let hosts = names.iter().map(|name| (name.clone(), HostText::new(chance))).collect();
        Self { hosts, shared: 0, limit: None, inventory: InventoryText::Sound, name: FLEET }
    }

    /// Every file by path.
    pub fn files(&self) -> Vec<(String, String)> {
        let mut files = Vec::new();
        let limits = self.limit.map(|limit| format!("limits: {{ max_unstaged: {limit} }}\n")).unwrap_or_default();
        files
            .push(("fleet.yml".to_owned(), format!("name: {}\napps:\n  web: {{}}\n  tool: {{}}\n{limits}", self.name)));
        match self.inventory {
            InventoryText::Missing => {}
            InventoryText::Broken => files.push(("inventory.yml".to_owned(), "all: { hosts: [\n".to_owned())),
            InventoryText::Sound => files.push(("inventory.yml".to_owned(), self.inventory())),
        }
        let all = format!("device_type: box\nvariables:\n  SHARED: \"{}\"\n", self.shared);
        files.push(("group_vars/all.yml".to_owned(), all));
        for (name, host) in &self.hosts {
            files.push((format!("host_vars/{name}.yml"), host.text()));
        }
        for version in RELEASES {
            files.push((format!("releases/web/{version}/release.yml"), format!("version: {version}\n")));
            files.push((format!("releases/web/{version}/compose.yml"), compose(version).to_owned()));
        }
        files.push(("releases/tool/1.0.0/release.yml".to_owned(), "version: 1.0.0\n".to_owned()));
        files.push(("releases/tool/1.0.0/compose.yml".to_owned(), TOOL.to_owned()));
        for number in 1..=2 {
            files.push((format!("os/os-{number}.yml"), format!("box: {{ version: 20.{number} }}\n")));
        }
        files
    }

    fn inventory(&self) -> String {
        let mut text = "all:\n  hosts:\n".to_owned();
        for name in self.hosts.keys() {
            let _ = writeln!(text, "    {name}:");
        }
        text
    }

    /// One edit; says what it was.
    pub fn edit(&mut self, all_names: &[String], chance: &mut Stream) -> String {
        let names: Vec<String> = self.hosts.keys().cloned().collect();
        let Some(name) = chance.pick(&names).cloned() else {
            return self.add(all_names, chance);
        };
        let host = self.hosts.get_mut(&name).expect("it was picked from the hosts");
        match chance.below(100) {
            0..=24 => {
                host.value += 1;
                format!("{name}: other value")
            }
            25..=36 => {
                host.release = chance.below(RELEASES.len() as u64) as usize;
                format!("{name}: web {}", RELEASES[host.release])
            }
            37..=42 => {
                host.tool = chance.happens(600).then(|| chance.below(3));
                format!("{name}: tool {:?}", host.tool)
            }
            43..=46 => {
                host.os = chance.happens(700).then(|| 1 + chance.below(2));
                format!("{name}: os {:?}", host.os)
            }
            47..=60 => {
                host.branch = BranchText::any(chance);
                format!("{name}: branch {:?}", host.branch)
            }
            61..=66 => {
                host.hold = !host.hold;
                format!("{name}: hold {}", host.hold)
            }
            67..=74 => {
                host.file = [FileText::Sound, FileText::Faulty, FileText::Unreadable][chance.below(3) as usize];
                format!("{name}: file {:?}", host.file)
            }
            75..=81 => {
                self.hosts.remove(&name);
                format!("{name}: line deleted")
            }
            82..=86 => self.add(all_names, chance),
            87..=93 => {
                self.shared += 1;
                "all: other value".to_owned()
            }
            94..=95 => {
                self.limit = chance.happens(500).then(|| chance.below(4));
                format!("limit {:?}", self.limit)
            }
            96 if chance.happens(500) => {
                self.name = "another";
                "another fleet".to_owned()
            }
            96 => {
                self.hosts.clear();
                "every line deleted".to_owned()
            }
            _ => {
                self.inventory = match self.inventory {
                    InventoryText::Sound if chance.happens(500) => InventoryText::Broken,
                    InventoryText::Sound => InventoryText::Missing,
                    InventoryText::Broken | InventoryText::Missing => InventoryText::Sound,
                };
                format!("inventory {:?}", self.inventory)
            }
        }
    }

    fn add(&mut self, all_names: &[String], chance: &mut Stream) -> String {
        let missing: Vec<&String> = all_names.iter().filter(|name| !self.hosts.contains_key(*name)).collect();
        match chance.pick(&missing) {
            Some(name) => {
                self.hosts.insert((*name).clone(), HostText::new(chance));
                format!("{name}: line added")
            }
            None => "nothing".to_owned(),
        }
    }

    /// Makes everything readable again.
    pub fn repair(&mut self) {
        self.inventory = InventoryText::Sound;
        self.name = FLEET;
        for host in self.hosts.values_mut() {
            host.file = FileText::Sound;
        }
    }
}

impl HostText {
    fn new(chance: &mut Stream) -> Self {
        let branch = if chance.happens(100) { BranchText::Device } else { BranchText::Stage(chance.below(3) as usize) };
        let tool = chance.happens(400).then(|| chance.below(3));
        Self {
            branch,
            release: chance.below(2) as usize,
            value: chance.below(1000),
            tool,
            os: None,
            hold: false,
            file: FileText::Sound,
        }
    }

    fn text(&self) -> String {
        let release = match self.file {
            FileText::Unreadable => return "branch: [\n".to_owned(),
            FileText::Faulty => "9.9.9",
            FileText::Sound => RELEASES[self.release],
        };
        let mut text = match self.branch {
            BranchText::Stage(stage) => format!("branch: {}\n", STAGES[stage]),
            BranchText::Device => "branch: { from: device, allowed: [main, canary] }\n".to_owned(),
            BranchText::Unset => String::new(),
        };
        let _ = writeln!(text, "variables:\n  VALUE: \"{}\"\npins:\n  web: {release}", self.value);
        if self.tool.is_some() {
            text.push_str("  tool: 1.0.0\n");
        }
        if let Some(level) = self.tool {
            let _ = writeln!(text, "services:\n  tool/run:\n    variables:\n      LEVEL: \"{level}\"");
        }
        if let Some(os) = self.os {
            let _ = writeln!(text, "os: os-{os}");
        }
        let _ = writeln!(
            text,
            "config:\n  files: {{value: {{content: \"{}\"}}}}\n  hooks: {{reload: [files]}}",
            self.value
        );
        if self.hold {
            text.push_str("hold: { reason: on the bench }\n");
        }
        text
    }
}

impl BranchText {
    fn any(chance: &mut Stream) -> Self {
        match chance.below(20) {
            0..=1 => Self::Device,
            2 => Self::Unset,
            _ => Self::Stage(chance.below(3) as usize),
        }
    }
}

/// The only service of the app `tool`.
const TOOL: &str = "services:\n  run:\n    image: example/tool:1\n    restart: unless-stopped\n";

fn compose(version: &str) -> &'static str {
    match version {
        "1.0.0" => {
            "services:\n  app:\n    image: example/app:1\n    depends_on: [db]\n    ports: [\"8080:80\"]\n  db:\n    image: example/db:1\n    volumes: [\"data:/data\"]\nvolumes:\n  data:\n"
        }
        "1.1.0" | "1.2.0" => {
            "services:\n  app:\n    image: example/app:2\n    depends_on: [db]\n    ports: [\"8080:80\"]\n  db:\n    image: example/db:1\n    volumes: [\"data:/data\"]\nvolumes:\n  data:\n"
        }
        // The port moves to another service, and a service goes.
        _ => {
            "services:\n  app:\n    image: example/app:3\n    volumes: [\"cache:/cache\"]\n  front:\n    image: example/front:1\n    depends_on: [app]\n    ports: [\"8080:80\"]\nvolumes:\n  cache:\n"
        }
    }
}
