//! From inputs to settings: every value is checked, and every problem told.

use super::file::MAX_STAGES;
use super::fragment::{Given, Place, Setting, StageGiven};
use super::inputs::Inputs;
use super::{CertificateSource, ConfigError, LogFormat, LogLevel, LogSettings, SOCKET_NAME, Settings};
use crate::domain::digest::Digest;
use crate::domain::finding::{Code, codes};
use crate::domain::ids::{Actor, FleetName, NameError, StageName};
use crate::domain::manifest::compose::{HostRights, Privileged};
use crate::domain::manifest::near::nearest;
use crate::domain::manifest::problems::{Draft, show};
use crate::domain::manifest::yaml::Span;
use crate::domain::plan::policy::{Limit, MAX_SOAK_SECS, Promotion, StagePolicy};
use crate::secrets::{AllowList, BadPattern, Sources};
use rustls::pki_types::ServerName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Looks at the repo: often enough to be useful, seldom enough to be polite.
const POLL_SECS: RangeInclusive<u64> = 1..=86_400;
/// Sensible values are above the length of a poll, or devices are offline between two of them; thirty days are a long holiday.
const OFFLINE_AFTER_SECS: RangeInclusive<u64> = 1..=2_592_000;
/// The longest path of a Unix socket on Linux (`sun_path` without its NUL), in bytes.
const MAX_SOCKET_BYTES: usize = 107;

impl Inputs {
    /// The settings, or everything that is wrong.
    pub fn settings(self) -> Result<Settings, ConfigError> {
        let mut check = Check { inputs: &self, drafts: self.drafts.clone() };
        let settings = check.settings();
        let drafts = check.drafts;
        match settings {
            Some(settings) if drafts.is_empty() => Ok(settings),
            _ => Err(ConfigError::Invalid(self.source.findings(drafts))),
        }
    }
}

/// What is wrong with a text, and what to do about it.
pub(super) struct Wrong {
    code: Code,
    message: String,
    hint: Option<String>,
}

pub(super) fn wrong(code: Code, message: impl Into<String>) -> Wrong {
    Wrong { code, message: message.into(), hint: None }
}

impl Wrong {
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

pub(super) struct Check<'a> {
    pub(super) inputs: &'a Inputs,
    drafts: Vec<Draft>,
}

impl Check<'_> {
    /// Every setting is looked at before one that is missing ends it, so that all problems are found.
    fn settings(&mut self) -> Option<Settings> {
        let fleet = self.required("fleet", name::<FleetName>);
        let (repo, access) = self.repo();
        let signers = self.signers();
        let stages = self.stages();
        let data_dir = self.path("data_dir");
        let listen = self.text("listen", listen);
        let socket = self.socket(data_dir.as_deref());
        let certificate = self.certificate();
        let operators = self.operators();
        let poll_secs = self.text("poll_secs", |text| number(text, POLL_SECS));
        let offline_after_secs = self.text("offline_after_secs", |text| number(text, OFFLINE_AFTER_SECS));
        let log = self.log();
        let secrets = self.secrets();
        let lists = self.lists();
        let forge = self.forge(stages.as_deref().unwrap_or_default());
        Some(Settings {
            fleet: fleet?.0,
            repo: repo?,
            access: access?,
            signers: signers?,
            stages: stages?,
            data_dir: data_dir?,
            listen: listen?,
            socket: socket?,
            certificate: certificate?,
            operators: operators?,
            poll_secs: poll_secs?,
            offline_after_secs: i64::try_from(offline_after_secs?).ok()?,
            log: log?,
            secrets: secrets?,
            lists: lists?,
            forge: forge?,
        })
    }

    pub(super) fn tell(&mut self, place: &Place, problem: Wrong) {
        let Wrong { code, message, hint } = problem;
        self.drafts.push(Draft::error(&place.source, place.span, code, message).maybe_hint(hint));
    }

    pub(super) fn given(&self, key: &str) -> Option<Given> {
        self.inputs.all.texts.get(key).cloned()
    }

    /// Something that nobody said and somebody must.
    pub(super) fn missing(&mut self, key: &str, hint: String) {
        let message = format!("`{key}` is not set");
        self.drafts
            .push(Draft::error(&self.inputs.source.name, Span::default(), codes::MISSING_KEY, message).hint(hint));
    }

    pub(super) fn parse<T>(&mut self, given: &Given, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        parse(&given.value).map_err(|problem| self.tell(&given.place, problem)).ok()
    }

    /// A setting without a default.
    pub(super) fn required<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<(T, Place)> {
        let Some(given) = self.given(key) else {
            let setting = Setting::of(key);
            self.missing(
                key,
                format!("write `{key}: …` in the file, or set {} or {}", setting.flag(), setting.variable()),
            );
            return None;
        };
        self.parse(&given, parse).map(|value| (value, given.place))
    }

    /// A setting with a default.
    pub(super) fn text<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        match self.given(key) {
            Some(given) => self.parse(&given, parse),
            None => parse(Setting::of(key).default.unwrap_or_default()).ok(),
        }
    }

    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        match self.given(key) {
            Some(given) => self.parse(&given, |text| path(text, &given.place.folder)),
            None => Setting::of(key).default.map(PathBuf::from),
        }
    }

    fn socket(&mut self, data_dir: Option<&Path>) -> Option<PathBuf> {
        let given = self.given("socket").or_else(|| {
            // Derived from the data folder; a problem is then told at the data folder's place.
            let place = self.given("data_dir")?.place;
            Some(Given { value: data_dir?.join(SOCKET_NAME).to_str()?.to_owned(), place })
        });
        match given {
            Some(given) => self.parse(&given, |text| {
                let path = path(text, &given.place.folder)?;
                match path.as_os_str().len() {
                    0..=MAX_SOCKET_BYTES => Ok(path),
                    length => Err(wrong(
                        codes::BAD_VALUE,
                        format!("the socket's path would be {length} bytes long; the system takes {MAX_SOCKET_BYTES}"),
                    )
                    .hint("set `socket` to a shorter path, such as /run/bellwether.sock")),
                }
            }),
            None => Some(data_dir?.join(SOCKET_NAME)),
        }
    }

    fn certificate(&mut self) -> Option<CertificateSource> {
        let names = self.names();
        match (self.given("tls.cert"), self.given("tls.key")) {
            (None, None) => Some(CertificateSource::SelfMade { names: names? }),
            (Some(_), Some(_)) => {
                let (certificate, key) = (self.path("tls.cert"), self.path("tls.key"));
                Some(CertificateSource::Files { certificate: certificate?, key: key? })
            }
            (Some(given), None) => {
                self.tell(&given.place, wrong(codes::MISSING_KEY, "`tls.cert` is set without `tls.key`"));
                None
            }
            (None, Some(given)) => {
                self.tell(&given.place, wrong(codes::MISSING_KEY, "`tls.key` is set without `tls.cert`"));
                None
            }
        }
    }

    fn names(&mut self) -> Option<BTreeSet<String>> {
        let given = self.inputs.all.names.clone().map(|given| given.value).unwrap_or_default();
        let names: Vec<Option<String>> = given.iter().map(|one| self.parse(one, server_name)).collect();
        names.into_iter().collect()
    }

    fn stages(&mut self) -> Option<Vec<StagePolicy>> {
        let Some(given) = self.inputs.all.stages.clone().filter(|given| !given.value.is_empty()) else {
            let hint = "list the branches, least gated first: `stages: [main, canary, production]`";
            self.missing("stages", hint.to_owned());
            return None;
        };
        if given.value.len() > MAX_STAGES {
            let message = format!("there are {} stages; at most {MAX_STAGES} are accepted", given.value.len());
            self.tell(&given.place, wrong(codes::TOO_LARGE, message));
            return None;
        }
        let mut seen = BTreeSet::new();
        let stages: Vec<Option<StagePolicy>> = given.value.iter().map(|one| self.stage(one, &mut seen)).collect();
        stages.into_iter().collect()
    }

    fn stage(&mut self, given: &StageGiven, seen: &mut BTreeSet<StageName>) -> Option<StagePolicy> {
        let StageGiven {
            name: written,
            max_unstaged,
            deletion_budget,
            allowed_signers: _,
            keyring: _,
            host_paths,
            privileged,
            soak_secs,
            promotion,
        } = given;
        let name = self.parse(written, name::<StageName>);
        if let Some(name) = &name
            && !seen.insert(name.clone())
        {
            self.tell(&written.place, wrong(codes::DUPLICATE_KEY, format!("the stage `{name}` is listed twice")));
        }
        let mut or_default = |given: &Option<Given>, default| match given {
            Some(given) => self.parse(given, limit),
            None => Some(default),
        };
        let max_unstaged = or_default(max_unstaged, StagePolicy::MAX_UNSTAGED);
        let deletion_budget = or_default(deletion_budget, StagePolicy::DELETION_BUDGET);
        let host_paths: Vec<Option<String>> = host_paths.iter().map(|path| self.parse(path, host_path)).collect();
        let choices = [("true", Privileged::Allowed), ("false", Privileged::Refused)];
        let privileged = match privileged {
            Some(given) => self.parse(given, |text| one_of(text, &choices)),
            None => Some(Privileged::Refused),
        };
        let host = HostRights { host_paths: host_paths.into_iter().collect::<Option<_>>()?, privileged: privileged? };
        let soak_secs = match soak_secs {
            Some(given) => self.parse(given, |text| number(text, 0..=MAX_SOAK_SECS.into())),
            None => Some(0),
        };
        let soak_secs = u32::try_from(soak_secs?).unwrap_or(MAX_SOAK_SECS);
        let choices = [("any", Promotion::Any), ("verified", Promotion::Verified)];
        let of_first = seen.len() == 1;
        let promotion = match promotion {
            Some(given) => self.parse(given, |text| match one_of(text, &choices)? {
                Promotion::Verified if of_first => {
                    let problem = wrong(
                        codes::BAD_VALUE,
                        "no stage comes before the first one, so nothing can be verified there",
                    );
                    Err(problem.hint("write it at the stages after it"))
                }
                promotion => Ok(promotion),
            }),
            None => Some(Promotion::Any),
        };
        let (max_unstaged, deletion_budget) = (max_unstaged?, deletion_budget?);
        Some(StagePolicy { name: name?, max_unstaged, deletion_budget, host, soak_secs, promotion: promotion? })
    }

    fn operators(&mut self) -> Option<BTreeMap<Digest, Actor>> {
        let mut operators = BTreeMap::new();
        let mut names = BTreeSet::new();
        let given = self.inputs.all.operators.clone().map(|given| given.value).unwrap_or_default();
        for one in given {
            let name = self.parse(&one.name, name::<Actor>);
            let key = self.parse(&one.key_sha256, key_digest);
            let (Some(name), Some(key)) = (name, key) else { continue };
            if !names.insert(name.clone()) {
                self.tell(
                    &one.name.place,
                    wrong(codes::DUPLICATE_KEY, format!("the operator `{name}` is listed twice")),
                );
            }
            if operators.insert(key, name).is_some() {
                let problem =
                    wrong(codes::DUPLICATE_KEY, "two operators have this key").hint("give each a key of their own");
                self.tell(&one.key_sha256.place, problem);
            }
        }
        Some(operators)
    }

    fn secrets(&mut self) -> Option<Sources> {
        let environment = match self.given("secrets.env") {
            None => Some(None),
            Some(given) => self.parse(&given, |text| {
                let problem = |BadPattern(pattern)| {
                    let message = format!("`{}` is neither a variable nor the beginning of one", show(&pattern));
                    wrong(codes::BAD_VALUE, message).hint("write names, or beginnings with `*`: `FLEET_*, API_TOKEN`")
                };
                text.parse::<AllowList>().map_err(problem).map(Some)
            }),
        };
        let (directory, identity) = (self.path("secrets.directory"), self.path("secrets.identity"));
        Some(Sources { environment: environment?, directory, identity })
    }

    fn log(&mut self) -> Option<LogSettings> {
        let format =
            self.text("log.format", |text| one_of(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)]));
        let levels = [
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ];
        let level = self.text("log.level", |text| one_of(text, &levels));
        Some(LogSettings { format: format?, level: level? })
    }
}

fn name<T: FromStr<Err = NameError>>(text: &str) -> Result<T, Wrong> {
    text.parse().map_err(|NameError { kind, text, rule }| {
        wrong(codes::BAD_NAME, format!("`{}` is not a {kind}", show(&text))).hint(format!("a {kind} is {rule}"))
    })
}

pub(super) fn path(text: &str, folder: &Path) -> Result<PathBuf, Wrong> {
    if text.is_empty() || text.contains('\0') {
        return Err(wrong(codes::BAD_VALUE, "this is not a path"));
    }
    Ok(folder.join(text))
}

fn host_path(text: &str) -> Result<String, Wrong> {
    let is_plain = text.starts_with('/') && !text.split('/').any(|part| matches!(part, "." | ".."));
    if is_plain {
        return Ok(text.to_owned());
    }
    let problem = wrong(codes::BAD_VALUE, format!("`{}` is not an absolute path of a device", show(text)));
    Err(problem.hint("write a path such as /run/dbus; what is below it is allowed as well"))
}

fn listen(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        wrong(codes::BAD_VALUE, format!("`{}` is not an address and port", show(text)))
            .hint("write numbers, such as 0.0.0.0:8443 for every address, or [::1]:8443")
    })
}

pub(super) fn number(text: &str, range: RangeInclusive<u64>) -> Result<u64, Wrong> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| plain && range.contains(number)).ok_or_else(|| {
        let (from, to) = range.into_inner();
        wrong(codes::BAD_NUMBER, format!("`{}` is not a whole number from {from} to {to}", show(text)))
    })
}

fn server_name(text: &str) -> Result<String, Wrong> {
    match ServerName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(wrong(codes::BAD_NAME, format!("`{}` is neither a DNS name nor an address", show(text)))),
    }
}

fn key_digest(text: &str) -> Result<Digest, Wrong> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    format!("sha256:{digits}").parse().map_err(|_| {
        // Somebody may have written the key itself there: it is not shown.
        wrong(codes::BAD_VALUE, "`key_sha256` is not the SHA-256 of a key: 64 lower-case hexadecimal digits")
            .hint("make it with `printf %s \"$KEY\" | sha256sum`")
    })
}

pub(super) fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Wrong> {
    choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let hint = match nearest(text, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of: {}", names.join(", ")),
        };
        wrong(codes::BAD_VALUE, format!("`{}` is not one of the choices", show(text))).hint(hint)
    })
}

/// A count (`5`), or a share (`2.5%`) of which there is always at least one device.
fn limit(text: &str) -> Result<Limit, Wrong> {
    let problem = || {
        wrong(codes::BAD_NUMBER, format!("`{}` is neither a number of devices nor a share", show(text)))
            .hint("write a whole number such as 5, or a share such as 1% or 0.5%, at most 100%")
    };
    match text.strip_suffix('%') {
        Some(share) => {
            let per_ten_thousand = hundredths(share.trim_end()).filter(|share| *share <= 10_000).ok_or_else(problem)?;
            Ok(Limit { at_least: 1, per_ten_thousand })
        }
        None => {
            let at_least = number(text, 0..=1_000_000).map_err(|_| problem())?;
            Ok(Limit { at_least: usize::try_from(at_least).map_err(|_| problem())?, per_ten_thousand: 0 })
        }
    }
}

/// A number with at most two decimals, in hundredths. Not a float: what people write is what counts.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |part: &str, longest| (1..=longest).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole, 4) || !digits(decimals, 2) {
        return None;
    }
    let decimals = format!("{decimals:0<2}");
    Some(whole.parse::<u32>().ok()? * 100 + decimals.parse::<u32>().ok()?)
}
