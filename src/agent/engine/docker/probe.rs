//! What the agent asks services from outside.

use super::asking::Container;
use super::{DockerEngine, told};
use crate::domain::ids::{AppName, ServiceName};
use crate::domain::spec::ProbeCheck;
use crate::domain::time::{Timestamp, show_secs};
use crate::ports::engine::{EngineError, ProbeAnswer};
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::ContainerArchiveInfoOptionsBuilder;
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest status line that is read, in bytes.
const MAX_STATUS_LINE: u64 = 256;
/// How much output of a program is waited for, in bytes; one that writes without end is stopped by its probe's time.
const MAX_OUTPUT: usize = 64 << 10;

impl DockerEngine {
    pub(super) async fn probe_now(
        &self,
        app: &AppName,
        service: &ServiceName,
        check: &ProbeCheck,
        now: Timestamp,
    ) -> Result<ProbeAnswer, EngineError> {
        let subject = format!("{app}/{service}");
        let own = self.owner.container(app, service);
        let Some(id) = self.named(app, service, &own).await? else {
            return Ok(Err("there is no container".to_owned()));
        };
        match check {
            ProbeCheck::Exec(words) => self.exec(&id, words, &subject).await,
            ProbeCheck::Http { port, path } => {
                let Some(address) = self.inspect(&id).await?.as_ref().and_then(address) else {
                    return Ok(Err("the container has no address that the agent could reach".to_owned()));
                };
                Ok(get(&address, *port, path).await)
            }
            ProbeCheck::File { path, max_age_secs } => self.file(&id, path, *max_age_secs, now, &subject).await,
        }
    }

    async fn exec(&self, id: &str, words: &[String], subject: &str) -> Result<ProbeAnswer, EngineError> {
        let docker = self.docker().await?;
        let options = CreateExecOptions {
            cmd: Some(words.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let failed = |error| told("run a program in", subject, error);
        let exec = match docker.create_exec(id, options).await {
            Ok(exec) => exec,
            // 409: the container does not run.
            Err(Error::DockerResponseServerError { status_code: 404 | 409, message }) => return Ok(Err(message)),
            Err(error) => return Err(failed(error)),
        };
        match docker.start_exec(&exec.id, None).await {
            Ok(StartExecResults::Attached { mut output, .. }) => {
                let mut length = 0;
                while let Some(Ok(piece)) = output.next().await {
                    length += piece.into_bytes().len();
                    if length > MAX_OUTPUT {
                        break;
                    }
                }
            }
            Ok(StartExecResults::Detached) => {}
            Err(Error::DockerResponseServerError { message, .. }) => return Ok(Err(message)),
            Err(error) => return Err(failed(error)),
        }
        let ended = docker.inspect_exec(&exec.id).await.map_err(failed)?;
        Ok(match ended.exit_code {
            Some(0) => Ok(()),
            Some(status) => Err(format!("the program ended with status {status}")),
            None => Err("the program did not end".to_owned()),
        })
    }

    async fn file(
        &self,
        id: &str,
        path: &str,
        max_age_secs: Option<u32>,
        now: Timestamp,
        subject: &str,
    ) -> Result<ProbeAnswer, EngineError> {
        let options = ContainerArchiveInfoOptionsBuilder::default().path(path).build();
        let stat = match self.docker().await?.get_container_archive_info(id, Some(options)).await {
            Ok(stat) => stat,
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                return Ok(Err(format!("{path} is not there")));
            }
            Err(error) => return Err(told("look at a file in", subject, error)),
        };
        let Some(most) = max_age_secs else { return Ok(Ok(())) };
        let written = stat.modification_time.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
        Ok(match written.map(|written| now.secs_since(written)) {
            None => Err(format!("it is not known when {path} was written")),
            Some(age) if age > i64::from(most) => {
                Err(format!("{path} was written more than {} ago", show_secs(most.into())))
            }
            Some(_) => Ok(()),
        })
    }
}

/// Where the container answers: on the host's own address if it has the host's network.
fn address(container: &Container) -> Option<String> {
    let mode = container.host_config.as_ref()?.network_mode.as_deref().unwrap_or_default();
    if mode == "host" {
        return Some("127.0.0.1".to_owned());
    }
    let networks = container.network_settings.as_ref()?.networks.as_ref()?;
    let addresses = networks.values().filter_map(|network| network.ip_address.clone());
    addresses.filter(|address| !address.is_empty()).min()
}

/// One request in the oldest words that every server understands; only the status of the answer is of interest.
async fn get(address: &str, port: u16, path: &str) -> ProbeAnswer {
    let answer = async {
        let mut stream = TcpStream::connect((address, port)).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}:{port}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.take(MAX_STATUS_LINE).read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = answer.await.map_err(|error| format!("port {port} does not answer: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let status = text.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1)?.get(..3)?.parse::<u16>().ok());
    match status {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("{path} answers with status {status}")),
        None => Err(format!("what answers at port {port} is not a web server")),
    }
}
