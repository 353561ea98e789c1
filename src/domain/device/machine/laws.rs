//! What holds from any state: convergence, one create per service and canonical digest, no way back, nothing lost by a kill.

use super::bench::{Bench, app, held, service, web};
use super::*;
use crate::domain::device::steps::app_steps;
use crate::domain::drift::app_differences;
use crate::domain::ids::{AppName, ServiceName, VolumeName};
use crate::domain::reported::{ObservedApp, Presence, ServiceState};
use crate::domain::spec::{AppSpec, DeviceSpec, Mount, Network, Port, Restart, ServiceSpec, Transport};
use crate::ports::engine::fake::{FakeEngine, Tamper};
use crate::ports::os::fake::FakeOs;
use proptest::prelude::*;

/// A service out of few parts, so that two drawn specs often share some.
fn any_service() -> impl Strategy<Value = ServiceSpec> {
    (0u8..3, 0u8..3, 0u8..3, 0u8..3, any::<bool>()).prop_map(|(image, variable, restart, network, mounted)| {
        let environment = match variable {
            0 => BTreeMap::new(),
            value => BTreeMap::from([("MODE".parse().expect("a variable name"), format!("{value}"))]),
        };
        let data: VolumeName = "data".parse().expect("a volume name");
        let mounts = if mounted {
            BTreeMap::from([(
                "/data".to_owned(),
                Mount { volume: data, access: Default::default(), seeding: Default::default() },
            )])
        } else {
            BTreeMap::new()
        };
        ServiceSpec {
            environment,
            mounts,
            restart: [Restart::Always, Restart::No, Restart::OnFailure(3)][usize::from(restart)],
            network: [Network::App, Network::Host, Network::None][usize::from(network)].clone(),
            ..ServiceSpec::of_image(&format!("example/image:{image}"))
        }
    })
}

/// Two apps of up to three services. Each host port has one owner, which may be another service in another spec: then
/// the old owner has to go first.
pub(super) fn any_spec() -> impl Strategy<Value = DeviceSpec> {
    let services = || proptest::collection::btree_map(0u8..3, any_service(), 0..3);
    (services(), services(), 0u8..4).prop_map(|(one, two, port_owner)| {
        let mut spec = DeviceSpec::default();
        for (name, services) in [("one", one), ("two", two)] {
            if services.is_empty() {
                continue;
            }
            let names: Vec<ServiceName> = services.keys().map(|key| service(&format!("s{key}"))).collect();
            let mut services: BTreeMap<ServiceName, ServiceSpec> =
                names.iter().cloned().zip(services.into_values()).collect();
            if name == "one"
                && let Some(owner) = services.values_mut().nth(usize::from(port_owner))
            {
                let port = Port { target: 80, transport: Transport::Tcp, published: Some(8080), host_ip: None };
                owner.ports = BTreeSet::from([port]);
            }
            // Each depends on the one after it: against the order of names.
            for pair in names.windows(2) {
                services.get_mut(&pair[0]).expect("it was just made").depends_on =
                    BTreeSet::from([pair[1].clone().into()]);
            }
            let volumes = BTreeSet::from(["data".parse().expect("a volume name")]);
            let release = "1.0.0".parse().expect("a version");
            spec.apps.insert(app(name), AppSpec { release, services, volumes, networks: BTreeMap::new() });
        }
        spec
    })
}

/// What somebody, or a crash, does to a device.
#[derive(Clone, Debug)]
enum Harm {
    Remove(u8, u8),
    Stop(u8, u8),
    State(u8, u8, u8),
    Variable(u8, u8),
    DropNetwork(u8),
    DropImages,
}

fn any_harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (0u8..2, 0u8..3).prop_map(|(a, s)| Harm::Remove(a, s)),
        (0u8..2, 0u8..3).prop_map(|(a, s)| Harm::Stop(a, s)),
        (0u8..2, 0u8..3, 0u8..3).prop_map(|(a, s, state)| Harm::State(a, s, state)),
        (0u8..2, 0u8..3).prop_map(|(a, s)| Harm::Variable(a, s)),
        (0u8..2).prop_map(Harm::DropNetwork),
        Just(Harm::DropImages),
    ]
}

fn inflict(engine: &mut FakeEngine, harm: &Harm) {
    let place = |a: &u8, s: &u8| -> (AppName, ServiceName) {
        (app(["one", "two"][usize::from(*a)]), service(&format!("s{s}")))
    };
    match harm {
        Harm::Remove(a, s) => {
            let (app, service) = place(a, s);
            engine.tamper(&Tamper::Remove { app, service });
        }
        Harm::Stop(a, s) => {
            let (app, service) = place(a, s);
            engine.tamper(&Tamper::Stop { app, service });
        }
        Harm::State(a, s, state) => {
            let (app, service) = place(a, s);
            if let Some(found) = engine.apps.get_mut(&app).and_then(|app| app.services.get_mut(&service)) {
                found.state = [ServiceState::Created, ServiceState::Paused, ServiceState::Dead][usize::from(*state)];
            }
        }
        Harm::Variable(a, s) => {
            let (app, service) = place(a, s);
            let name = "MODE".parse().expect("a variable name");
            engine.tamper(&Tamper::SetVariable { app, service, name, value: "tampered".to_owned() });
        }
        Harm::DropNetwork(a) => {
            // An engine keeps the network that containers use.
            if let Some(found) = engine.apps.get_mut(&place(a, &0).0)
                && found.services.is_empty()
            {
                found.network = Presence::Absent;
            }
        }
        Harm::DropImages => engine.images.clear(),
    }
}

pub(super) fn is_reached(spec: &DeviceSpec, engine: &FakeEngine) -> bool {
    app_differences(&spec.apps, &engine.apps).is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_device_reaches_any_assignment_and_then_rests(first in any_spec(), second in any_spec(), harms in proptest::collection::vec(any_harm(), 0..6)) {
        let mut bench = Bench::new();
        bench.run();
        bench.offer(held(1, first.clone()));
        bench.run();
        prop_assert!(is_reached(&first, &bench.engine), "{}", bench.transcript);
        bench.offer(held(2, second.clone()));
        bench.run();
        prop_assert!(is_reached(&second, &bench.engine), "{}", bench.transcript);
        for harm in &harms {
            inflict(&mut bench.engine, harm);
        }
        bench.fire(Timer::Work);
        bench.run();
        prop_assert!(is_reached(&second, &bench.engine), "{}", bench.transcript);
        let rested = bench.engine.operations;
        bench.fire(Timer::Work);
        bench.run();
        prop_assert_eq!(bench.engine.operations, rested, "a second turn changes nothing");
        prop_assert_eq!(bench.machine.phase(), Phase::Settled);
    }

    #[test]
    fn steps_are_asked_for_exactly_when_there_is_a_difference(spec in any_spec(), other in any_spec(), harms in proptest::collection::vec(any_harm(), 0..6)) {
        let mut bench = Bench::new();
        bench.run();
        bench.offer(held(1, other));
        bench.run();
        for harm in &harms {
            inflict(&mut bench.engine, harm);
        }
        let observed = bench.engine.look(&BTreeSet::new());
        let steps = app_steps(&spec, &observed);
        prop_assert_eq!(steps.is_empty(), app_differences(&spec.apps, &observed.apps).is_empty());
    }

    #[test]
    fn a_kill_at_any_moment_is_recovered_by_looking_again(first in any_spec(), second in any_spec(), kills in proptest::collection::vec(0usize..12, 1..6)) {
        let mut bench = Bench::new();
        bench.run();
        bench.offer(held(1, first));
        let mut newest = None;
        for (turn, kill) in kills.iter().enumerate() {
            for _ in 0..*kill {
                bench.perform_one();
            }
            if turn == 0 {
                bench.offer(held(2, second.clone()));
            }
            // Killed: the machine and everything under way are lost; engine, OS and ledger file stay.
            prop_assert!(bench.disk.mark().map(|mark| mark.order) >= newest, "a ledger goes back");
            newest = bench.disk.mark().map(|mark| mark.order);
            bench = Bench::on(bench.engine.clone(), bench.os.clone(), bench.disk.clone());
        }
        bench.run();
        prop_assert!(is_reached(&second, &bench.engine), "{}", bench.transcript);
        prop_assert_eq!(bench.machine.phase(), Phase::Settled);
        prop_assert_eq!(bench.machine.ledger().starts, kills.len() as u64 + 1);
        for (container, creates) in &bench.engine.creates {
            // The first assignment's containers may be made once, and once more only if the second replaced them between.
            prop_assert_eq!(*creates, 1, "{} was made more than once", container);
        }
    }

    #[test]
    fn volumes_are_never_removed(first in any_spec(), second in any_spec()) {
        let mut bench = Bench::new();
        bench.run();
        bench.offer(held(1, first.clone()));
        bench.run();
        bench.offer(held(2, second));
        bench.run();
        for (name, app) in &first.apps {
            let kept = bench.engine.apps.get(name).map(|found: &ObservedApp| found.volumes.clone()).unwrap_or_default();
            prop_assert!(app.volumes.is_subset(&kept));
        }
    }

    #[test]
    fn the_ledger_never_goes_back_whatever_is_offered(generations in proptest::collection::vec((1u64..6, 0u8..3), 1..12)) {
        let mut bench = Bench::new();
        bench.run();
        let mut newest = None;
        for (generation, content) in generations {
            bench.fire(Timer::Link);
            bench.offer(held(generation, web(&format!("{content}"))));
            bench.run();
            let mark = bench.disk.mark().map(|mark| mark.order);
            prop_assert!(mark >= newest);
            newest = mark;
        }
    }

    #[test]
    fn a_ledger_survives_its_text_and_no_cut_of_it_is_a_ledger(generation in 1u64..100, cut in 0usize..200) {
        let mut ledger = Ledger { starts: 3, accepted: Some(held(generation, web("hello"))), ..Ledger::default() };
        ledger.count_failure(ledger.mark().expect("it was just set").digest, crate::domain::generation::Attempt::FIRST);
        let text = ledger.to_text();
        prop_assert_eq!(Ledger::parse(&text), Ok(ledger));
        let end = text.len().saturating_sub(cut + 1);
        prop_assert!(Ledger::parse(&text[..end]).is_err());
        prop_assert!(Ledger::parse("").is_err());
    }
}

#[test]
fn a_fake_os_is_reached_once() {
    let mut os = FakeOs::default();
    assert_eq!(os.running.version.as_str(), "factory");
    let wanted = crate::domain::spec::OsSpec::named("kiosk-os", "2".parse().expect("a version"));
    assert_eq!(os.install(&wanted), Ok(()));
    assert_eq!((os.running.version.as_str(), os.installs), ("factory", 1));
    os.reboot();
    assert_eq!((os.running.version.as_str(), os.installs), ("2", 1));
}
