//! Devices that are listed outside Git, and `bellwether check` as people run it.

use super::planning::{COLD_RUNS, MOST_MIB, Measured, Watch, snapshot, sound};
use super::process::{self, peak_mib};
use super::table::{Row, median, show_figure};
use super::{Options, fleet};
use anyhow::{Context as _, bail, ensure};
use bellwether::domain::desired::InventorySource;
use bellwether::domain::fleet::{DeviceRecord, FleetState, Listing, Registered, Registry, RegistryAttribute};
use bellwether::domain::ids::{Actor, DeviceId};
use bellwether::domain::manifest::inventory::{Kept, read_list};
use bellwether::domain::manifest::listed_by::RegistryRules;
use bellwether::domain::manifest::vars::KeyRules;
use bellwether::domain::registered;
use bellwether::domain::time::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// What a million devices may take, in milliseconds.
const MILLION_MS: f64 = 30_000.0;
/// What the check of a hundred thousand devices may take, in milliseconds.
const CHECK_MS: f64 = 5000.0;
/// In how many groups the devices are that are checked.
const CHECKED_GROUPS: usize = 10;

/// Every row about lists, and the one about the check.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let count = if options.quick { "1000" } else { "1000000" };
    let reference = median(process::run::<Measured>(&["plan", "names", count])?.wall);
    let mut rows = Vec::new();
    for (case, what) in [("registry", "listed by the registry"), ("http", "of a list in JSON that was fetched")] {
        let measured = process::run::<Measured>(&["listed", case, count])?;
        let (wall, resolve) = (median(measured.wall.clone()), median(measured.resolve.clone()));
        let parts = format!("the list {}, resolve {}", show_figure(wall - resolve, "ms"), show_figure(resolve, "ms"));
        let result = format!("{} ({parts}), peak {:.0} MiB", show_figure(wall, "ms"), measured.peak);
        rows.push(
            Row::new(format!("resolve {count} devices {what}"), result)
                .against("JSON of their names by group parsed", wall, reference, "ms")
                .at_most(wall, MILLION_MS, "ms")
                .at_most(measured.peak, MOST_MIB, "MiB"),
        );
    }
    let devices = if options.quick { 100 } else { 100_000 };
    rows.push(check(options, devices)?);
    Ok(rows)
}

/// The executable itself, as it ships, on a folder of files: reading them from the disk counts, and starting too.
fn check(options: &Options, devices: usize) -> anyhow::Result<Row> {
    let folder = options.folder.join("checked");
    for (path, content) in fleet::files_in(devices, CHECKED_GROUPS) {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().context("a file stands in a folder")?)?;
        std::fs::write(path, fleet::yaml(&content))?;
    }
    let count = devices.to_string();
    let reference = median(process::run::<Measured>(&["plan", "reference", &count])?.cpu);
    let measured = process::run::<Measured>(&["check", &folder.display().to_string()])?;
    let wall = median(measured.wall);
    let what = format!("`bellwether check` of {devices} devices in {CHECKED_GROUPS} groups, {} runs", COLD_RUNS);
    Ok(Row::new(what, format!("{}, peak {:.0} MiB", show_figure(wall, "ms"), measured.peak))
        .against("JSON of the same files parsed", wall, reference, "ms")
        .at_most(wall, CHECK_MS, "ms"))
}

/// A child that measures one way of listing devices. What was there before the list was asked for is not timed; its memory counts.
pub fn child(case: &str, devices: usize) -> anyhow::Result<()> {
    let (inventory, name): (Value, &str) = match case {
        "registry" => (json!("registry"), "registry"),
        "http" => (json!({ "http": "https://cmdb.fleet.example/fleet.json" }), "https://cmdb.fleet.example/fleet.json"),
        _ => bail!("{case} is no case"),
    };
    let files = snapshot(fleet::files_without_devices(&inventory));
    let state = if case == "registry" { registry(devices)? } else { FleetState::default() };
    let fetched = if case == "http" { fleet::listing(devices).to_string() } else { String::new() };
    let mut watch = Watch::default();
    let begun = Instant::now();
    let text = if case == "registry" { registered::list(&state, &RegistryRules::default()) } else { fetched };
    let list = read_list(&name.into(), text.as_bytes(), &KeyRules::default(), &mut Kept::default());
    let source = InventorySource::Given(Arc::new(list));
    let listing_ms = begun.elapsed().as_secs_f64() * 1000.0;
    watch.start();
    let desired = bellwether::threads::resolver().resolve_with(&files, &source);
    watch.decided();
    sound(&desired, devices)?;
    let Measured { wall: resolve, cpu, .. } = watch.0;
    let wall = resolve.iter().map(|resolve| resolve + listing_ms).collect();
    process::say(&serde_json::to_value(Measured { wall, cpu, resolve, peak: peak_mib()? })?);
    Ok(())
}

/// Devices that operators registered, each with its group.
fn registry(devices: usize) -> anyhow::Result<FleetState> {
    let actor = Actor::new("bench")?;
    let mut state = FleetState::default();
    let listing = fleet::listing(devices);
    for (group, content) in listing.as_object().context("groups by name")? {
        let attribute = RegistryAttribute { value: group.clone(), actor: actor.clone(), since: Timestamp::EPOCH };
        let attributes = BTreeMap::from([(registered::GROUPS.parse()?, attribute)]);
        let said = Registered { listing: Listing::Listed, actor: actor.clone(), since: Timestamp::EPOCH };
        let registry = Registry { attributes, registered: Some(said) };
        for device in content["hosts"].as_array().context("a list of hosts")? {
            let device = DeviceId::new(device.as_str().context("a name")?)?;
            let registry = Some(Arc::new(registry.clone()));
            state.devices.insert(device, DeviceRecord { registry, ..DeviceRecord::default() });
        }
    }
    Ok(state)
}

/// A child that runs the check, so that the memory of its own children is that of the executable.
pub fn child_of_check(folder: &Path) -> anyhow::Result<()> {
    let mut measured = Measured { wall: Vec::new(), cpu: Vec::new(), resolve: Vec::new(), peak: 0.0 };
    for _ in 0..COLD_RUNS {
        let begun = Instant::now();
        let mut check = Command::new(env!("CARGO_BIN_EXE_bellwether"));
        check.arg("check").arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
        let mut check = check.spawn().context("start bellwether")?;
        let status = Path::new("/proc").join(check.id().to_string()).join("status");
        let code = loop {
            // The figure of a process that has ended is gone, so it is read while it runs.
            if let Ok(kilobytes) = process::kilobytes(&status, "VmHWM:") {
                measured.peak = measured.peak.max(kilobytes / 1024.0);
            }
            match check.try_wait()? {
                Some(code) => break code,
                None => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        };
        measured.wall.push(begun.elapsed().as_secs_f64() * 1000.0);
        ensure!(code.success(), "the check of the generated fleet fails: {code}");
    }
    process::say(&serde_json::to_value(measured)?);
    Ok(())
}
