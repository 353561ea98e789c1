//! Images against a real engine, a real registry, and a link between them that can do what links do.

use super::{engine_of, port, spec, wait_for};
use crate::harness::engine::Engine as RealEngine;
use crate::harness::process::{eventually, output_of};
use crate::harness::proxy::{Manner, Proxy};
use crate::harness::registry::{Filling, Image};
use crate::harness::requests::Requests;
use crate::harness::run::run;
use bellwether::agent::engine::docker::{DockerEngine, ImageSettings};
use bellwether::domain::device::action::Action;
use bellwether::domain::device::progress::Progress;
use bellwether::domain::device::steps::{all_differences, app_steps, images};
use bellwether::domain::ids::DeviceId;
use bellwether::domain::spec::{DeviceSpec, Network, ServiceSpec, Transport};
use bellwether::ports::engine::{Batch, Engine as _, EngineError, perform};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::time::Duration;

/// The engine of these tests: others must not see images come and go.
fn real() -> Option<&'static RealEngine> {
    static REAL: OnceLock<Option<RealEngine>> = OnceLock::new();
    REAL.get_or_init(|| RealEngine::start("images")).as_ref()
}

fn with(real: &RealEngine, device: &str, images: ImageSettings) -> DockerEngine {
    engine_of(real, device).with_images(images)
}

fn settings() -> ImageSettings {
    // These tests are about other things than the disk of whoever runs them.
    ImageSettings { reserve_bytes: 0, ..ImageSettings::default() }
}

fn bring(engine: &DockerEngine, image: &str) -> Result<(), String> {
    wait_for(engine.pull(image)).map_err(|error| error.to_string())
}

fn is_present(engine: &DockerEngine, image: &str) -> bool {
    let images = BTreeSet::from([image.to_owned()]);
    wait_for(engine.look(&images)).expect("the engine answers").images.contains(image)
}

/// Runs every step to a spec, and holds the engine to it.
fn converge(engine: &DockerEngine, spec: &DeviceSpec) -> Vec<String> {
    let look = || wait_for(engine.look(&images(spec))).expect("the engine answers");
    let steps = app_steps(spec, &look());
    for step in &steps {
        wait_for(perform(engine, step).expect("it concerns the engine"))
            .unwrap_or_else(|error| panic!("{step}: {error}"));
    }
    assert_eq!(all_differences(spec, Some(&look()), None), []);
    assert_eq!(app_steps(spec, &look()), []);
    steps.iter().map(Action::to_string).collect()
}

#[test]
fn it_is_told_how_far_images_have_come_and_several_come_at_a_time() {
    let Some(real) = real() else { return };
    let registry = real.registry();
    let [first, second] = ["progress-1", "progress-2"].map(|name| registry.push_filled(real, name, 4, Filling::Noise));
    let proxy = Proxy::start(real, 5010, 5000);
    proxy.behave(Manner::Slow(4 << 20));
    let [first, second] = [first, second].map(|image: Image| proxy.image(&image.name, &image.digest));
    let engine = with(real, "it-progress", settings());
    let batch = Batch { image: first.clone(), next: BTreeSet::from([second.clone()]), keep: BTreeSet::new() };
    let told = Mutex::new(Vec::new());
    let tell = |progress: Progress| told.lock().expect("not poisoned").push(progress);
    wait_for(engine.bring(&batch, &tell)).expect("both come");
    let told = told.into_inner().expect("not poisoned");
    let last = told.last().expect("something was told");
    assert_eq!((last.images, last.done_bytes), (2, last.total_bytes));
    assert!(last.total_bytes > 8_000_000, "{last}");
    assert!(told.iter().any(|progress| progress.done_bytes < progress.total_bytes), "also in between");
    assert!(is_present(&engine, &first) && is_present(&engine, &second));
}

#[test]
fn no_more_images_come_at_a_time_than_are_allowed_to() {
    let Some(real) = real() else { return };
    let names = ["bound-1", "bound-2", "bound-3", "bound-4", "bound-5"];
    let images = names.map(|name| real.registry().push_filled(real, name, 8, Filling::Noise).by_digest());
    for (parallel_pulls, folder) in [(2, "two"), (5, "five"), (1, "one")] {
        let socket = real.docker_socket().with_file_name(format!("bound-{folder}.sock"));
        let requests = Requests::listen(&socket, &real.docker_socket());
        let device = DeviceId::new(&format!("it-bound-{folder}")).expect("a device name");
        let fleet = "acme".parse().expect("a fleet name");
        let engine = DockerEngine::connect(requests.socket(), &fleet, &device).expect("a socket");
        let engine = engine.with_images(ImageSettings { parallel_pulls, ..settings() });
        let next = images[1..].iter().cloned().collect();
        let batch = Batch { image: images[0].clone(), next, keep: BTreeSet::new() };
        wait_for(engine.bring(&batch, &|_| {})).expect("all come");
        // An image that has come is marked as the agent's before the next one is asked for.
        let mut under_way = 0_usize;
        let mut most = 0;
        for request in requests.begun() {
            match request.as_str() {
                "pull image" => under_way += 1,
                "tag image" => under_way -= 1,
                other => panic!("nothing else changes: {other}"),
            }
            most = most.max(under_way);
        }
        // How many of those allowed are asked for before the first has come is up to the engine.
        assert_eq!(under_way, 0);
        assert!(most <= parallel_pulls && (most > 1 || parallel_pulls == 1), "{most} of {parallel_pulls}");
        // They have to come anew for the next bound, and stay nowhere else.
        wait_for(engine.tidy(&BTreeSet::new())).expect("the engine removes them");
        assert!(images.iter().all(|image| !is_present(&engine, image)));
    }
}

#[test]
fn a_download_that_is_cut_off_goes_on_where_it_was() {
    let Some(real) = real() else { return };
    let image = real.registry().push_filled(real, "resume", 6, Filling::Noise);
    let proxy = Proxy::start(real, 5011, 5000);
    proxy.behave(Manner::CutAfter(4 << 20));
    let engine = with(real, "it-resume", settings());
    bring(&engine, &proxy.image(&image.name, &image.digest)).expect("it comes in two parts");
    let ranges = proxy.ranges();
    let from = ranges.iter().find_map(|line| line.split_once("bytes=")?.1.split_once('-')?.0.parse::<u64>().ok());
    assert!(from.is_some_and(|from| from > 1 << 20), "the second part is asked for alone: {ranges:?}");
}

#[test]
fn a_registry_that_lies_is_not_believed_and_one_that_is_honest_again_is() {
    let Some(real) = real() else { return };
    let image = real.registry().push_filled(real, "liar", 2, Filling::Noise);
    let proxy = Proxy::start(real, 5012, 5000);
    let engine = with(real, "it-liar", settings());
    let image = proxy.image(&image.name, &image.digest);
    // In the middle of the manifest, then in the middle of the layer.
    for (place, said) in [
        (700, ["does not match", "digest", "invalid", "failed"]),
        (1 << 20, ["verification", "digest", "unexpected EOF", "invalid"]),
    ] {
        proxy.behave(Manner::WrongAt(place));
        let refusal = bring(&engine, &image).expect_err("it is not what its digest says");
        assert!(said.iter().any(|words| refusal.contains(words)), "{refusal}");
        assert!(!is_present(&engine, &image));
    }
    proxy.behave(Manner::Honest);
    bring(&engine, &image).expect("it is honest again");
}

#[test]
fn a_registry_that_falls_silent_is_given_up_and_one_that_is_down_is_tried_again() {
    let Some(real) = real() else { return };
    let image = real.registry().push_filled(real, "silent", 3, Filling::Noise);
    let proxy = Proxy::start(real, 5013, 5000);
    let engine = with(real, "it-silent", ImageSettings { stall_limit: Duration::from_secs(3), ..settings() });
    let image = proxy.image(&image.name, &image.digest);
    proxy.behave(Manner::Down);
    let refusal = bring(&engine, &image).expect_err("nobody answers");
    assert!(refusal.starts_with(&format!("image {image} could not be pulled: ")), "{refusal}");
    proxy.behave(Manner::SilentAfter(1 << 20));
    let refusal = bring(&engine, &image).expect_err("nothing comes any more");
    assert_eq!(refusal, format!("image {image} could not be pulled: nothing came for 3 seconds"));
    proxy.behave(Manner::Honest);
    // However long it takes where the disk is slow.
    bring(&with(real, "it-silent", settings()), &image).expect("it is back");
}

#[test]
fn a_mirror_gives_an_image_under_the_name_that_the_spec_uses() {
    let Some(real) = real() else { return };
    use_a_mirror(real);
}

pub(super) fn use_a_mirror(real: &RealEngine) {
    // No other test of this engine has these.
    let [_, image, next] = &real.registry().web;
    let mirrors =
        BTreeMap::from([("registry.invalid".to_owned(), vec!["127.0.0.1:9".to_owned(), "127.0.0.1:5000".to_owned()])]);
    let engine = with(real, "it-mirror", ImageSettings { mirrors, ..settings() });
    let [first, second] = [image, next].map(|image| format!("registry.invalid/web@{}", image.digest));
    let of = |image: &str| spec([("app", ServiceSpec { network: Network::None, ..ServiceSpec::of_image(image) })]);
    let done = converge(&engine, &of(&first));
    assert_eq!(done, [format!("pull {first}"), "create web/app".into(), "start web/app".into()]);
    converge(&engine, &of(&second));
    let keep = BTreeSet::from([second.clone()]);
    let removed = wait_for(engine.tidy(&keep)).expect("tidied");
    assert_eq!(removed, [format!("127.0.0.1:5000/web@{}", image.digest)]);
    assert!(is_present(&engine, &second) && !is_present(&engine, &first));
    let refusal = bring(&engine, "registry.invalid/web:1.0.0").expect_err("a tag is not asked of a mirror");
    assert!(!refusal.contains("mirror"), "{refusal}");
    converge(&engine, &DeviceSpec::default());
}

#[test]
fn an_image_comes_from_an_archive_where_there_is_no_registry() {
    let Some(real) = real() else { return };
    let image = &real.registry().web[0];
    let directory = run().scratch("archives");
    let reference = format!("registry.invalid/web@{}", image.digest);
    let engine = with(real, "it-archive", ImageSettings { archives: Some(directory.clone()), ..settings() });
    std::fs::write(directory.join("0-broken.tar"), b"no archive at all").expect("written");
    let archive = directory.join("web.tar");
    real.registry().write_archive(real, image, &archive);
    // One byte of the layer is another one: the largest part of the archive by far.
    let whole = std::fs::read(&archive).expect("readable");
    let mut wrong = whole.clone();
    let middle = wrong.len() / 2;
    wrong[middle] ^= 0x55;
    std::fs::write(&archive, wrong).expect("written");
    bring(&engine, &reference).expect_err("it is not what its digest says, and there is no registry");
    assert!(!is_present(&engine, &reference));
    std::fs::write(&archive, whole).expect("written");
    let mut service = ServiceSpec::of_image(&reference);
    service.ports = BTreeSet::from([port(8080, Transport::Tcp, Some(18_301), Some("127.0.0.1"))]);
    converge(&engine, &spec([("app", service)]));
    let answer = eventually("it runs", || real.http_get(18_301, "/version").ok());
    assert!(answer.ends_with("web 1.0.0\n"), "{answer}");
    converge(&engine, &DeviceSpec::default());
    let other = format!("registry.invalid/web@{}", real.registry().web[1].digest);
    bring(&engine, &other).expect_err("no archive has it");
}

#[test]
fn only_what_this_agent_brought_and_nobody_needs_is_removed() {
    let Some(real) = real() else { return };
    tidy_up(real);
}

pub(super) fn tidy_up(real: &RealEngine) {
    let registry = real.registry();
    let pushed = ["kept", "used", "tagged", "foreign", "gone"]
        .map(|name| registry.push_filled(real, &format!("tidy-{name}"), 1, Filling::Noise).by_digest());
    let [kept, used, tagged, foreign, gone] = &pushed;
    let engine = with(real, "it-tidy", settings());
    real.docker(&["pull", foreign]);
    pushed.iter().for_each(|image| bring(&engine, image).expect("it comes"));
    real.docker(&["create", "--name", "it-tidy-stranger", used, "/nothing"]);
    real.docker(&["tag", tagged, "it-tidy-own:1"]);
    let other = with(real, "it-tidy-other", settings());
    assert_eq!(wait_for(other.tidy(&BTreeSet::new())).expect("tidied"), [""; 0], "another device brought none of them");
    let keep = BTreeSet::from([kept.clone()]);
    assert_eq!(wait_for(engine.tidy(&keep)).expect("tidied"), std::slice::from_ref(gone));
    let left: Vec<bool> = pushed.iter().map(|image| is_present(&engine, image)).collect();
    assert_eq!(left, [true, true, true, true, false]);
    assert_eq!(wait_for(engine.tidy(&keep)).expect("tidied"), [""; 0], "once more changes nothing");
    real.docker(&["rm", "it-tidy-stranger"]);
    real.docker(&["rmi", "it-tidy-own:1"]);
    let mut rest = wait_for(engine.tidy(&keep)).expect("tidied");
    rest.sort();
    let mut expected = [used.clone(), tagged.clone()];
    expected.sort();
    assert_eq!(rest, expected, "now nobody needs them");
}

#[test]
fn a_login_is_used_only_from_a_file_that_nobody_else_may_read_and_never_shown() {
    let Some(real) = real() else { return };
    let guarded = real.registry().with_password(real);
    let image = format!("127.0.0.1:{}/worker@{}", guarded.port, real.registry().worker[0].digest);
    let file = run().scratch("login").join("config.json");
    let engine = |file: &std::path::Path| {
        with(real, "it-login", ImageSettings { credentials: Some(file.to_owned()), ..settings() })
    };
    let write = |auth: &str, mode: u32| {
        let text = format!(r#"{{"auths": {{"127.0.0.1:{}": {{"auth": "{auth}"}}}}}}"#, guarded.port);
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("changed");
    };
    let without = bring(&with(real, "it-login", settings()), &image).expect_err("it is for one person");
    assert!(without.contains("no basic auth credentials"), "{without}");
    write(guarded.auth, 0o644);
    let refusal = bring(&engine(&file), &image).expect_err("others may read it");
    let reason = format!("{} has mode 644 and others may read it: chmod 600 it", file.display());
    assert_eq!(refusal, format!("image {image} could not be pulled: {reason}"));
    // `eve:secret-of-eve`
    write("ZXZlOnNlY3JldC1vZi1ldmU=", 0o600);
    let refusal = bring(&engine(&file), &image).expect_err("that is somebody else");
    assert!(!refusal.contains("secret-of-eve") && !refusal.contains("ZXZl"), "{refusal}");
    write(guarded.auth, 0o600);
    bring(&engine(&file), &image).expect("that is the one");
}

#[test]
fn what_does_not_fit_is_refused_with_numbers_before_a_byte_of_it_comes() {
    let Some(real) = RealEngine::start_on_own_disk("disk") else { return };
    let registry = real.registry();
    let old = registry.push_filled(&real, "old", 20, Filling::Noise).by_digest();
    let noise = registry.push_filled(&real, "noise", 30, Filling::Noise).by_digest();
    let zeros = registry.push_filled(&real, "zeros", 600, Filling::Zeros).by_digest();
    let engine = |reserve_bytes| with(&real, "it-disk", ImageSettings { reserve_bytes, ..settings() });
    bring(&engine(0), &old).expect("there is room");
    real.resize_disk(100);
    let batch = |image: &String, keep: &[&String]| Batch {
        image: image.clone(),
        next: BTreeSet::new(),
        keep: keep.iter().map(|image| (*image).clone()).collect(),
    };
    let tell = |_: Progress| ();
    let told = bring_beside(&real, &noise, &old, 10_000_000);
    assert!(told.contains("there is no room for images at "), "{told}");
    assert!(
        told.contains("of which 10.0 MB stay in reserve, and 94.") && told.ends_with("MB are needed, 0 news"),
        "{told}"
    );
    assert!(is_present(&engine(0), &old), "what must stay stayed");

    // The registry cannot say how large this one gets: it is given up while it comes, before the reserve is touched.
    // The more there is in reserve, the longer it may take to be noticed.
    real.resize_disk(300);
    let refusal = wait_for(engine(200_000_000).bring(&batch(&zeros, &[&old]), &tell)).expect_err("it does not fit");
    assert!(matches!(refusal, EngineError::DiskFull { needed_bytes: 0, .. }), "{refusal}");
    // Without a reserve the disk is really full, and the engine says so.
    let refusal = wait_for(engine(0).bring(&batch(&zeros, &[&old]), &tell)).expect_err("it does not fit");
    assert!(refusal.to_string().contains("no space left on device"), "{refusal}");
    // It fits without what nobody needs, once the engine has cleared up after that.
    eventually("the disk can be small again", || real.try_resize_disk(100).ok());
    eventually("room is made", || bring_beside(&real, &noise, &noise, 0).starts_with("it came").then_some(()));
    assert!(!is_present(&engine(0), &old), "what nobody needed made room");
}

/// Brings an image where another one must stay, as an agent on the engine's own machine: only there is the registry's address
/// the registry's. What came of it, and how often there were news.
fn bring_beside(real: &RealEngine, image: &str, keep: &str, reserve_bytes: u64) -> String {
    let binary = std::env::current_exe().expect("know where the tests are");
    let mut command = real.inside(binary.to_str().expect("its path is text"));
    command.args(["--exact", "engine::images::brings_when_it_is_told_to", "--nocapture", "--test-threads=1"]);
    let socket = real.docker_socket();
    command.env(BRING, [socket.to_str().expect("its path is text"), image, keep, &reserve_bytes.to_string()].join(" "));
    let output = output_of(&mut command).expect("the tests run");
    let told = output.lines().find_map(|line| line.split_once("came of it: ")).expect("something came of it");
    told.1.to_owned()
}

/// The variable that tells the binary to bring an image.
const BRING: &str = "BELLWETHER_TEST_BRING";

/// Does nothing in a run of tests.
#[test]
#[allow(clippy::disallowed_methods, reason = "only so can it be told apart from a run of tests")]
fn brings_when_it_is_told_to() {
    let Ok(words) = std::env::var(BRING) else { return };
    let words: Vec<&str> = words.split(' ').collect();
    let [socket, image, keep, reserve] = words.as_slice() else { panic!("four words: {words:?}") };
    let reserve_bytes = reserve.parse().expect("a number of bytes");
    let device = DeviceId::new("it-disk").expect("a device name");
    let fleet = "acme".parse().expect("a fleet name");
    let engine = DockerEngine::connect(Path::new(socket), &fleet, &device).expect("a socket");
    let engine = engine.with_images(ImageSettings { reserve_bytes, ..ImageSettings::default() });
    let news = Mutex::new(0);
    let tell = |_: Progress| *news.lock().expect("not poisoned") += 1;
    let batch = Batch { image: (*image).to_owned(), next: BTreeSet::new(), keep: BTreeSet::from([(*keep).to_owned()]) };
    let came = wait_for(engine.bring(&batch, &tell)).map_or_else(|error| error.to_string(), |()| "it came".to_owned());
    let news = news.into_inner().expect("not poisoned");
    // A line of its own after what the harness writes.
    writeln!(std::io::stdout(), "\ncame of it: {came}, {news} news").expect("written");
}

#[test]
fn an_engine_that_is_killed_while_it_pulls_goes_on_when_it_is_back() {
    let Some(real) = RealEngine::start("midpull") else { return };
    let image = real.registry().push_filled(&real, "midpull", 8, Filling::Noise);
    let proxy = Proxy::start(&real, 5014, 5000);
    proxy.behave(Manner::Slow(2 << 20));
    let image = proxy.image(&image.name, &image.digest);
    let engine = with(&real, "it-midpull", settings());
    let crashed = Mutex::new(false);
    let tell = |_: Progress| {
        let mut crashed = crashed.lock().expect("not poisoned");
        if !std::mem::replace(&mut *crashed, true) {
            real.crash();
        }
    };
    let batch = Batch { image: image.clone(), ..Batch::default() };
    let refusal = wait_for(engine.bring(&batch, &tell)).expect_err("it was killed");
    assert!(matches!(refusal, EngineError::Pull { .. } | EngineError::Unavailable { .. }), "{refusal}");
    assert!(*crashed.lock().expect("not poisoned"));
    real.restart();
    proxy.behave(Manner::Honest);
    bring(&engine, &image).expect("it is back");
    assert!(is_present(&engine, &image));
}
