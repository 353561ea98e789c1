//! What the engine has, read as far as it is of interest.
//!
//! The library's own questions read whatever an engine can say, swarms, clusters and provenance included: a quarter of a million
//! bytes of program for what nobody looks at. So it makes the changes, and what is there is asked here.

use super::{DockerEngine, REQUEST_TIMEOUT_SECS, found, told};
use crate::ports::engine::EngineError;
use bollard::errors::Error;
use bollard::models::{ContainerConfig, ContainerState, EndpointSettings, HostConfig, ImageConfig, Ipam, MountPoint};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;

/// The longest answer that is read, in bytes: ten thousand containers of an engine, listed.
const MAX_ANSWER_BYTES: usize = 32 << 20;

/// Words by kind, to which a list is narrowed.
pub(super) type Filters<'a> = &'a [(&'static str, Vec<String>)];

/// A container of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerSummary {
    pub(super) id: Option<String>,
    pub(super) names: Option<Vec<String>>,
    #[serde(rename = "ImageID")]
    pub(super) image_id: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

/// A container, described.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    pub(super) id: Option<String>,
    pub(super) image: Option<String>,
    pub(super) state: Option<ContainerState>,
    pub(super) restart_count: Option<i64>,
    pub(super) config: Option<ContainerConfig>,
    pub(super) host_config: Option<HostConfig>,
    pub(super) network_settings: Option<NetworkSettings>,
    pub(super) mounts: Option<Vec<MountPoint>>,
}

/// How a container is connected.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NetworkSettings {
    pub(super) networks: Option<BTreeMap<String, EndpointSettings>>,
}

/// A network.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Network {
    pub(super) name: Option<String>,
    pub(super) id: Option<String>,
    pub(super) internal: Option<bool>,
    #[serde(rename = "EnableIPv6")]
    pub(super) enable_ipv6: Option<bool>,
    #[serde(rename = "IPAM")]
    pub(super) ipam: Option<Ipam>,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

/// A volume.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Volume {
    pub(super) labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volumes {
    volumes: Option<Vec<Volume>>,
}

/// An image of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ImageSummary {
    pub(super) id: String,
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) repo_digests: Option<Vec<String>>,
}

/// An image, described.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Image {
    pub(super) config: Option<ImageConfig>,
    #[serde(rename = "RootFS")]
    pub(super) root_fs: Option<RootFs>,
}

/// Of what an image consists.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RootFs {
    /// Digests of the unpacked layers, lowest first.
    pub(super) layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    docker_root_dir: Option<PathBuf>,
}

impl DockerEngine {
    /// All containers, running or not.
    pub(super) async fn list_containers(&self, filters: Filters<'_>) -> Result<Vec<ContainerSummary>, EngineError> {
        let query = [("all", "true".to_owned()), ("filters", shown(filters))];
        self.ask("/containers/json", &query).await?.map_err(|error| told("list", "containers", error))
    }

    pub(super) async fn list_networks(&self, filters: Filters<'_>) -> Result<Vec<Network>, EngineError> {
        let query = [("filters", shown(filters))];
        self.ask("/networks", &query).await?.map_err(|error| told("list", "networks", error))
    }

    pub(super) async fn list_volumes(&self, filters: Filters<'_>) -> Result<Vec<Volume>, EngineError> {
        let answer = self.ask::<Volumes>("/volumes", &[("filters", shown(filters))]).await?;
        Ok(answer.map_err(|error| told("list", "volumes", error))?.volumes.unwrap_or_default())
    }

    pub(super) async fn list_images(&self) -> Result<Vec<ImageSummary>, EngineError> {
        self.ask("/images/json", &[]).await?.map_err(|error| told("list", "images", error))
    }

    /// The description of a container; `None` if it went away meanwhile.
    pub(super) async fn inspect(&self, id: &str) -> Result<Option<Container>, EngineError> {
        found(self.ask(&format!("/containers/{id}/json"), &[]).await?).map_err(|error| told("inspect", id, error))
    }

    /// The description of a volume; `None` if there is none of this name.
    pub(super) async fn inspect_volume(&self, name: &str) -> Result<Option<Volume>, EngineError> {
        found(self.ask(&format!("/volumes/{name}"), &[]).await?).map_err(|error| told("inspect", name, error))
    }

    /// The description of an image; `None` if there is none of this name or id.
    pub(super) async fn inspect_image(&self, reference: &str) -> Result<Option<Image>, EngineError> {
        let answer = self.ask(&format!("/images/{reference}/json"), &[]).await?;
        found(answer).map_err(|error| told("inspect", reference, error))
    }

    /// Where the engine keeps images, as it says.
    pub(super) async fn root_dir(&self) -> Result<Option<PathBuf>, EngineError> {
        let info = self.ask::<Info>("/info", &[]).await?.map_err(|error| told("ask", "the engine", error))?;
        Ok(info.docker_root_dir)
    }

    /// Makes a volume.
    pub(super) async fn make_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
        let body = serde_json::json!({ "Name": name, "Labels": labels }).to_string();
        let request = (Method::POST, "/volumes/create", &[][..], body);
        self.exchange(request).await?.map(drop).map_err(|error| told("create", name, error))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Result<T, Error>, EngineError> {
        let answer = self.exchange((Method::GET, path, query, String::new())).await?;
        Ok(answer.and_then(|bytes| serde_json::from_slice(&bytes).map_err(unreadable)))
    }

    /// One request on a connection of its own, in the words of the API's version that was agreed on.
    async fn exchange(
        &self,
        (method, path, query, body): (Method, &str, &[(&str, String)], String),
    ) -> Result<Result<Bytes, Error>, EngineError> {
        let version = self.docker().await?.client_version();
        let address = format!("http://engine/v{}.{}{path}", version.major_version, version.minor_version);
        let url = Url::parse_with_params(&address, query)
            .map_err(|error| EngineError::Unavailable { reason: format!("{path}: {error}") })?;
        let exchange = async {
            let stream = UnixStream::connect(&self.socket).await?;
            let request = Request::builder()
                .method(method)
                .uri(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
                .header(HOST, "engine")
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(Bytes::from(body)))?;
            answered(stream, request).await
        };
        let limit = Duration::from_secs(REQUEST_TIMEOUT_SECS);
        Ok(tokio::time::timeout(limit, exchange).await.unwrap_or(Err(Error::RequestTimeoutError)))
    }
}

/// Sends a request and reads the whole answer.
async fn answered(stream: UnixStream, request: Request<Full<Bytes>>) -> Result<Bytes, Error> {
    /// What an engine says when it does not do what it is told.
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let bytes = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
    driving.abort();
    let bytes = bytes.map_err(|error| match error.downcast::<LengthLimitError>() {
        Ok(error) => Error::JsonDataError { message: error.to_string(), column: MAX_ANSWER_BYTES },
        Err(error) => Error::IOError { err: std::io::Error::other(error) },
    })?;
    let bytes = bytes.to_bytes();
    if status.is_success() {
        return Ok(bytes);
    }
    let message = match serde_json::from_slice(&bytes) {
        Ok(Refusal { message }) => message,
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    };
    Err(Error::DockerResponseServerError { status_code: status.as_u16(), message })
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::JsonDataError { message: error.to_string(), column: error.column() }
}

/// Filters as the API wants them.
fn shown(filters: Filters<'_>) -> String {
    let filters: BTreeMap<&str, &[String]> = filters.iter().map(|(kind, words)| (*kind, words.as_slice())).collect();
    serde_json::json!(filters).to_string()
}
