//! Core dumps that devices sent: files in the data folder, within bounds.
//!
//! One of each device is kept, the newest; and of all together at most [`MAX_KEPT_BYTES`], the newest again. They come in parts, and a
//! part that was written is not asked for again.

use crate::domain::device::dump::CoreDump;
use crate::domain::device::terminal::TerminalFailure;
use crate::domain::digest::Digest;
use crate::domain::ids::DeviceId;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// How much all kept dumps have together at most, in bytes.
pub const MAX_KEPT_BYTES: u64 = 1 << 30;
/// How many characters of a digest make the name of a file.
const NAME_CHARACTERS: usize = 32;

/// What is kept.
#[derive(Debug)]
pub struct Dumps {
    folder: PathBuf,
    /// What all may have together.
    most: u64,
    /// One request at a time changes files.
    changing: Mutex<()>,
}

impl Dumps {
    /// Opens the folder, or makes it, for nobody else to read.
    pub fn open(folder: PathBuf, most: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder, most, changing: Mutex::new(()) })
    }

    /// Takes a part, if it goes on where what is here ends; says how much of the dump is here.
    pub fn take(
        &self,
        device: &DeviceId,
        of: &TerminalFailure,
        dump: &CoreDump,
        from: u64,
        part: &[u8],
    ) -> io::Result<u64> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let stem = format!("{}.{}", name(device.as_str()), name(&identity(of, dump)));
        let (partial, whole) = (self.folder.join(format!("{stem}.part")), self.folder.join(format!("{stem}.core")));
        if whole.try_exists()? {
            return Ok(dump.bytes);
        }
        let here = match fs::symlink_metadata(&partial) {
            Ok(about) => about.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let fits = u64::try_from(part.len()).is_ok_and(|length| length <= dump.bytes.saturating_sub(here));
        if from != here || part.is_empty() || !fits {
            return Ok(here);
        }
        if here == 0 {
            // What a device began and did not end is not waited for once it begins another: one of each device, parts included.
            self.remove_others(device, &stem, ".part")?;
        }
        self.make_room(part.len() as u64, &stem)?;
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&partial)?;
        file.write_all(part)?;
        let here = here + part.len() as u64;
        if here == dump.bytes {
            file.sync_all()?;
            fs::rename(&partial, &whole)?;
            self.remove_others(device, &stem, "")?;
        }
        Ok(here)
    }

    /// The dump of a device that is here as a whole.
    pub fn of(&self, device: &DeviceId) -> io::Result<Option<File>> {
        let begin = format!("{}.", name(device.as_str()));
        let mut files = self.files()?;
        files.retain(|(file, ..)| file.starts_with(&begin) && file.ends_with(".core"));
        // There are two after a crash right before the older one was removed.
        let found = files.into_iter().max_by_key(|(_, written, _)| *written);
        found.map(|(file, ..)| File::open(self.folder.join(file))).transpose()
    }

    /// Removes other files of the device whose names end so.
    fn remove_others(&self, device: &DeviceId, stem: &str, end: &str) -> io::Result<()> {
        let begin = format!("{}.", name(device.as_str()));
        let is_other = |file: &str| file.starts_with(&begin) && !file.starts_with(stem) && file.ends_with(end);
        for (file, ..) in self.files()?.into_iter().filter(|(file, ..)| is_other(file)) {
            fs::remove_file(self.folder.join(file))?;
        }
        Ok(())
    }

    /// Removes the oldest until there is room.
    fn make_room(&self, bytes: u64, keep: &str) -> io::Result<()> {
        let mut files = self.files()?;
        let mut sum: u64 = files.iter().map(|(_, _, length)| length).sum();
        files.retain(|(file, ..)| !file.starts_with(keep));
        files.sort_by_key(|(_, written, _)| *written);
        for (file, _, length) in files {
            if sum.saturating_add(bytes) <= self.most {
                return Ok(());
            }
            fs::remove_file(self.folder.join(&file))?;
            tracing::info!(file, "an old core dump made room for a new one");
            sum = sum.saturating_sub(length);
        }
        Ok(())
    }

    /// Every file: name, when it was written, length.
    fn files(&self) -> io::Result<Vec<(String, SystemTime, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let about = entry.metadata()?;
            if let (Ok(file), true) = (entry.file_name().into_string(), about.is_file()) {
                files.push((file, about.modified()?, about.len()));
            }
        }
        Ok(files)
    }
}

/// What tells one dump from another of the same device.
fn identity(failure: &TerminalFailure, dump: &CoreDump) -> String {
    let CoreDump { name, bytes, at } = dump;
    format!("{} {} {} {bytes} {}", failure.digest, failure.attempt, name.as_str(), at.millis())
}

fn name(text: &str) -> String {
    Digest::of(text.as_bytes()).hex()[..NAME_CHARACTERS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::device::terminal::FailedPhase;
    use crate::domain::generation::Attempt;
    use crate::domain::time::Timestamp;
    use std::io::Read as _;

    fn failure(of: &str) -> TerminalFailure {
        TerminalFailure {
            digest: Digest::of(of.as_bytes()),
            attempt: Attempt::FIRST,
            phase: FailedPhase::Soaking,
            component: "web/app".to_owned(),
            reason: "CrashLoop".to_owned(),
            message: "it crashed".to_owned(),
            log: Vec::new(),
            core_dump: None,
            at: Timestamp::EPOCH,
            rolled_back_to: None,
        }
    }

    fn dump(bytes: u64) -> CoreDump {
        CoreDump { name: "core.app".to_owned().try_into().expect("a name"), bytes, at: Timestamp::EPOCH }
    }

    fn device(name: &str) -> DeviceId {
        name.parse().expect("a device")
    }

    fn content(dumps: &Dumps, of: &str) -> Option<String> {
        let mut file = dumps.of(&device(of)).expect("look for a dump")?;
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read a dump");
        Some(text)
    }

    #[test]
    fn parts_come_in_order_and_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let dumps = Dumps::open(folder.path().join("dumps"), 100).expect("open the dumps");
        let (one, of, dump) = (device("kiosk-1"), failure("a"), dump(6));
        let take = |from, part: &str| dumps.take(&one, &of, &dump, from, part.as_bytes()).expect("take a part");
        assert_eq!(take(0, ""), 0);
        assert_eq!(take(0, "abc"), 3);
        assert_eq!(take(0, "abc"), 3, "what is here is not written again");
        assert_eq!(take(5, "f"), 3, "there is no gap");
        assert_eq!(take(3, "defg"), 3, "it is not longer than was said");
        assert_eq!(content(&dumps, "kiosk-1"), None, "a part is nothing to show");
        assert_eq!(take(3, "def"), 6);
        assert_eq!(take(0, "xyz"), 6, "what is whole stays");
        assert_eq!(content(&dumps, "kiosk-1").as_deref(), Some("abcdef"));
        assert_eq!(content(&dumps, "kiosk-2"), None);
    }

    #[test]
    fn the_newest_of_each_device_is_kept_and_the_newest_of_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let dumps = Dumps::open(folder.path().join("dumps"), 20).expect("open the dumps");
        let put = |at: &str, of: &str, text: &str| {
            let dump = dump(text.len() as u64);
            assert_eq!(dumps.take(&device(at), &failure(of), &dump, 0, text.as_bytes()).expect("take it"), dump.bytes);
        };
        put("kiosk-1", "a", "aaaaaaaa");
        put("kiosk-1", "b", "bbbbbbbb");
        assert_eq!(content(&dumps, "kiosk-1").as_deref(), Some("bbbbbbbb"));
        assert_eq!(dumps.files().expect("list").len(), 1);
        let begun = |of: &str| dumps.take(&device("kiosk-1"), &failure(of), &dump(8), 0, b"e").expect("take a part");
        assert_eq!((begun("c"), begun("d")), (1, 1));
        assert_eq!(dumps.files().expect("list").len(), 2, "parts of what it does not go on with are gone");
        assert_eq!(content(&dumps, "kiosk-1").as_deref(), Some("bbbbbbbb"), "what is whole stays until then");
        put("kiosk-2", "b", "cccccccc");
        put("kiosk-3", "b", "dddddddd");
        let kept = ["kiosk-1", "kiosk-2", "kiosk-3"].map(|of| content(&dumps, of).is_some());
        assert_eq!(kept.iter().filter(|kept| **kept).count(), 2, "{kept:?}");
        assert!(kept[2], "the newest is there");
    }
}
