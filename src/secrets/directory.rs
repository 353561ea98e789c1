//! Secrets in a folder, one file for each, as container runtimes and service managers mount them.

use crate::domain::ids::SecretName;
use crate::domain::secret::MAX_SECRET_BYTES;
use crate::ports::secrets::{Provider, ProviderError, SecretFiles};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// A folder with one file for each secret. A name has no slash and does not begin with a dot, so it cannot lead elsewhere.
///
/// Links are followed: mounted secrets are links that are swapped at a rotation.
pub struct Directory(PathBuf);

impl Directory {
    /// The secrets in this folder. It is looked at when it is asked.
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }
}

impl Provider for Directory {
    fn name(&self) -> &str {
        "directory"
    }

    fn value(&self, _: &SecretFiles, name: &SecretName) -> Result<Option<String>, ProviderError> {
        let away = |error: std::io::Error| ProviderError::Unavailable(error.to_string());
        // A folder that is not mounted must not look like one without secrets.
        let folder = std::fs::metadata(&self.0).map_err(away)?;
        if !folder.is_dir() {
            return Err(ProviderError::Unavailable("it is not a folder".to_owned()));
        }
        let path = self.0.join(name.as_str());
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(away(error)),
        };
        if !file.metadata().map_err(away)?.is_file() {
            return Err(ProviderError::Unusable("it is not a file".to_owned()));
        }
        let mut bytes = Vec::new();
        // With room for the end of the line that does not count.
        file.take(MAX_SECRET_BYTES as u64 + 3).read_to_end(&mut bytes).map_err(away)?;
        text(bytes).map(Some)
    }
}

/// The text of a file without the end of its last line, which editors and `echo` put there.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, ProviderError> {
    let mut text = String::from_utf8(bytes).map_err(|_| ProviderError::Unusable("it is not UTF-8".to_owned()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(folder: &Path, name: &str) -> Result<Option<String>, ProviderError> {
        Directory::new(folder).value(&SecretFiles::new(), &name.parse().expect("a name"))
    }

    #[test]
    fn a_file_is_a_secret_without_its_last_line_end() {
        let folder = tempfile::tempdir().expect("a folder");
        for (content, value) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\nb\n", "a\nb"), ("a\n\n", "a\n"), ("", "")]
        {
            std::fs::write(folder.path().join("T"), content).expect("written");
            assert_eq!(ask(folder.path(), "T"), Ok(Some(value.to_owned())), "{content:?}");
        }
        assert_eq!(ask(folder.path(), "U"), Ok(None));
        std::fs::write(folder.path().join("T"), [0xff]).expect("written");
        assert!(matches!(ask(folder.path(), "T"), Err(ProviderError::Unusable(_))));
        std::fs::create_dir(folder.path().join("D")).expect("made");
        assert!(matches!(ask(folder.path(), "D"), Err(ProviderError::Unusable(_))));
    }

    #[test]
    fn a_folder_that_is_away_is_not_a_folder_without_secrets() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(ask(&folder.path().join("none"), "T"), Err(ProviderError::Unavailable(_))));
    }

    #[test]
    fn names_cannot_lead_elsewhere() {
        for name in ["../x", "/etc/passwd", ".", "..", "a/b", ".hidden"] {
            assert!(name.parse::<SecretName>().is_err(), "{name}");
        }
    }
}
