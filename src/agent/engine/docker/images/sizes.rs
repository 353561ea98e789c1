//! How much there is to download, asked of the registry before anything is fetched.
//!
//! Engines do not tell. The registry does: the manifest has the sizes of the layers, and the image's configuration says what they
//! unpack to, by which the layers that are here already are known. All of it is a forecast: whatever keeps it from being made, such
//! as a registry that is trusted by the engine alone, leaves the pull to itself.

use super::super::DockerEngine;
use super::Named;
use super::pull::login;
use crate::domain::digest::Digest;
use crate::logins::Login;
use crate::logins::challenge::{Challenge, token_header};
use crate::trust;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use std::net::IpAddr;
use std::time::Duration;

/// How long the registry may take for one answer of a few kilobytes. The pull itself is more patient.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// The longest manifest, configuration or token that is read, in bytes: what registries themselves accept as a manifest.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// How many images of the engine are compared with.
const MAX_COMPARED_IMAGES: usize = 256;
/// What a manifest can be.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// Where distributions keep the authorities that they trust.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// The largest such bundle that is read, in bytes; real ones have a quarter of a million.
const MAX_BUNDLE_BYTES: usize = 2 << 20;

/// A manifest or an index, as far as it is of interest.
#[derive(Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) manifests: Vec<Entry>,
    pub(super) config: Option<Blob>,
    #[serde(default)]
    pub(super) layers: Vec<Blob>,
}

/// An image of an index.
#[derive(Deserialize)]
pub(super) struct Entry {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// A part of an image.
#[derive(Deserialize)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) size: u64,
}

impl Manifest {
    /// The digest of the image for this machine, if this is an index.
    pub(super) fn for_this_machine(&self) -> Option<&str> {
        let wanted = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let fits = |entry: &&Entry| {
            entry.platform.as_ref().is_some_and(|platform| platform.os == "linux" && platform.architecture == wanted)
        };
        self.manifests.iter().find(fits).map(|entry| entry.digest.as_str())
    }
}

/// What layers unpack to, in their order.
#[derive(Deserialize)]
struct Configuration {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// One repository that is asked.
struct Asked<'a> {
    client: Client,
    base: String,
    named: &'a Named,
    login: Option<Login>,
    authorization: Option<HeaderValue>,
}

impl DockerEngine {
    /// Bytes of the layers of an image that are not here yet; `None` if nobody says.
    pub(super) async fn download_bytes(&self, image: &str) -> Option<u64> {
        for source in self.sources(image) {
            if let Some(bytes) = self.download_bytes_from(&source).await {
                return Some(bytes);
            }
        }
        None
    }

    async fn download_bytes_from(&self, source: &str) -> Option<u64> {
        let named = Named::parse(source);
        let mut asked = Asked {
            client: client()?,
            base: base(&named.registry),
            named: &named,
            login: login(&self.credentials().ok()?, &named).cloned(),
            authorization: None,
        };
        let mut pin = named.hex.as_ref().map(|hex| format!("sha256:{hex}")).or(named.tag.clone())?;
        let mut manifest: Manifest = asked.manifest(&pin).await?;
        if let Some(digest) = manifest.for_this_machine() {
            pin = digest.to_owned();
            manifest = asked.manifest(&pin).await?;
        }
        let config = manifest.config?.digest;
        let diff_ids = asked.json::<Configuration>("blobs", &config).await.map(|config| config.rootfs.diff_ids);
        let present = match &diff_ids {
            Some(diff_ids) if diff_ids.len() == manifest.layers.len() => self.common_layers(diff_ids).await,
            // Then nothing is taken to be here.
            _ => 0,
        };
        Some(manifest.layers.iter().skip(present).map(|layer| layer.size).fold(0, u64::saturating_add))
    }

    /// How many of these layers some image in the engine begins with: those are shared.
    async fn common_layers(&self, diff_ids: &[String]) -> usize {
        let images = self.list_images().await.unwrap_or_default();
        let mut most = 0;
        for summary in images.iter().take(MAX_COMPARED_IMAGES) {
            let Ok(Some(image)) = self.inspect_image(&summary.id).await else { continue };
            let layers = image.root_fs.and_then(|root| root.layers).unwrap_or_default();
            most = most.max(layers.iter().zip(diff_ids).take_while(|(have, want)| have == want).count());
        }
        most
    }
}

impl Asked<'_> {
    async fn manifest(&mut self, pin: &str) -> Option<Manifest> {
        self.json("manifests", pin).await
    }

    async fn json<T: for<'de> Deserialize<'de>>(&mut self, kind: &str, pin: &str) -> Option<T> {
        let url = format!("{}/v2/{}/{kind}/{pin}", self.base, self.named.repository);
        let mut answer = self.get(&url).await?;
        if answer.status() == StatusCode::UNAUTHORIZED && self.authorization.is_none() {
            self.authorization = self.authorize(&answer).await;
            answer = self.get(&url).await?;
        }
        let body = body(answer).await?;
        // A registry that lies about this only spoils its own forecast, but then it is none.
        let is_as_named = pin.strip_prefix("sha256:").is_none_or(|hex| Digest::of(&body).hex() == hex);
        serde_json::from_slice(&body).ok().filter(|_| is_as_named)
    }

    async fn get(&self, url: &str) -> Option<Response> {
        let mut request = self.client.get(url).header(ACCEPT, MANIFEST_TYPES);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        request.send().await.ok()
    }

    async fn authorize(&self, answer: &Response) -> Option<HeaderValue> {
        let challenge = answer.headers().get(WWW_AUTHENTICATE)?.to_str().ok().and_then(Challenge::parse)?;
        let (realm, service) = match challenge {
            Challenge::Basic => return self.login.as_ref()?.basic(),
            Challenge::Bearer { realm, service } => (realm, service),
        };
        let mut url = Url::parse(&realm).ok()?;
        // A password must not travel in the clear because a registry says so.
        if url.scheme() != "https" && !self.base.starts_with("http://") {
            return None;
        }
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", &format!("repository:{}:pull", self.named.repository));
        let mut request = self.client.get(url);
        if let Some(basic) = self.login.as_ref().and_then(Login::basic) {
            request = request.header(AUTHORIZATION, basic);
        }
        token_header(&body(request.send().await.ok()?).await?)
    }
}

/// Engines speak without TLS to registries on the loopback, and to nobody else who was not named to them.
fn base(registry: &str) -> String {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let registry = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    format!("{}://{registry}", if is_loopback { "http" } else { "https" })
}

async fn body(mut answer: Response) -> Option<Vec<u8>> {
    if answer.status() != StatusCode::OK {
        return None;
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

/// A client that believes the authorities that this machine believes; without any of them it speaks to the loopback alone.
fn client() -> Option<Client> {
    let bundle = BUNDLES.iter().find_map(|path| {
        crate::agent::files::read_bounded(std::path::Path::new(path), MAX_BUNDLE_BYTES).ok().flatten()
    });
    let tls = trust::by_bundle(&bundle.unwrap_or_default()).ok()?;
    let client = Client::builder().use_preconfigured_tls(tls).timeout(ANSWER_LIMIT);
    client.user_agent(concat!("bellwether-agent/", env!("CARGO_PKG_VERSION"))).build().ok()
}

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn only_the_loopback_is_asked_without_tls() {
        assert_eq!(base("127.0.0.1:5000"), "http://127.0.0.1:5000");
        assert_eq!(base("localhost"), "http://localhost");
        assert_eq!(base("10.0.0.1:5000"), "https://10.0.0.1:5000");
        assert_eq!(base("docker.io"), "https://registry-1.docker.io");
    }
}
