use std::collections::BTreeMap;
use std::net::TcpListener;

use proptest::prelude::*;

use super::*;

const REST: Duration = Duration::from_secs(60);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn server(name: &str) -> ServerId {
    ServerId::of_static(name)
}

fn lines(name: &str, count: u8) -> Vec<LineKey> {
    (0..count).map(|port| LineKey { server: server(name), port }).collect()
}

fn bound(name: &str, port: u8, tcp: u16) -> BoundPort {
    let line = LineKey { server: server(name), port };
    BoundPort { address: "127.0.0.1".into(), port: tcp, line }
}

struct Fixture {
    _directory: tempfile::TempDir,
    ledger: Arc<Ledger>,
    range: PortRange,
}

impl Fixture {
    fn new(start: u16, end: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(&directory.path().join("store.sqlite")).unwrap());
        Self { _directory: directory, ledger, range: PortRange { start, end } }
    }

    /// A new allocator on the same ledger, as after a restart.
    fn ports(&self) -> Ports {
        Ports::new(Arc::clone(&self.ledger), "127.0.0.1", self.range, REST)
    }

    fn held(&self) -> BTreeMap<u16, LineKey> {
        let leases = self.ledger.port_leases().unwrap();
        let held = leases.into_iter().filter(|lease| lease.released.is_none());
        held.map(|lease| (lease.port, lease.line)).collect()
    }
}

fn acquire(ports: &Ports, name: &str, count: u8, second: i64) -> Result<Vec<u16>, PortsError> {
    ports.acquire_with(&lines(name, count), at(second), &|_| Ok(true))
}

#[test]
fn ports_rotate_instead_of_starting_at_the_lowest() {
    let fixture = Fixture::new(10, 14);
    let ports = fixture.ports();
    assert_eq!(acquire(&ports, "a", 2, 0).unwrap(), [10, 11]);
    ports.release_server(server("a"), at(0)).unwrap();
    assert_eq!(acquire(&ports, "b", 1, 100).unwrap(), [12]);
    assert_eq!(acquire(&ports, "c", 2, 100).unwrap(), [13, 10]);
}

#[test]
fn the_rotation_goes_on_after_a_restart() {
    let fixture = Fixture::new(10, 14);
    acquire(&fixture.ports(), "a", 2, 0).unwrap();
    fixture.ports().release_server(server("a"), at(0)).unwrap();
    assert_eq!(acquire(&fixture.ports(), "b", 1, 100).unwrap(), [12]);
}

#[test]
fn a_port_rests_before_it_is_used_again() {
    let fixture = Fixture::new(10, 11);
    let ports = fixture.ports();
    acquire(&ports, "a", 1, 0).unwrap();
    ports.release_server(server("a"), at(10)).unwrap();
    let error = acquire(&ports, "b", 1, 69).unwrap_err().to_string();
    assert!(error.contains("1 rest for up to 60 s"), "{error}");
    assert_eq!(acquire(&ports, "b", 1, 70).unwrap(), [10]);
}

#[test]
fn a_foreign_listener_is_skipped() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let fixture = Fixture::new(port, u32::from(port) + 1);
    let error = fixture.ports().acquire(&lines("a", 1), at(0)).unwrap_err().to_string();
    assert!(error.starts_with("Not able to acquire a free port for 127.0.0.1"), "{error}");
    assert!(error.contains("1 are taken by other programs"), "{error}");
    drop(listener);
    assert_eq!(fixture.ports().acquire(&lines("a", 1), at(0)).unwrap(), [port]);
}

#[test]
fn too_few_ports_lease_none() {
    let fixture = Fixture::new(10, 13);
    let ports = fixture.ports();
    acquire(&ports, "a", 2, 0).unwrap();
    let error = acquire(&ports, "b", 2, 0).unwrap_err().to_string();
    assert!(error.contains("2 needed") && error.contains("port_range 10:13"), "{error}");
    assert!(fixture.held().values().all(|line| line.server == server("a")));
    assert_eq!(acquire(&ports, "b", 1, 0).unwrap(), [12], "and none is left resting");
}

#[test]
fn an_address_of_another_host_is_named_as_the_fault() {
    let fixture = Fixture::new(10, 13);
    let ports = Ports::new(Arc::clone(&fixture.ledger), "192.0.2.1", fixture.range, REST);
    let error = ports.acquire(&lines("a", 1), at(0)).unwrap_err().to_string();
    assert!(error.contains("proxyclient_address must be an address of this host"), "{error}");
}

#[test]
fn a_lease_is_given_back_by_its_owner_alone() {
    let fixture = Fixture::new(10, 13);
    let ports = fixture.ports();
    acquire(&ports, "a", 1, 0).unwrap();
    ports.release(10, lines("b", 1)[0], at(1)).unwrap();
    ports.release_server(server("b"), at(1)).unwrap();
    assert_eq!(fixture.held().len(), 1);
    ports.release(10, lines("a", 1)[0], at(1)).unwrap();
    assert!(fixture.held().is_empty());
}

#[test]
fn reconciling_adopts_what_domains_use_and_releases_the_rest() {
    let fixture = Fixture::new(10, 20);
    let ports = fixture.ports();
    acquire(&ports, "kept", 2, 0).unwrap();
    acquire(&ports, "gone", 1, 0).unwrap();
    let domains = BTreeSet::from([
        bound("kept", 0, 10),
        bound("kept", 1, 11),
        bound("stopped", 0, 15),
        bound("thief", 0, 10),
    ]);
    ports.reconcile(&domains, at(5)).unwrap();
    let held = fixture.held();
    assert_eq!(held.keys().copied().collect::<Vec<_>>(), [10, 11, 15]);
    assert_eq!(held[&10].server, server("kept"), "who came first keeps the port");
    assert_eq!(held[&15].server, server("stopped"));
}

#[test]
fn a_port_that_is_bound_on_all_addresses_is_taken_on_each() {
    let fixture = Fixture::new(10, 12);
    let ports = fixture.ports();
    let all = BoundPort { address: "0.0.0.0".into(), ..bound("other", 0, 10) };
    let elsewhere = BoundPort { address: "192.0.2.1".into(), ..bound("other", 1, 11) };
    ports.adopt(&[all, elsewhere], at(0)).unwrap();
    assert_eq!(acquire(&ports, "a", 1, 0).unwrap(), [11]);
}

#[derive(Clone, Debug)]
enum Step {
    Acquire { server: usize, count: u8 },
    Release { server: usize },
    Squat { port: u16 },
    Leave { port: u16 },
    Wait { seconds: i64 },
    Restart,
}

const START: u16 = 65530;
const END: u32 = 65536;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..NAMES.len(), 1..4u8).prop_map(|(server, count)| Step::Acquire { server, count }),
        2 => (0..NAMES.len()).prop_map(|server| Step::Release { server }),
        1 => (START..=u16::MAX).prop_map(|port| Step::Squat { port }),
        1 => (START..=u16::MAX).prop_map(|port| Step::Leave { port }),
        2 => (0..90i64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Restart),
    ]
}

/// A simple model of the allocator's guarantees.
#[derive(Default)]
struct Model {
    held: BTreeMap<u16, LineKey>,
    released: BTreeMap<u16, i64>,
    squatted: BTreeSet<u16>,
    now: i64,
}

impl Model {
    fn is_free(&self, port: u16) -> bool {
        let rests = self.released.get(&port).is_some_and(|then| self.now - then < 60);
        !self.held.contains_key(&port) && !rests && !self.squatted.contains(&port)
    }

    fn free(&self) -> usize {
        (START..=u16::MAX).filter(|port| self.is_free(*port)).count()
    }

    fn release(&mut self, server: ServerId) {
        let now = self.now;
        let (given, kept) = self.held.iter().partition(|(_, line)| line.server == server);
        self.held = kept;
        self.released.extend(BTreeMap::into_keys(given).map(|port| (port, now)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_allocator_does_as_the_model(steps in proptest::collection::vec(step(), 0..40)) {
        let fixture = Fixture::new(START, END);
        let mut ports = fixture.ports();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Acquire { server: index, count } => {
                    // A server is booted only once.
                    let name = NAMES[index];
                    if model.held.values().any(|line| line.server == server(name)) {
                        continue;
                    }
                    let lines = lines(name, count);
                    let squatted = model.squatted.clone();
                    let is_free = |port| Ok(!squatted.contains(&port));
                    let got = ports.acquire_with(&lines, at(model.now), &is_free);
                    prop_assert_eq!(got.is_ok(), model.free() >= lines.len());
                    for (port, line) in got.unwrap_or_default().into_iter().zip(lines) {
                        prop_assert!(model.is_free(port), "{} is not free", port);
                        model.held.insert(port, line);
                    }
                }
                Step::Release { server: index } => {
                    ports.release_server(server(NAMES[index]), at(model.now)).unwrap();
                    model.release(server(NAMES[index]));
                }
                Step::Squat { port } => drop(model.squatted.insert(port)),
                Step::Leave { port } => drop(model.squatted.remove(&port)),
                Step::Wait { seconds } => model.now += seconds,
                Step::Restart => ports = fixture.ports(),
            }
            prop_assert_eq!(&fixture.held(), &model.held);
        }
    }
}
