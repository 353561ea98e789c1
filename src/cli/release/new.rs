//! `bellwether release new`: a release made from a Compose file, with every image named by its digest.

use super::invalidate::moves;
use crate::cli::console::{Console, Outcome};
use crate::cli::editing::{EditArgs, WorkTree, edit_output};
use crate::cli::fault::{Hint as _, usage, with_hint};
use crate::domain::edits::images::{ImagesError, ServiceImage, images, with_images, with_values};
use crate::domain::edits::release::{About, create, folder};
use crate::domain::edits::{Desk, sound};
use crate::domain::finding::Severity;
use crate::domain::ids::{AppName, DeviceType, Version};
use crate::domain::snapshot::MAX_FILE_BYTES;
use crate::logins::Credentials;
use crate::registry::{Registries, RegistrySettings};
use crate::threads;
use crate::trust::MAX_CA_FILE_BYTES;
use anyhow::{Context as _, anyhow};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Flags of `release new`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks the registries what the tags of the Compose file name now, and writes `name:tag@sha256:…` into the release; comments and order \
stay. Where an image is for several kinds of devices, that is the digest of its index; what services share by an anchor is written \
there. The release is checked as `bellwether check` does, the diff is shown before anything is written, and \
committing is up to you. A release that exists is never changed.

Examples:
  bellwether release new signage 1.6.0 --compose compose.yml --notes 'Menus in three languages'
  bellwether release new signage 2.0.0-rc.1 --compose compose.yml --draft --requires-type raspberrypi5
  bellwether release new signage 1.6.0 --compose compose.yml --set TAG=1.6.0     it says `image: signage:${TAG}`
  bellwether release new signage 1.6.0 --compose compose.yml --plain-http registry.local:5000")]
pub struct Args {
    /// The app
    #[arg(value_name = "APP")]
    pub app: AppName,
    /// The version, such as 1.6.0
    #[arg(value_name = "VERSION")]
    pub version: Version,
    /// The Compose file
    #[arg(long, value_name = "FILE")]
    pub compose: PathBuf,
    /// What changed, for people
    #[arg(long, value_name = "TEXT")]
    pub notes: Option<String>,
    /// Free metadata; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = parse_tag)]
    pub tags: Vec<(String, String)>,
    /// `latest` and ranges pass it over; an exact pin takes it
    #[arg(long)]
    pub draft: bool,
    /// A device type that it runs on [default: all]; may be given several times
    #[arg(long, value_name = "TYPE")]
    pub requires_type: Vec<DeviceType>,
    /// What a variable of the Compose file is, such as `${TAG}`: it is written in its place; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_set)]
    pub set: Vec<(String, String)>,
    /// Leave tags as they are, without asking any registry
    #[arg(long)]
    pub keep_tags: bool,
    /// How registries are asked.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// How files are changed.
    #[command(flatten)]
    pub edit: EditArgs,
}

/// How registries are asked.
#[derive(Clone, Debug, clap::Args)]
pub struct RegistryArgs {
    /// A registry that speaks no TLS; may be given several times
    #[arg(long, value_name = "HOST:PORT")]
    pub plain_http: Vec<String>,
    /// File with logins, as `docker login` writes it [default: config.json of Docker, if it is there]
    #[arg(long, value_name = "FILE", env = "BELLWETHER_REGISTRY_CONFIG", hide_env_values = true)]
    pub registry_config: Option<PathBuf>,
    /// Docker's folder, where its config.json is looked for
    #[arg(long, value_name = "PATH", env = "DOCKER_CONFIG", hide = true)]
    pub docker_config: Option<PathBuf>,
    /// Certificates of authorities to believe beside those of this machine (PEM)
    #[arg(long, value_name = "FILE")]
    pub registry_ca: Option<PathBuf>,
}

fn parse_tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

/// Values are put into YAML as they are, quoted or not, so they hold nothing that has a meaning there.
fn parse_set(text: &str) -> Result<(String, String), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '+');
    match text.split_once('=') {
        Some((name, value)) if crate::domain::ids::VariableName::new(name).is_ok() => {
            let is_plain = value.starts_with(|c: char| c.is_ascii_alphanumeric()) && !value.ends_with(':');
            match is_plain && value.chars().all(fits) {
                true => Ok((name.to_owned(), value.to_owned())),
                false => {
                    Err("a value is made of letters, digits and `._-/:@+`, and begins with one of the first two"
                        .to_owned())
                }
            }
        }
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// Runs `release new`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    edit_output(console)?;
    let Args { app, version, compose, notes, tags, draft, requires_type, set, keep_tags, registry, edit } = args;
    if semver::Version::parse(version.as_str()).is_err() {
        return Err(usage(format!("{version} is not a semantic version: write it as 1.6.0")));
    }
    let work = WorkTree::open(&edit.repo)?;
    let text = read_text(compose).with_context(|| format!("cannot read {}", compose.display()))?;
    let cannot_use = |error: ImagesError| match error.hint() {
        Some(hint) => with_hint(error.into(), hint),
        None => error.into(),
    };
    let text = with_values(&text, &set.iter().cloned().collect())
        .map_err(cannot_use)
        .with_context(|| format!("cannot use {}", compose.display()))?;
    let images = images(&text).map_err(cannot_use).with_context(|| format!("cannot use {}", compose.display()))?;
    let about = About {
        draft: *draft,
        notes: notes.clone(),
        tags: tags.iter().cloned().collect(),
        device_types: requires_type.iter().cloned().collect(),
    };
    // What can be refused without asking anybody is refused first.
    let mut resolver = threads::resolver();
    let mut desk = Desk::new(&work.snapshot);
    create(&mut desk, app, version, &about, &text)?;
    let names = if *keep_tags { BTreeMap::new() } else { resolve(&images, registry, console)? };
    let text = with_images(&text, &names)
        .map_err(cannot_use)
        .with_context(|| format!("cannot name the images of {} by digest", compose.display()))?;
    let mut desk = work.desk(&edit.list, &mut resolver, console)?;
    create(&mut desk, app, version, &about, &text)?;
    // Devices that track `latest` or a range go on to a new release; that is what it is for.
    let effect = sound(&desk, &mut resolver)?;
    let mut lines = moves(&effect, app, version);
    let own = format!("{}/", folder(app, version));
    let warnings = effect.after.findings.iter().filter(|finding| finding.severity == Severity::Warning);
    let known = |finding: &&crate::domain::finding::Finding| {
        finding.place.file.starts_with(&own) || !effect.before.findings.contains(finding)
    };
    lines.extend(warnings.filter(known).map(|finding| format!("warning: {}: {}", finding.place, finding.message)));
    work.finish(&desk, &lines, &format!("Release {app} {version}"), edit, console)
}

/// What each service's image is to be called: by the digest that it has now.
fn resolve(
    images: &[ServiceImage],
    args: &RegistryArgs,
    console: &Console,
) -> anyhow::Result<BTreeMap<String, String>> {
    let credentials = credentials(args)?;
    let authorities = match &args.registry_ca {
        Some(path) => authorities(path).with_context(|| format!("cannot use {}", path.display()))?,
        None => Vec::new(),
    };
    let plain_http = args.plain_http.iter().cloned().collect();
    let registries = Registries::new(RegistrySettings { plain_http, authorities, credentials })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime for network requests")?;
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    for ServiceImage { written, image, .. } in images.iter().filter(|one| one.written != one.image) {
        console.note(format!("{written} is {image}: nothing sets its variables here, so their defaults count"));
    }
    for image in images.iter().map(|one| &one.image).collect::<BTreeSet<_>>() {
        let digest = runtime.block_on(registries.digest(image)).map_err(|error| match error.hint() {
            Some(hint) => with_hint(error.into(), hint),
            None => error.into(),
        });
        let digest = digest.with_context(|| format!("cannot find out the digest of {image}"))?;
        let name = by_digest(image, &digest.to_string());
        if name != *image {
            console.note(format!("{image} is {digest}"));
        }
        names.insert(image, name);
    }
    let named = |one: &ServiceImage| Some((one.service.clone(), names.get(one.image.as_str())?.clone()));
    Ok(images.iter().filter_map(named).collect())
}

/// `name:tag@sha256:…`: the digest is what counts, the tag is for people.
fn by_digest(image: &str, digest: &str) -> String {
    if image.contains('@') {
        return image.to_owned();
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    let tag = if last.contains(':') { "" } else { ":latest" };
    format!("{image}{tag}@{digest}")
}

/// The logins of the file that was named, else of Docker's own if there is one.
fn credentials(args: &RegistryArgs) -> anyhow::Result<Credentials> {
    let found = || {
        let folder = args.docker_config.clone().or_else(|| Some(std::env::home_dir()?.join(".docker")))?;
        Some(folder.join("config.json")).filter(|path| path.exists())
    };
    match args.registry_config.clone().or_else(found) {
        Some(path) => Credentials::read(&path).hint("name another file with `--registry-config`"),
        None => Ok(Credentials::default()),
    }
}

fn authorities(path: &Path) -> anyhow::Result<Vec<reqwest::Certificate>> {
    let mut pem = Vec::new();
    std::fs::File::open(path)?.take(MAX_CA_FILE_BYTES as u64).read_to_end(&mut pem)?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem)?;
    if certificates.is_empty() { Err(anyhow!("it holds no certificate")) } else { Ok(certificates) }
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(anyhow!("it is longer than {MAX_FILE_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| anyhow!("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_its_digest_and_keeps_its_tag_for_people() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let check = |image: &str, wanted: &str| assert_eq!(by_digest(image, &digest), wanted.replace('#', &digest));
        check("web", "web:latest@#");
        check("registry:5000/web", "registry:5000/web:latest@#");
        check("registry:5000/web:1.2", "registry:5000/web:1.2@#");
        check(&format!("web@{digest}"), "web@#");
    }
}
