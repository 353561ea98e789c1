//! What the machine says of itself: a bounded set of facts, read once per start.
//!
//! Nothing here fails: a file that is not there, or not of the expected shape, leaves its fact out.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// How much of a file is read, in bytes. `/proc/cpuinfo` is the longest, with some hundred bytes for each processor.
const MAX_READ: u64 = 64 << 10;
/// The longest fact, in bytes. What is longer says something else.
const MAX_FACT_BYTES: usize = 256;
/// Where boards keep their serial number, the first that is there: device tree, then DMI.
const SERIALS: [&str; 3] =
    ["sys/firmware/devicetree/base/serial-number", "proc/device-tree/serial-number", "sys/class/dmi/id/product_serial"];

/// The facts of the machine whose files are below `root`, and whose boots have their names in a file.
pub(crate) fn facts(root: &Path, boot_id_file: &Path) -> BTreeMap<String, String> {
    let mut facts = Facts::default();
    facts.add("boot_id", read(boot_id_file));
    let read = |path: &str| read(&root.join(path)).unwrap_or_default();
    let cpu = read("proc/cpuinfo");
    // Each architecture names the model in its own way.
    let model = ["model name", "Model", "cpu model", "Hardware"].iter().find_map(|key| after(&cpu, key, ':'));
    facts.add("cpu", model);
    let processors = cpu.lines().filter(|line| line.split(':').next().is_some_and(|key| key.trim() == "processor"));
    facts.add("cpu_count", Some(processors.count()).filter(|count| *count > 0).map(|count| count.to_string()));
    let memory = after(&read("proc/meminfo"), "MemTotal", ':');
    let kilobytes = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    facts.add("memory_mb", kilobytes.map(|kilobytes| (kilobytes / 1024).to_string()));
    facts.add("kernel", Some(read("proc/sys/kernel/osrelease")));
    facts.add("hostname", Some(read("proc/sys/kernel/hostname")));
    let release = Some(read("etc/os-release")).filter(|text| !text.is_empty());
    let release = release.unwrap_or_else(|| read("usr/lib/os-release"));
    facts.add("os_id", after(&release, "ID", '='));
    facts.add("os_version", after(&release, "VERSION_ID", '='));
    facts.add("serial", SERIALS.iter().map(|path| read(path)).find(|text| !text.is_empty()));
    facts.0
}

#[derive(Default)]
struct Facts(BTreeMap<String, String>);

impl Facts {
    fn add(&mut self, name: &str, value: Option<String>) {
        let value = value.unwrap_or_default();
        let value = value.trim_matches(|c: char| c.is_whitespace() || c == '\0' || c == '"' || c == '\'');
        let plain = !value.is_empty() && value.len() <= MAX_FACT_BYTES && !value.chars().any(char::is_control);
        if plain {
            self.0.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// The value after a key, on the first line that has it.
fn after(text: &str, key: &str, sign: char) -> Option<String> {
    let found = text.lines().filter_map(|line| line.split_once(sign)).find(|(name, _)| name.trim() == key);
    found.map(|(_, value)| value.trim().to_owned())
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MAX_READ).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)]) -> String {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        let facts =
            facts(root.path(), &root.path().join("boot")).into_iter().map(|(name, value)| format!("{name}={value}"));
        facts.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn facts_are_read_from_the_machines_own_files() {
        let shown = check(&[
            (
                "proc/cpuinfo",
                "processor\t: 0\nBogoMIPS\t: 108.00\n\nprocessor\t: 1\n\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n",
            ),
            ("proc/meminfo", "MemTotal:        3884336 kB\nMemFree: 12 kB\n"),
            ("proc/sys/kernel/osrelease", "6.1.21-v8+\n"),
            ("boot", "first\n"),
            ("proc/sys/kernel/hostname", "kiosk-7\n"),
            ("etc/os-release", "NAME=\"Lindenhof OS\"\nID=lindenhof\nVERSION_ID=\"2026.10\"\n"),
            ("sys/firmware/devicetree/base/serial-number", "10000000abcdef01\0"),
        ]);
        let wanted = "boot_id=first; cpu=Raspberry Pi 4 Model B Rev 1.4; cpu_count=2; hostname=kiosk-7; kernel=6.1.21-v8+; memory_mb=3793; \
                      os_id=lindenhof; os_version=2026.10; serial=10000000abcdef01";
        assert_eq!(shown, wanted);
    }

    #[test]
    fn what_is_not_there_or_not_plain_is_left_out() {
        assert_eq!(check(&[]), "");
        let long = "x".repeat(300);
        assert_eq!(check(&[("proc/sys/kernel/hostname", &long), ("etc/os-release", "ID=a\u{1b}b\n")]), "");
        assert_eq!(check(&[("proc/meminfo", "MemTotal: lots\n"), ("proc/cpuinfo", "\u{0}\u{0}")]), "");
    }
}
