//! Files with secrets: readable by their owner alone, written whole or not at all.

use super::KeysError;
use base64::Engine as _;
use serde::Serialize;
use std::fs::{File, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

/// The longest file that is read, in bytes. A chain of certificates takes a few thousand.
const MAX_BYTES: u64 = 1 << 20;

/// Makes a folder that only its owner can look into, unless it is there.
pub(super) fn private_folder(folder: &Path) -> Result<(), KeysError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| KeysError::Unwritable { path: folder.to_owned(), source })
}

/// A file's text; `None` if it is not there. Any other problem is an error: "cannot be read" is not "is not there".
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, KeysError> {
    let failed = |source| KeysError::Unreadable { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(failed(std::io::Error::other(format!("longer than {MAX_BYTES} bytes"))));
    }
    Ok(Some(bytes))
}

/// Writes a file that must not be there yet.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), KeysError> {
    write_with(path, bytes, |file| file.persist_noclobber(path))
}

/// Writes a file, or puts it in the place of an older one.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), KeysError> {
    write_with(path, bytes, |file| file.persist(path))
}

fn write_with(
    path: &Path,
    bytes: &[u8],
    put: impl FnOnce(tempfile::NamedTempFile) -> Result<File, tempfile::PersistError>,
) -> Result<(), KeysError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.as_file().set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        put(file)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| KeysError::Unwritable { path: path.to_owned(), source })
}

/// A document as it is kept in a file.
pub(super) fn json(document: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(document).expect("these documents have only string keys");
    text.push(b'\n');
    text
}

/// Bytes in PEM (RFC 7468): base64 in lines of 64 characters between two marks.
pub(super) fn pem(label: &str, bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
