//! How far bringing images has come.

use std::fmt;

/// Bytes of the images that are being brought, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many images are being brought.
    pub images: usize,
    /// Bytes that have come, of layers that were not here before.
    pub done_bytes: u64,
    /// Bytes in all, of the layers that are known so far: it may grow.
    pub total_bytes: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, done_bytes, total_bytes } = self;
        let plural = if *images == 1 { "image" } else { "images" };
        write!(f, "{} of {} of {images} {plural}", show_bytes(*done_bytes), show_bytes(*total_bytes))
    }
}

/// Bytes for people, with one decimal: `12.5 MB`. The units are powers of ten, as disks and networks are sold.
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match UNITS.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => {
            let tenths = bytes / (size / 10);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_for_people() {
        let shown = [0, 999, 1_000, 12_549_999, 1_000_000_000, u64::MAX].map(show_bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "12.5 MB", "1.0 GB", "18446744073.7 GB"]);
        let progress = Progress { images: 2, done_bytes: 1_500_000, total_bytes: 40_000_000 };
        assert_eq!(progress.to_string(), "1.5 MB of 40.0 MB of 2 images");
    }
}
