//! What a container wrote.

use super::{DockerEngine, told};
use crate::domain::ids::{AppName, ServiceName};
use crate::ports::engine::{EngineError, LogBound};
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt as _;
use std::collections::VecDeque;

/// How many lines beyond the bound in bytes are read before the oldest are dropped. The engine sends the oldest first, and a line
/// can be as long as its writer likes.
const SLACK_BYTES: usize = 64 << 10;

impl DockerEngine {
    pub(super) async fn logs_now(
        &self,
        app: &AppName,
        service: &ServiceName,
        bound: LogBound,
    ) -> Result<String, EngineError> {
        let subject = format!("{app}/{service}");
        let id = self.container_of(app, service, "read the log of").await?;
        let tail = bound.lines.to_string();
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(true).tail(&tail).build();
        let mut chunks = std::pin::pin!(self.docker().await?.logs(&id, Some(options)));
        let mut newest: VecDeque<u8> = VecDeque::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| told("read the log of", &subject, error))?;
            newest.extend(chunk.into_bytes());
            if newest.len() > bound.bytes + SLACK_BYTES {
                newest.drain(..newest.len() - bound.bytes);
            }
        }
        Ok(whole_lines(&Vec::from(newest), bound.bytes))
    }
}

/// The newest whole lines that fit.
fn whole_lines(bytes: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= most {
        return text.into_owned();
    }
    let tail = &text[text.ceil_char_boundary(text.len() - most)..];
    // What the cut went through is left out, unless it is all that there is.
    match tail.split_once('\n') {
        Some((_, rest)) if !rest.is_empty() => rest.to_owned(),
        Some(_) | None => tail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::whole_lines;

    #[test]
    fn the_newest_whole_lines_are_kept() {
        assert_eq!(whole_lines(b"one\ntwo\n", 100), "one\ntwo\n");
        assert_eq!(whole_lines(b"one\ntwo\nthree\n", 10), "three\n");
        assert_eq!(whole_lines(b"one\ntwo\nthree\n", 11), "two\nthree\n");
        assert_eq!(whole_lines(b"a line that is too long", 8), "too long");
        assert_eq!(whole_lines("äöü".as_bytes(), 3), "ü");
        assert_eq!(whole_lines(b"", 3), "");
    }
}
