//! What devices were assigned is what the written files mean: digest by digest, for whatever specs a repo can come to.

use super::compose::{Blend, Part, compose};
use super::*;
use crate::domain::desired::{Resolver, SecretTable};
use crate::domain::device::canonical::networks_of;
use crate::domain::manifest::compose as reading;
use crate::domain::manifest::problems::Problems;
use crate::domain::manifest::vars::Strictness;
use crate::domain::manifest::zones::Zone;
use crate::domain::secret::{Encoding, Piece, SecretRef, SecretText};
use crate::domain::snapshot::Snapshot;
use crate::domain::spec::{
    Access, AppSpec, Attachment, Bind, Dependency, DeviceConfig, DeviceNode, HealthCheck, HealthTest, HostFile,
    HostPath, Logging, MAX_STOP_GRACE_SECS, Maintenance, Mount, Namespace, Network, NetworkSpec, NetworkSwitch,
    Options, OsSpec, Port, Probe, ProbeCheck, Renewal, Restart, SPEC_SCHEMA, SealedSpec, Seeding, ServiceSpec, Subnet,
    Transfer, Transport, Ulimit, Until, Update,
};
use crate::domain::window::{Minutes, Window};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use std::str::FromStr;

const SERVICES: [&str; 4] = ["api", "cache", "screen", "worker"];

pub(super) fn named<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a name")
}

/// Whatever people write into values.
fn text() -> BoxedStrategy<String> {
    prop_oneof![
        "[ -~]{0,12}",
        "[a-z]{1,6}",
        "\\PC{0,6}",
        "(\\{|\\}|%|#|\\$|\n|\r|'|\"|\\\\|x| ){0,10}",
        "(?i)(true|no|null|~|1e3|0x1f|12:30|1_000|<<|=|-|---|1\\.10|017)",
    ]
    .boxed()
}

fn key() -> BoxedStrategy<String> {
    "[a-z][a-z0-9.]{0,8}".boxed()
}

fn options() -> BoxedStrategy<Options> {
    let capabilities = || btree_set("[A-Z][A-Z_]{2,8}".prop_filter("prefix", |name| !name.starts_with("CAP_")), 0..3);
    let names = (
        btree_map(key(), text(), 0..3),
        capabilities(),
        capabilities(),
        btree_set("c [0-9]{1,3}:[*] rw", 0..2),
        btree_map(
            "/dev/[a-z]{1,5}",
            ("/dev/[a-z]{1,5}", "r?w|m").prop_map(|(source, permissions)| DeviceNode { source, permissions }),
            0..2,
        ),
        vec((0..255_u8).prop_map(|last| format!("10.0.0.{last}")), 0..2),
        btree_set(
            (key(), prop_oneof![Just("10.1.2.3"), Just("fd00::5"), Just("host-gateway")])
                .prop_map(|(name, address)| format!("{name}:{address}")),
            0..3,
        ),
        btree_set(text(), 0..2),
        btree_map(key(), text(), 0..2),
        btree_map("/[a-z]{1,5}", prop_oneof![Just(String::new()), Just("size=64,mode=1777".to_owned())], 0..2),
    )
        .boxed();
    let numbers = (
        of(0..=u64::from(u32::MAX)),
        of(0..=4_000_000_000_000_u64),
        of((6 << 20)..=(1_u64 << 40)),
        of(0..=100_u8),
        of(-1000..=1000_i32),
        of(-1..=100_000_i64),
        of(0..=MAX_STOP_GRACE_SECS),
        btree_map(
            prop_oneof![Just("nofile".to_owned()), Just("core".to_owned())],
            (0..1000_i64, 1000..2000_i64).prop_map(|(soft, hard)| Ulimit { soft, hard }),
            0..3,
        ),
    )
        .boxed();
    let others = (
        of(prop_oneof![Just(Namespace::Host), Just(Namespace::Private)]),
        of(prop_oneof![
            Just(Namespace::Host),
            Just(Namespace::None),
            Just(Namespace::Private),
            Just(Namespace::Shareable)
        ]),
        of(Just(Namespace::Host)),
        of(text()),
        of("[0-9](-[4-9])?"),
        of("[a-z][a-z0-9.]{0,9}"),
        of((of("[a-z]{1,9}"), btree_map(key(), text(), 0..3))
            .prop_map(|(driver, options)| Logging { driver, options })),
        btree_set(prop_oneof![Just("no-new-privileges:true".to_owned()), Just("label:user:u".to_owned())], 0..3),
        btree_set(
            prop_oneof![
                Just(Switch::Init),
                Just(Switch::OomKillDisable),
                Just(Switch::Privileged),
                Just(Switch::ReadOnly),
                Just(Switch::StdinOpen),
                Just(Switch::Tty)
            ],
            0..6,
        ),
    )
        .boxed();
    (names, numbers, others)
        .prop_map(|(names, numbers, others)| {
            let (
                annotations,
                cap_add,
                cap_drop,
                device_cgroup_rules,
                devices,
                dns,
                extra_hosts,
                group_add,
                sysctls,
                tmpfs,
            ) = names;
            let (number, cpus, memory, mem_swappiness, oom_score_adj, pids_limit, stop_grace_period_secs, ulimits) =
                numbers;
            let (cgroup, ipc, host, cgroup_parent, cpuset, hostname, logging, security_opt, switches) = others;
            Options {
                annotations,
                cap_add,
                cap_drop,
                cgroup,
                cgroup_parent: cgroup_parent.clone(),
                cpu_period: number.filter(|_| cpus.is_none()),
                cpu_quota: number.filter(|_| cpus.is_none()),
                cpu_shares: number,
                cpus,
                cpuset,
                device_cgroup_rules,
                devices,
                dns,
                dns_opt: cgroup_parent.iter().cloned().collect(),
                dns_search: cgroup_parent.into_iter().collect(),
                domainname: hostname.clone(),
                extra_hosts,
                group_add,
                runtime: hostname.clone(),
                hostname,
                ipc,
                logging: logging.filter(|logging| *logging != Logging::default()),
                mem_limit: memory,
                mem_reservation: memory,
                mem_swappiness,
                memswap_limit: memory.and_then(|memory| i64::try_from(memory).ok()),
                oom_score_adj,
                pid: host.clone(),
                pids_limit,
                security_opt,
                shm_size: number,
                stop_grace_period_secs,
                switches,
                sysctls,
                tmpfs: tmpfs.into_iter().map(|(path, options)| (format!("/mem{path}"), options)).collect(),
                ulimits,
                userns_mode: host.clone(),
                uts: host,
            }
        })
        .boxed()
}

fn health() -> BoxedStrategy<HealthCheck> {
    let nanos = || of(prop_oneof![Just(0), 1_000_000..10_000_000_000_000_u64]);
    let test = prop_oneof![
        Just(HealthTest::Off),
        vec(text(), 1..3).prop_map(HealthTest::Command),
        text().prop_map(HealthTest::Shell),
    ];
    (of(test), nanos(), nanos(), nanos(), nanos(), of(0..=10_000_u32))
        .prop_map(|(test, interval_nanos, timeout_nanos, start_period_nanos, start_interval_nanos, retries)| {
            HealthCheck { test, interval_nanos, timeout_nanos, start_period_nanos, start_interval_nanos, retries }
        })
        .boxed()
}

fn secret_text() -> BoxedStrategy<SecretText> {
    let encoding = prop_oneof![Just(Encoding::Plain), Just(Encoding::Json), Just(Encoding::Base64)];
    let secret = ("[A-Z]{1,3}", encoding).prop_map(|(name, encoding)| Piece::Secret {
        reference: SecretRef { name: named(&name), digest: None },
        encoding,
    });
    (text(), secret, text())
        .prop_map(|(before, secret, after)| {
            // The filter brings the quotes.
            let quote = if matches!(secret, Piece::Secret { encoding: Encoding::Json, .. }) { "\"" } else { "" };
            let around = [format!("{before}{quote}"), format!("{quote}{after}")].map(Piece::Text);
            let [before, after] = around;
            let is_some = |piece: &Piece| !matches!(piece, Piece::Text(text) if text.is_empty());
            SecretText([before, secret, after].into_iter().filter(is_some).collect())
        })
        .boxed()
}

/// A service that may need those whose names come before its own.
fn service(at: usize) -> BoxedStrategy<ServiceSpec> {
    let earlier: Vec<ServiceName> = SERVICES[..at].iter().map(|name| named(name)).collect();
    let dependency =
        (any::<proptest::sample::Index>(), 0..3_usize, 0..2_usize).prop_map(move |(index, until, renewal)| {
            let service = (!earlier.is_empty()).then(|| earlier[index.index(earlier.len())].clone())?;
            let until = [Until::Started, Until::Healthy, Until::Completed][until];
            Some(Dependency { service, until, renewal: [Renewal::Kept, Renewal::Restarted][renewal] })
        });
    let port = (1..9000_u16, any::<bool>(), of(1..9000_u16), of(any::<std::net::Ipv6Addr>())).prop_map(
        |(target, is_udp, published, address)| Port {
            target,
            transport: if is_udp { Transport::Udp } else { Transport::Tcp },
            published,
            host_ip: address.map(Into::into),
        },
    );
    let mount = ("[a-z]{1,6}", any::<bool>(), any::<bool>()).prop_map(|(volume, is_read_only, is_empty)| Mount {
        volume: named(&volume),
        access: if is_read_only { Access::ReadOnly } else { Access::ReadWrite },
        seeding: if is_empty { Seeding::Empty } else { Seeding::FromImage },
    });
    let bind = ("/[a-z]{1,6}(/[a-z$]{1,3})?", any::<bool>(), any::<bool>(), of(Just("rslave".to_owned()))).prop_map(
        |(source, is_read_only, is_required, propagation)| Bind {
            source,
            access: if is_read_only { Access::ReadOnly } else { Access::ReadWrite },
            host_path: if is_required { HostPath::Required } else { HostPath::Made },
            propagation,
        },
    );
    let attachment = (btree_set("[a-z]{1,5}", 0..2), of(any::<std::net::Ipv4Addr>()), of(any::<std::net::Ipv6Addr>()))
        .prop_map(|(aliases, ipv4_address, ipv6_address)| Attachment { aliases, ipv4_address, ipv6_address });
    let basic = (
        "[a-z]{1,5}(/[a-z]{1,5})?:[0-9]{1,2}",
        of(vec(text(), 0..3)),
        of(vec(text(), 0..3)),
        btree_map("[A-Z]{1,2}", text(), 0..4),
        btree_map("S_[A-Z]{1,2}", secret_text(), 0..2),
        prop_oneof![
            Just(Restart::Always),
            Just(Restart::UnlessStopped),
            Just(Restart::No),
            (0..9_u32).prop_map(Restart::OnFailure)
        ],
        btree_set(port, 0..3),
    )
        .boxed();
    let places = (
        btree_map("/data/[a-z]{1,5}", mount, 0..3),
        btree_map("/host/[a-z]{1,5}", bind, 0..2),
        btree_map("[a-z]{1,6}", attachment, 0..3),
        btree_map(key(), text(), 0..3),
        of("[a-z]{1,4}(:[0-9]{1,3})?"),
        of("/[a-z$]{1,6}"),
        0..4_u8,
    )
        .boxed();
    let others = (vec(dependency, 0..3), of(health()), of(Just("SIGINT".to_owned())), options()).boxed();
    (basic, places, others)
        .prop_map(|(basic, places, others)| {
            let (image, entrypoint, command, environment, secrets, restart, ports) = basic;
            let (mounts, binds, networks, labels, user, working_dir, network) = places;
            let (depends_on, healthcheck, stop_signal, options) = others;
            let network = [Network::App, Network::App, Network::Host, Network::None][usize::from(network)].clone();
            let is_app = network == Network::App;
            let mut known = BTreeSet::new();
            ServiceSpec {
                image,
                entrypoint,
                command,
                environment: environment.into_iter().map(|(name, value)| (named(&name), value)).collect(),
                secret_environment: secrets.into_iter().map(|(name, value)| (named(&name), value)).collect(),
                restart,
                ports: if is_app { ports } else { BTreeSet::new() },
                mounts,
                labels: labels.into_iter().filter(|(key, _)| !key.starts_with("bellwether")).collect(),
                user,
                working_dir,
                network,
                depends_on: depends_on.into_iter().flatten().filter(|one| known.insert(one.service.clone())).collect(),
                networks: if is_app {
                    networks_of(networks.into_iter().map(|(name, one)| (named(&name), one)).collect())
                } else {
                    BTreeMap::new()
                },
                binds,
                healthcheck,
                stop_signal,
                options,
                update: Update::default(),
                lock_folder: None,
                probes: BTreeMap::new(),
            }
        })
        .prop_flat_map(|spec| any_own().prop_map(move |own| with_own(spec.clone(), own)))
        .boxed()
}

type Own = (Update, Option<String>, BTreeMap<String, Probe>);

/// What stands under `x-bellwether`.
fn any_own() -> impl Strategy<Value = Own> {
    use crate::domain::spec::Strategy::{DeleteThenDownload, DownloadThenKill, HandOver, KillThenDownload};
    let update = prop_oneof![
        (Just(HandOver), of(1..=600_u32)),
        (prop_oneof![Just(DownloadThenKill), Just(KillThenDownload), Just(DeleteThenDownload)], Just(None)),
    ];
    let update = update.prop_map(|(strategy, handover_timeout_secs)| Update { strategy, handover_timeout_secs });
    let check = prop_oneof![
        (1..=u16::MAX, "/[!-~]{0,12}").prop_map(|(port, path)| ProbeCheck::Http { port, path }),
        Just(ProbeCheck::Exec(vec!["is-up".to_owned(), "$HOME/a b".to_owned()])),
        Just(ProbeCheck::File { path: "/run/$up".to_owned(), max_age_secs: Some(90) }),
        Just(ProbeCheck::File { path: "/run/up".to_owned(), max_age_secs: None }),
    ];
    let probe =
        (check, 1u32..=86_400, 1u32..=300, 1u32..=100).prop_map(|(check, interval_secs, timeout_secs, threshold)| {
            Probe { check, interval_secs, timeout_secs, threshold }
        });
    let probes = btree_map("up-[a-c]", probe, 0..3);
    (update, of(Just("/run/$lock".to_owned())), probes)
}

/// Two containers of one service cannot stand side by side everywhere, and a file that asks for it is refused.
fn handed_over_where_possible(services: &mut BTreeMap<ServiceName, ServiceSpec>) {
    let joined: BTreeSet<ServiceName> = services.values().flat_map(ServiceSpec::joined).cloned().collect();
    for (name, spec) in services.iter_mut() {
        let is_alone = spec.ports.iter().any(|port| port.published.is_some())
            || spec.networks.values().any(|one| one.ipv4_address.is_some() || one.ipv6_address.is_some())
            || matches!(spec.network, Network::Service(_))
            || joined.contains(name);
        if is_alone && spec.update.strategy == crate::domain::spec::Strategy::HandOver {
            spec.update = Update::default();
        }
    }
}

fn with_own(spec: ServiceSpec, (update, lock_folder, probes): Own) -> ServiceSpec {
    ServiceSpec { update, lock_folder, probes, ..spec }
}

fn app() -> BoxedStrategy<AppSpec> {
    let services = (service(0), service(1), service(2), service(3));
    let switches = btree_set(prop_oneof![Just(NetworkSwitch::EnableIpv6), Just(NetworkSwitch::Internal)], 0..3);
    let subnet = (0..255_u8, any::<bool>()).prop_map(|(third, is_full)| Subnet {
        subnet: format!("10.9.{third}.0/24"),
        gateway: is_full.then(|| format!("10.9.{third}.1")),
        ip_range: is_full.then(|| format!("10.9.{third}.128/25")),
    });
    let network = (switches, vec(subnet, 0..2)).prop_map(|(switches, subnets)| NetworkSpec { switches, subnets });
    (services, btree_map("[a-z]{1,6}|default", network, 0..3))
        .prop_map(|(services, networks)| {
            let (one, two, three, four) = services;
            let mut services: BTreeMap<ServiceName, ServiceSpec> =
                SERVICES.iter().map(|name| named(name)).zip([one, two, three, four]).collect();
            handed_over_where_possible(&mut services);
            let volumes =
                services.values().flat_map(|one| one.mounts.values()).map(|mount| mount.volume.clone()).collect();
            let networks = networks.into_iter().map(|(name, network)| (named(&name), network));
            let networks = networks.filter(|(_, network)| *network != NetworkSpec::default()).collect();
            AppSpec { release: named("1.2.3-rc.1+b"), services, volumes, networks }
        })
        .boxed()
}

fn everything() -> HostRights {
    HostRights { host_paths: BTreeSet::from(["/".to_owned()]), privileged: Privileged::Allowed }
}

/// What a device has of a file.
fn read(text: &str) -> Result<AppSpec, String> {
    let file: Arc<str> = "compose.yml".into();
    let mut problems = Problems::new(&file);
    let rights = everything();
    let rules = reading::Rules { strictness: Strictness::Lenient, rights: &rights };
    let read = reading::read(text.as_bytes(), rules, &mut problems);
    if problems.errors() > 0 {
        let messages: Vec<String> = problems.finish().into_iter().map(|one| one.message).collect();
        return Err(format!("{}\n{text}", messages.join("\n")));
    }
    let service = |service: reading::Service| {
        let environment = service.environment.into_iter().filter_map(|(name, one)| Some((name, one.value?))).collect();
        ServiceSpec { environment, ..service.spec }
    };
    let services = read.services.into_iter().map(|(name, one)| (name, service(one))).collect();
    Ok(AppSpec { release: named("1.2.3-rc.1+b"), services, volumes: read.volumes, networks: read.networks })
}

fn written(app: &AppSpec) -> String {
    let services = app.services.iter().map(|(name, spec)| (name.clone(), Part::of(spec))).collect();
    to_yaml(&compose(&Blend { services, volumes: app.volumes.clone(), networks: app.networks.clone() }))
}

/// A device that differs from its release in what vars files can say, and runs some of its services.
#[derive(Clone, Debug)]
struct Variation {
    stage: usize,
    groups: BTreeSet<String>,
    environment: BTreeMap<String, String>,
    left_out: BTreeSet<usize>,
    extra: BTreeMap<String, String>,
    files: BTreeMap<String, HostFile>,
    opens_at: Option<u8>,
}

fn file() -> BoxedStrategy<HostFile> {
    let mode = prop_oneof![Just("644"), Just("0600"), Just("755")].prop_map(named);
    (text(), of(secret_text()), mode)
        .prop_map(|(content, secret_content, mode)| {
            let content = if secret_content.is_some() { String::new() } else { content };
            HostFile { content, secret_content, mode }
        })
        .boxed()
}

fn variation() -> BoxedStrategy<Variation> {
    (
        0..2_usize,
        btree_set("g[1-3]", 0..3),
        btree_map("[A-Z]{1,2}", text(), 0..3),
        btree_set(0..4_usize, 0..3),
        btree_map("x-[a-z]{1,3}", text(), 0..2),
        btree_map("f/[a-z]{1,3}", file(), 0..3),
        of(0..24_u8),
    )
        .prop_map(|(stage, groups, environment, left_out, extra, files, opens_at)| Variation {
            stage,
            groups,
            environment,
            left_out,
            extra,
            files,
            opens_at,
        })
        .boxed()
}

fn varied(app: &AppSpec, at: usize, variation: &Variation) -> Member {
    let Variation { stage, groups, environment, left_out, extra, files, opens_at } = variation;
    let mut app = app.clone();
    // One is always left.
    for index in left_out.iter().filter(|index| **index > 0) {
        app.services.remove(SERVICES[*index]);
    }
    for service in app.services.values_mut() {
        service.environment.extend(environment.iter().map(|(name, value)| (named(name), value.clone())));
    }
    let there: BTreeSet<ServiceName> = app.services.keys().cloned().collect();
    for service in app.services.values_mut() {
        service.depends_on.retain(|one| there.contains(&one.service));
    }
    let window = |hour: &u8| Window {
        opens: named(&format!("30 {hour} * * 1-5")),
        minutes: Minutes::try_from(90).expect("a length"),
        zone: Zone::named("Europe/Zurich").expect("a zone").rule,
    };
    let maintenance = Maintenance { apply: opens_at.iter().map(window).collect(), ..Maintenance::default() };
    let config = DeviceConfig {
        poll_interval_secs: opens_at.map(u32::from).filter(|secs| *secs > 0),
        persistent_logging: opens_at.map(|hour| hour > 12),
        hostname: opens_at.map(|hour| named(&format!("host-{hour}"))),
        time_zone: opens_at.map(|_| named("Europe/Zurich")),
        sysctl: opens_at.iter().map(|hour| (named("vm.swappiness"), hour.to_string())).collect(),
        files: files.iter().map(|(name, file)| (named(name), file.clone())).collect(),
        hooks: files.keys().map(|name| (named("reload"), BTreeSet::from([named(&format!("files/{name}"))]))).collect(),
        extra: extra.clone(),
    };
    let os = OsSpec {
        name: "base".to_owned(),
        version: named("2026.1"),
        url: Some("https://images.example.com/base".to_owned()),
        digest: None,
        size_bytes: Some(1 << 20),
        transfer: Transfer::Stream,
    };
    let spec = DeviceSpec {
        schema: SPEC_SCHEMA,
        device_type: Some(named("board")),
        apps: [(named("shop"), app)].into(),
        os: at.is_multiple_of(2).then_some(os),
        config,
        maintenance,
    };
    let groups = groups.iter().map(String::as_str).collect::<Vec<_>>().join(",");
    let attributes = if groups.is_empty() { BTreeMap::new() } else { [(named(GROUPS), groups)].into() };
    Member { stage: Some(named(["canary", "production"][*stage])), attributes, spec: Some(Arc::new(spec)) }
}

/// What devices come to by the files of a stage.
pub(super) fn meant(
    members: &BTreeMap<DeviceId, Member>,
    stage: &StageName,
) -> (Authored, Result<BTreeMap<DeviceId, SealedSpec>, String>) {
    let authored = author(&named("acme"), members, stage);
    let snapshot = Snapshot::of_files(authored.files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())));
    let specs = || members.values().filter_map(|member| member.spec.as_deref());
    let mut resolver = Resolver::with_rights(rights(specs()));
    let source = crate::domain::desired::InventorySource::Repo;
    let desired = resolver.resolve_from(&snapshot, &source, &SecretTable::assigned(specs()));
    let mut meant = BTreeMap::new();
    for (device, listed) in &desired.devices {
        match &listed.spec {
            Some(spec) => meant.insert(device.clone(), spec.clone()),
            None => return (authored, Err(format!("{device}: {:?}", listed.problem))),
        };
    }
    (authored, Ok(meant))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_compose_file_that_was_written_says_what_the_device_has(app in app()) {
        // Vars files say what is secret.
        let mut plain = app;
        plain.services.values_mut().for_each(|service| service.secret_environment.clear());
        let text = written(&plain);
        let read = read(&text).map_err(TestCaseError::fail)?;
        prop_assert_eq!(read, plain, "{}", text);
    }

    #[test]
    fn a_repo_that_was_written_gives_every_device_the_digest_that_it_has(
        app in app(),
        variations in vec(variation(), 1..6),
    ) {
        let members: BTreeMap<DeviceId, Member> = variations
            .iter()
            .enumerate()
            .map(|(at, variation)| (named(&format!("d{at}")), varied(&app, at, variation)))
            .collect();
        let (authored, meant) = meant(&members, &named("canary"));
        let shown = || authored.files.iter().map(|(path, text)| format!("== {path}\n{text}")).collect::<String>();
        let meant = meant.map_err(|error| TestCaseError::fail(format!("{error}\n{}", shown())))?;
        prop_assert!(authored.unsaid.is_empty(), "{:?}", authored.unsaid);
        for (device, member) in &members {
            let spec = DeviceSpec::clone(member.spec.as_deref().expect("all have one"));
            let sealed = SealedSpec::seal(spec);
            let found = meant.get(device).map(|spec| &*spec.payload);
            prop_assert_eq!(found, Some(&*sealed.payload), "{}\n{}", device, shown());
        }
    }
}
