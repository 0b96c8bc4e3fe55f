//! Hosts join a cluster, renew their certificates and are removed: with a real etcd, and a listener that
//! does what an api host's does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use serialproxy_cluster::Admission;
use serialproxy_cluster::Authority;
use serialproxy_cluster::Code;
use serialproxy_cluster::Identity;
use serialproxy_cluster::JoinError;
use serialproxy_cluster::Joined;
use serialproxy_cluster::Joining;
use serialproxy_cluster::Member;
use serialproxy_cluster::MemberError;
use serialproxy_cluster::Members;
use serialproxy_cluster::Peer;
use serialproxy_cluster::Renewal;
use serialproxy_cluster::Role;
use serialproxy_cluster::Serial;
use serialproxy_cluster::Strangers;
use serialproxy_cluster::Surveyed;
use serialproxy_cluster::etcd_settings;
use serialproxy_cluster::init;
use serialproxy_cluster::join;
use serialproxy_cluster::survey;
use serialproxy_config::Sources;
use serialproxy_config::load;
use serialproxy_config::values::Cluster;
use serialproxy_e2e::etcd::Etcd;
use serialproxy_e2e::eventually;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

const HOUR: Duration = Duration::from_secs(3600);

/// An etcd, and an api host `a1` with the CA.
struct Place {
    dir: TempDir,
    ca: Authority,
    store: serialproxy_etcd::Etcd,
    members: Members,
    admission: Admission,
    api: Arc<Identity>,
    etcd: Etcd,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let etcd = Etcd::start(1).await;
        let state = dir.path().join("a1");
        let ca = init(&state, "a1", &Role::Api.into(), HOUR).unwrap();
        let mut options = options(&state, dir.path());
        options.name = "a1".into();
        options.etcd_endpoints = etcd.endpoints();
        let store = serialproxy_etcd::Etcd::new(etcd_settings(&options)).unwrap();
        let members = Members::new(store.clone());
        let admission = Admission::load(&options, &state, members.clone()).unwrap().unwrap();
        let api = Arc::new(Identity::load(&options).unwrap());
        let (own, own_admission) = (Arc::clone(&api), Some(admission.clone()));
        let renewal = Renewal::new(own, &options, state, own_admission, Vec::new);
        // It also notes the host in etcd, which nobody knew when it made its certificate.
        tokio::spawn(async move { renewal.run().await });
        eventually(async || {
            Some(survey(&store).await.unwrap()).filter(|members| !members.is_empty())
        })
        .await;
        Self { dir, ca, store, members, admission, api, etcd }
    }

    fn state(&self, host: &str) -> PathBuf {
        self.dir.path().join(host)
    }

    /// Where its configuration goes.
    fn config(&self, host: &str) -> PathBuf {
        self.state(host).join("serialproxy.conf.d")
    }

    /// Serves the calls of hosts that join, and of those that are in.
    async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor =
            TlsAcceptor::from(Arc::new(self.api.server_config(Strangers::Admitted).unwrap()));
        let admission = self.admission.clone();
        tokio::spawn(async move {
            while let Ok((tcp, from)) = listener.accept().await {
                let (acceptor, admission) = (acceptor.clone(), admission.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let peer = Peer::of(tls.get_ref().1).ok();
                    let service = service_fn(|request| {
                        let (admission, peer) = (admission.clone(), peer.clone());
                        async move {
                            let answer = admission.answer(request, from.ip(), peer.as_ref()).await;
                            Ok::<_, std::convert::Infallible>(answer)
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(tls), service)
                        .await;
                });
            }
        });
        address
    }

    /// Lets the api host know of removed certificates.
    fn follow_removed(&self) {
        let (members, api) = (self.members.clone(), Arc::clone(&self.api));
        tokio::spawn(async move { members.follow_removed(api.removed()).await });
    }

    /// What `serialproxy enroll` does.
    async fn enroll(&self, roles: &str, replace: Option<&str>) -> Code {
        let code = self.ca.code().unwrap();
        let (roles, replace) = (roles.parse().unwrap(), replace.map(str::to_owned));
        self.members.invite(&code, roles, replace, HOUR).await.unwrap();
        code
    }

    async fn join(&self, at: SocketAddr, code: &Code, host: &str) -> Result<Joined, JoinError> {
        self.join_as(at, code, host, host).await
    }

    /// Joins under a name that is not that of the directories.
    async fn join_as(
        &self,
        at: SocketAddr,
        code: &Code,
        name: &str,
        host: &str,
    ) -> Result<Joined, JoinError> {
        let (address, state_dir, config_dir) =
            (at.to_string(), self.state(host), self.config(host));
        let joining = Joining {
            address: &address,
            code,
            name,
            state_dir: &state_dir,
            config_dir: &config_dir,
        };
        join(&joining).await
    }

    /// As if half of the time of a host's newest certificate were over.
    async fn age(&self, host: &str) {
        let key = format!("members/{host}");
        let mut member: serde_json::Value = self.store.get(&key).await.unwrap().unwrap();
        member.as_object_mut().unwrap().remove("newest").unwrap();
        self.store.put(&key, &member, None).await.unwrap();
    }

    /// What a role of this host reads.
    fn options(&self, host: &str) -> Cluster {
        options(&self.state(host), &self.config(host))
    }
}

fn options(state_dir: &Path, config_dir: &Path) -> Cluster {
    let sources = Sources {
        state_dir: Some(state_dir.to_owned()),
        default_file: "/nonexistent".into(),
        default_directory: config_dir.to_owned(),
        ..Sources::default()
    };
    load(&sources).unwrap().config.cluster
}

fn member<'a>(hosts: &'a BTreeMap<String, Surveyed>, name: &str) -> &'a Member {
    hosts[name].member.as_ref().unwrap()
}

fn told<T: std::fmt::Debug>(result: Result<T, JoinError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn a_host_joins_with_a_code_and_is_known_by_its_name() {
    let place = Place::new().await;
    let at = place.listen().await;
    let code = place.enroll("compute,proxy", None).await;
    let joined = place.join(at, &code, "c1").await.unwrap();
    assert_eq!(joined.roles.to_string(), "compute,proxy");
    assert_eq!(joined.config_file, place.config("c1").join("cluster.conf"));

    let options = place.options("c1");
    assert_eq!(options.name, "c1");
    let api = etcd_settings(&options);
    assert_eq!((api.endpoints.len(), api.prefix.as_str()), (1, "/serialproxy/v1/"));
    let own = Identity::load(&options).unwrap().own().unwrap();
    assert_eq!((own.host.as_str(), own.roles), ("c1", joined.roles));
    assert!(!place.state("c1").join("cluster/ca-key.pem").exists());

    let members = survey(&place.store).await.unwrap();
    assert_eq!(members.keys().collect::<Vec<_>>(), ["a1", "c1"]);
    assert_eq!(member(&members, "c1").certificates[0].serial, own.serial);
}

#[tokio::test]
async fn an_init_that_was_interrupted_goes_on_with_its_ca() {
    let place = Place::new().await;
    let state = place.state("a1");
    let again = || init(&state, "a1", &Role::Api.into(), HOUR);
    assert!(again().unwrap_err().to_string().contains("this host belongs to a cluster already"));
    std::fs::remove_file(state.join("cluster/cert.pem")).unwrap();
    assert_eq!(again().unwrap().fingerprint(), place.ca.fingerprint());
}

#[tokio::test]
async fn a_host_with_certificates_of_another_pki_issues_none() {
    let place = Place::new().await;
    let state = place.state("a1");
    let load = |options: &Cluster| Admission::load(options, &state, place.members.clone());
    let own = place.options("a1");
    assert!(load(&own).unwrap().is_some());
    let other = Cluster { ca_file: "/etc/ssl/other.pem".into(), ..own };
    assert!(load(&other).unwrap().is_none());
}

#[tokio::test]
async fn a_host_that_joins_as_api_gets_the_key_of_the_ca() {
    let place = Place::new().await;
    let at = place.listen().await;
    let code = place.enroll("api", None).await;
    place.join(at, &code, "a2").await.unwrap();
    let ca = Authority::load(&place.state("a2")).unwrap().unwrap();
    assert_eq!(ca.fingerprint(), place.ca.fingerprint());
    // The CA of another cluster is not lost by a mistake.
    let other = tempfile::tempdir().unwrap();
    let key = Authority::create(other.path()).unwrap();
    let code = key.code().unwrap();
    let refused = told(place.join(at, &code, "a2").await);
    assert!(refused.contains("is the key of another cluster's CA"), "{refused}");
}

#[tokio::test]
async fn a_code_is_good_once_and_a_wrong_one_never() {
    let place = Place::new().await;
    let at = place.listen().await;
    let code = place.enroll("compute", None).await;
    let all = ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"];
    let joins = all.map(|host| place.join(at, &code, host));
    let joined = futures_util::future::join_all(joins).await;
    assert_eq!(joined.iter().filter(|joined| joined.is_ok()).count(), 1, "{joined:?}");
    let reason = "the code is wrong, was used already or has expired";
    for (host, joined) in all.into_iter().zip(joined) {
        match joined {
            Ok(_) => assert!(place.state(host).join("cluster/cert.pem").exists()),
            Err(error) => {
                assert!(error.to_string().starts_with(reason), "{error}");
                assert!(!place.state(host).join("cluster/key.pem").exists());
            }
        }
    }
    let wrong = told(place.join(at, &place.ca.code().unwrap(), "c9").await);
    assert!(wrong.starts_with(reason), "{wrong}");
}

#[tokio::test]
async fn a_code_is_sent_to_no_server_but_an_api_host_of_its_cluster() {
    let place = Place::new().await;
    let (at, code) = (place.listen().await, place.enroll("compute", None).await);
    let other = Place::new().await;
    let refused = told(other.join(at, &other.ca.code().unwrap(), "c1").await);
    assert!(refused.ends_with("the certificate was issued by another CA"), "{refused}");

    // A hypervisor cannot pass for an api host.
    place.join(at, &code, "c1").await.unwrap();
    let hypervisor = Identity::load(&place.options("c1")).unwrap();
    let acceptor =
        TlsAcceptor::from(Arc::new(hypervisor.server_config(Strangers::Admitted).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move { acceptor.accept(listener.accept().await.unwrap().0).await });
    let code = place.enroll("compute", None).await;
    let refused = told(place.join(at, &code, "c2").await);
    assert!(refused.ends_with("host c1 has the role compute, and not api"), "{refused}");
}

#[tokio::test]
async fn a_name_that_is_taken_needs_a_code_that_replaces_it() {
    let place = Place::new().await;
    let at = place.listen().await;
    let code = place.enroll("compute", None).await;
    place.join(at, &code, "c1").await.unwrap();
    let first = Identity::load(&place.options("c1")).unwrap().own().unwrap();

    let code = place.enroll("compute", None).await;
    let refused = told(place.join_as(at, &code, "c1", "new").await);
    assert!(refused.contains("`serialproxy enroll --replace c1`"), "{refused}");
    // The code is still good: the mistake is found before it is used.
    place.join(at, &code, "c2").await.unwrap();

    let code = place.enroll("compute", Some("c1")).await;
    let refused = told(place.join(at, &code, "c3").await);
    assert!(refused.starts_with("the code replaces host c1, and this is host c3"), "{refused}");
    place.join_as(at, &code, "c1", "new").await.unwrap();
    place.follow_removed();
    place.api.removed().until(&first.serial).await;

    let nobody = place.ca.code().unwrap();
    let refused = place.members.invite(&nobody, Role::Api.into(), Some("c9".into()), HOUR).await;
    assert_eq!(refused, Err(MemberError::Unknown("c9".into())));
}

#[tokio::test]
async fn a_certificate_is_renewed_at_two_thirds_of_its_life_by_an_api_host() {
    let place = Place::new().await;
    let at = place.listen().await;
    let code = place.enroll("compute", None).await;
    place.join(at, &code, "c1").await.unwrap();
    let options = place.options("c1");
    let identity = Arc::new(Identity::load(&options).unwrap());
    let first = identity.own().unwrap();
    let apis = move || vec![("a9".to_owned(), at.to_string()), ("a1".to_owned(), at.to_string())];
    let renewal = Renewal::new(Arc::clone(&identity), &options, place.state("c1"), None, apis);

    let life = first.until.duration_since(first.since).unwrap();
    renewal.renew_if_due(first.since + life / 2).await.unwrap();
    assert_eq!(identity.own().unwrap(), first);
    let due = first.since + life * 2 / 3;
    // The api host's clock says that half of its time is not over: it gives the same one.
    renewal.renew_if_due(due).await.unwrap();
    assert_eq!(identity.own().unwrap(), first);
    place.age("c1").await;
    renewal.renew_if_due(due).await.unwrap();
    let second = identity.own().unwrap();
    assert_ne!(second.serial, first.serial);
    assert_eq!((&second.host, &second.roles), (&first.host, &first.roles));

    // Removing the host removes both, and what it has, and it learns of it.
    for (key, host) in [("servers/s1", "c1"), ("servers/s2", "a1"), ("hosts/c1", "c1")] {
        let value = json!({"host": host, "name": "s", "project": "p", "status": "ACTIVE"});
        place.store.put(key, &value, None).await.unwrap();
    }
    place.members.remove("c1").await.unwrap();
    let left = async |prefix: &str| {
        let left = place.store.list::<serde_json::Value>(prefix, 10).await.unwrap();
        left.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!((left("servers/").await, left("hosts/").await), (vec!["s2".to_owned()], vec![]));
    tokio::select! {
        () = identity.until_removed() => {}
        () = place.members.follow_removed(identity.removed()) => {}
    }
    place.follow_removed();
    place.api.removed().until(&first.serial).await;
    place.api.removed().until(&second.serial).await;
    let refused = renewal.renew_if_due(second.until).await.unwrap_err().to_string();
    assert!(refused.starts_with("api host a1: "), "{refused}");
    // Its name is free again.
    let code = place.enroll("compute", None).await;
    place.join_as(at, &code, "c1", "new").await.unwrap();
}

#[tokio::test]
async fn an_api_host_renews_its_own_certificate() {
    let place = Place::new().await;
    let mut options = place.options("a1");
    options.name = "a1".into();
    let own = || place.api.own().unwrap();
    let first = own();
    let admission = Some(place.admission.clone());
    let renewal =
        Renewal::new(Arc::clone(&place.api), &options, place.state("a1"), admission, Vec::new);
    renewal.renew_if_due(own().until).await.unwrap();
    let second = own();
    assert_ne!(second.serial, first.serial);
    // However often it asks: its certificates are few and known, so that they can be removed with it.
    renewal.renew_if_due(own().until).await.unwrap();
    assert_eq!(own().serial, second.serial);
    let members = survey(&place.store).await.unwrap();
    let valid = member(&members, "a1").certificates.iter().map(|valid| &valid.serial);
    assert_eq!(valid.collect::<Vec<_>>(), [&first.serial, &second.serial]);
}

#[tokio::test]
async fn a_stolen_certificate_pushes_no_other_out_and_ends_with_its_host() {
    let place = Place::new().await;
    let at = place.listen().await;
    let code = place.enroll("compute", None).await;
    place.join(at, &code, "c1").await.unwrap();
    let mut copy = std::process::Command::new("cp");
    copy.arg("-a").arg(place.state("c1")).arg(place.state("thief"));
    assert!(copy.status().unwrap().success());
    let renewal = |host: &str| {
        let options = place.options(host);
        let identity = Arc::new(Identity::load(&options).unwrap());
        let apis = move || vec![("a1".to_owned(), at.to_string())];
        let renewal = Renewal::new(Arc::clone(&identity), &options, place.state(host), None, apis);
        (identity, renewal)
    };
    let ((owner, renews), (thief, steals)) = (renewal("c1"), renewal("thief"));
    let first = owner.own().unwrap();
    place.age("c1").await;
    for _ in 0..20 {
        steals.renew_if_due(thief.own().unwrap().until).await.unwrap();
    }
    let stolen = thief.own().unwrap();
    assert_ne!(stolen.serial, first.serial);
    renews.renew_if_due(first.until).await.unwrap();
    assert_eq!(owner.own().unwrap(), stolen, "both have the same one");
    let removed = place.store.list::<serde_json::Value>("removed/", 10).await.unwrap();
    assert_eq!(removed, []);

    // Not even with a key of the thief's own.
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    let body = json!({"request": request.pem().unwrap()}).to_string();
    let request = http::Request::post("/cluster/v1/renew").body(http_body_util::Full::from(body));
    let answer = place.admission.answer(request.unwrap(), at.ip(), Some(&stolen)).await;
    assert_eq!(answer.status(), 400);

    place.members.remove("c1").await.unwrap();
    place.follow_removed();
    place.api.removed().until(&first.serial).await;
    place.api.removed().until(&stolen.serial).await;
    assert!(steals.renew_if_due(stolen.until).await.is_err());
}

#[tokio::test]
async fn a_removed_certificate_counts_whatever_stands_there_and_too_many_of_them_let_nobody_in() {
    let place = Place::new().await;
    place.follow_removed();
    let own = place.api.own().unwrap();
    place.api.removed().known().await;
    let odd = Serial::from("odd".to_owned());
    place.etcd.ctl(&["put", "/serialproxy/v1/removed/odd", "{no JSON"]);
    place.api.removed().until(&odd).await;
    assert!(!place.api.removed().contains(&own.serial));

    let at = place.listen().await;
    let code = place.enroll("compute", None).await;
    place.join(at, &code, "c1").await.unwrap();
    let numbers: Vec<_> = (0..31_100).collect();
    for batch in numbers.chunks(100) {
        let put = batch.iter().fold(place.store.transaction(), |change, number| {
            change.put(&format!("removed/{number:05}"), &1, None)
        });
        put.commit().await.unwrap();
    }
    // It is not removed, and not good either.
    place.api.removed().until(&own.serial).await;
    assert!(!place.api.is_removed());
    // The api host's own certificate is not good to whoever joins later, nor is c1's to the api host.
    let c1 = Identity::load(&place.options("c1")).unwrap().own().unwrap();
    place.api.removed().until(&c1.serial).await;
    let full = place.members.remove("c1").await;
    assert_eq!(full, Err(MemberError::TooManyRemoved(30_000)));
}

#[tokio::test]
async fn what_strangers_send_to_the_listener_is_refused() {
    let place = Place::new().await;
    let at = place.listen().await;
    // No TLS at all, and a request for renewal without a certificate.
    let mut plain = TcpStream::connect(at).await.unwrap();
    plain.write_all(b"POST /cluster/v1/join HTTP/1.1\r\n\r\n").await.unwrap();
    let code = place.enroll("compute", None).await;
    for name in ["C1", "a/b", "", "c1\n[api]"] {
        let refused = told(place.join_as(at, &code, name, "c1").await);
        assert!(refused.contains("is not a name of a host"), "{refused}");
    }
    let request = |path: &str, body: &str| {
        let body = http_body_util::Full::<bytes::Bytes>::from(body.to_owned());
        http::Request::post(path).body(body).unwrap()
    };
    let huge = "x".repeat(20_000);
    for (path, body, status) in [
        ("/cluster/v1/renew", r#"{"request": "x"}"#, 401),
        ("/cluster/v1/join", "", 400),
        ("/cluster/v1/join", &huge, 400),
        ("/cluster/v1/join", r#"{"secret": "x", "name": "c1", "request": ""}"#, 401),
        ("/cluster/v1/other", "", 404),
    ] {
        let answer = place.admission.answer(request(path, body), at.ip(), None).await;
        assert_eq!(answer.status(), status, "{path} {body:.20}");
    }
    for _ in 0..60 {
        place.admission.answer(request("/", ""), at.ip(), None).await;
    }
    let answer = place.admission.answer(request("/cluster/v1/join", ""), at.ip(), None).await;
    assert_eq!(answer.status(), 429);
}
