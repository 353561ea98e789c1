//! A host with Linux. Names, links and files are changed where every program looks for them; no program is run for it.

use super::folder::{Entry, Folder, Way};
use super::{hooks, journal};
use crate::domain::device::action::Failure;
use crate::domain::device::host::{Change, FoundFile, FoundHost, FoundValue, HookEnd, HookFailure, HostAsk, Logging};
use crate::domain::digest::Digest;
use crate::domain::ids::{FilePath, HookName, Hostname, SysctlName, ZoneName};
use crate::domain::spec::{FileMode, HostFile, Subject};
use crate::ports::host::{Host, Told};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// How much of a file is read, in bytes: more than any that the fleet repo can ask for, secrets included, so that a longer one
/// is another one.
const MAX_READ: u64 = 4 << 20;
/// How much of a short text is read, in bytes.
const MAX_TEXT: u64 = 4096;
/// The mode of files that every program reads.
const PUBLIC: u32 = 0o644;
/// Where the database of time zones is, below the root.
const ZONES: &str = "usr/share/zoneinfo";

/// What the device's owner lets the fleet repo do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinuxSettings {
    /// What stands for `/`.
    pub root: PathBuf,
    /// The directory of files; `None` lets the repo write none.
    pub files: Option<PathBuf>,
    /// The directory of hooks; `None` lets the repo run none.
    pub hooks: Option<PathBuf>,
    /// How the names of settings of the kernel begin that the repo may set.
    pub sysctl: Vec<String>,
    /// The file whose text changes with each boot.
    pub boot_id_file: PathBuf,
    /// What reboots the machine.
    pub reboot: Vec<String>,
}

/// A host with Linux.
#[derive(Clone, Debug)]
pub struct LinuxHost(LinuxSettings);

impl LinuxHost {
    /// The host of this machine.
    pub fn new(settings: LinuxSettings) -> Self {
        Self(settings)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.root.join(path)
    }

    fn look_now(&self, ask: &HostAsk) -> FoundHost {
        let mut found = FoundHost {
            boot_id: read_text(&self.0.boot_id_file).ok().flatten().unwrap_or_default(),
            ..FoundHost::default()
        };
        for subject in &ask.subjects {
            match self.read(subject) {
                Ok(value) => found.values.extend(value.map(|value| (subject.clone(), value))),
                Err(failure) => _ = found.unread.insert(subject.clone(), failure),
            }
            found.refused.extend(self.refusal(subject).map(|failure| (subject.clone(), failure)));
        }
        let refused = |hook: &HookName| Some((hook.clone(), hooks::program(self.0.hooks.as_deref(), hook).err()?));
        found.refused_hooks = ask.hooks.iter().filter_map(refused).collect();
        found
    }

    /// Why something may not be set here, whatever the fleet repo says.
    fn refusal(&self, subject: &Subject) -> Option<Failure> {
        let message = match subject {
            Subject::Hostname | Subject::TimeZone | Subject::PersistentLogging => return None,
            Subject::Sysctl(name) if self.0.sysctl.iter().any(|prefix| name.as_str().starts_with(prefix.as_str())) => {
                return None;
            }
            Subject::Sysctl(name) => {
                format!("this device does not let `{name}` be set; see `allow_sysctl` in its agent's configuration")
            }
            Subject::File(_) if self.0.files.is_some() => return None,
            Subject::File(_) => {
                "this device takes no files; set `host_files` in its agent's configuration to their directory"
                    .to_owned()
            }
        };
        Some(Failure { reason: "NotAllowed", message })
    }

    fn read(&self, subject: &Subject) -> Result<Option<FoundValue>, Failure> {
        let unread =
            |error: io::Error| Failure { reason: "NotReadable", message: format!("it cannot be read: {error}") };
        let text = match subject {
            Subject::Hostname => self.hostname().map_err(unread)?,
            Subject::TimeZone => self.time_zone().map_err(unread)?,
            Subject::PersistentLogging => {
                let Some(logging) = journal::found(&self.0.root) else {
                    let message = "this host has no journal of systemd's".to_owned();
                    return Err(Failure { reason: "NoJournal", message });
                };
                Some(logging.flag().to_string())
            }
            Subject::Sysctl(name) => read_text(&self.sysctl_file(name)).map_err(unread)?,
            Subject::File(path) => return self.file(path).map_err(unread).map(|file| file.map(FoundValue::File)),
        };
        Ok(text.map(FoundValue::Text))
    }

    /// The name that the kernel has, if it is also the one of the next boot.
    fn hostname(&self) -> io::Result<Option<String>> {
        let now = read_text(&self.at("proc/sys/kernel/hostname"))?.unwrap_or_default();
        let next = read_text(&self.at("etc/hostname"))?;
        Ok(Some(match next {
            Some(next) if next == now => now,
            Some(next) => format!("{now} until the next boot, then {next}"),
            None => format!("{now} until the next boot"),
        }))
    }

    fn time_zone(&self) -> io::Result<Option<String>> {
        let entry = Folder::open(&self.at("etc"))?.entry("localtime", MAX_TEXT)?;
        Ok(match entry {
            // That is what it means.
            None => Some("UTC".to_owned()),
            Some(Entry::Link(target)) => {
                Some(target.rsplit_once("zoneinfo/").map_or_else(|| target.clone(), |(_, zone)| zone.to_owned()))
            }
            Some(Entry::File(..) | Entry::Other) => Some("a file of its own".to_owned()),
        })
    }

    fn sysctl_file(&self, name: &SysctlName) -> PathBuf {
        self.at("proc/sys").join(name.as_str().replace('.', "/"))
    }

    fn file(&self, path: &FilePath) -> io::Result<Option<FoundFile>> {
        let Some(files) = &self.0.files else { return Ok(None) };
        let folder = match Folder::open(files)
            .and_then(|folder| folder.walk(path.as_str(), Way::Find).map(|(folder, name)| (folder, name.to_owned())))
        {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            walked => walked?,
        };
        match folder.0.entry(&folder.1, MAX_READ)? {
            None => Ok(None),
            Some(Entry::File(bytes, mode, length)) => {
                Ok(Some(FoundFile { digest: Digest::of(&bytes), mode: FileMode::of_bits(mode), bytes: length }))
            }
            Some(Entry::Link(_)) => Err(io::Error::other("it is a symbolic link, which is never followed")),
            Some(Entry::Other) => Err(io::Error::other("it is no file")),
        }
    }

    async fn change_one(&self, change: &Change) -> Result<(), Failure> {
        if let Some(failure) = self.refusal(&change.subject()) {
            return Err(failure);
        }
        match change {
            Change::Hostname(name) => self.set_hostname(name).map_err(not_changed),
            Change::TimeZone(zone) => self.set_time_zone(zone),
            Change::PersistentLogging(logging) => self.set_logging(*logging).await.map_err(not_changed),
            // Written in place: the kernel takes it as one.
            Change::Sysctl(name, value) => std::fs::write(self.sysctl_file(name), value).map_err(not_changed),
            Change::Write(path, file) => self.write(path, file).map_err(not_changed),
            Change::Remove(path) => self.remove(path).map_err(not_changed),
        }
    }

    fn set_hostname(&self, name: &Hostname) -> io::Result<()> {
        // The file first: a crash between the two is seen, because both are read.
        Folder::open(&self.at("etc"))?.write("hostname", format!("{name}\n").as_bytes(), PUBLIC)?;
        std::fs::write(self.at("proc/sys/kernel/hostname"), name.as_str())
    }

    fn set_time_zone(&self, zone: &ZoneName) -> Result<(), Failure> {
        if !self.at(ZONES).join(zone.as_str()).is_file() {
            let message = format!("this host has no time zone {zone} in /{ZONES}; its OS has to bring it");
            return Err(Failure { reason: "UnknownTimeZone", message });
        }
        let set = || {
            let etc = Folder::open(&self.at("etc"))?;
            if let Some(Entry::File(..)) = etc.entry("timezone", MAX_TEXT)? {
                etc.write("timezone", format!("{zone}\n").as_bytes(), PUBLIC)?;
            }
            etc.link("localtime", &format!("../{ZONES}/{zone}"))
        };
        set().map_err(not_changed)
    }

    async fn set_logging(&self, logging: Logging) -> io::Result<()> {
        let path = format!("systemd/journald.conf.d/{}", journal::DROP_IN);
        let (folder, name) = Folder::open(&self.at("etc"))?.walk(&path, Way::Make)?;
        folder.write(name, journal::drop_in(logging).as_bytes(), PUBLIC)?;
        // Another root has no journal that runs.
        if self.0.root == Path::new("/") { journal::restart().await } else { Ok(()) }
    }

    fn write(&self, path: &FilePath, file: &HostFile) -> io::Result<()> {
        let (folder, name) = self.files()?.walk(path.as_str(), Way::Make)?;
        match folder.entry(name, 0)? {
            None | Some(Entry::File(..)) => folder.write(name, file.content.as_bytes(), file.mode.bits()),
            Some(Entry::Link(_) | Entry::Other) => Err(io::Error::other("something else than a file is there")),
        }
    }

    fn remove(&self, path: &FilePath) -> io::Result<()> {
        match self.files()?.walk(path.as_str(), Way::Find) {
            Ok((folder, name)) => folder.remove(name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn files(&self) -> io::Result<Folder> {
        Folder::open(self.0.files.as_deref().unwrap_or(Path::new("/nonexistent")))
    }
}

fn not_changed(error: io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; the agent's unit has to let it, see docs/host.md"
        }
        _ => "",
    };
    Failure { reason: "HostNotChanged", message: format!("{error}{hint}") }
}

/// A short text, without blanks around it and with single ones inside.
fn read_text(path: &Path) -> io::Result<Option<String>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MAX_TEXT).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some(text.split_whitespace().collect::<Vec<_>>().join(" ")))
}

impl Host for LinuxHost {
    fn look<'a>(&'a self, ask: &'a HostAsk) -> Told<'a, FoundHost> {
        Box::pin(async { self.look_now(ask) })
    }

    fn change<'a>(&'a self, changes: &'a [Change]) -> Told<'a, BTreeMap<Subject, Failure>> {
        Box::pin(async move {
            let mut troubles = BTreeMap::new();
            for change in changes {
                if let Err(failure) = self.change_one(change).await {
                    troubles.insert(change.subject(), failure);
                }
            }
            troubles
        })
    }

    fn run_hook<'a>(
        &'a self,
        hook: &'a HookName,
        because: &'a BTreeSet<Subject>,
    ) -> Told<'a, Result<HookEnd, HookFailure>> {
        Box::pin(async {
            let path = hooks::program(self.0.hooks.as_deref(), hook)
                .map_err(|failure| HookFailure { failure, log: Vec::new() })?;
            hooks::run(&path, hook, because, self.0.files.as_deref()).await
        })
    }

    fn reboot(&self) -> Told<'_, Result<(), Failure>> {
        Box::pin(crate::agent::errands::reboot(&self.0.reboot))
    }
}
