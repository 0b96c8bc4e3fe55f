//! The defaults.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::console_url::DEFAULT_CERT;
use crate::values::Api;
use crate::values::Audit;
use crate::values::AuthStrategy;
use crate::values::Cluster;
use crate::values::Compute;
use crate::values::Config;
use crate::values::Console;
use crate::values::ConsoleAuth;
use crate::values::KeystoneAuth;
use crate::values::Libvirt;
use crate::values::Limits;
use crate::values::Line;
use crate::values::Listen;
use crate::values::LogFormat;
use crate::values::Nova;
use crate::values::OsloMiddleware;
use crate::values::PortRange;
use crate::values::Proxy;
use crate::values::RawLag;
use crate::values::Record;
use crate::values::RecordInput;
use crate::values::SerialConsole;
use crate::values::Session;
use crate::values::TlsVersion;
use crate::values::Transport;
use crate::values::VirtType;

impl Default for Config {
    fn default() -> Self {
        let state_dir = PathBuf::from("/var/lib/serialproxy");
        Self {
            debug: false,
            log_format: LogFormat::Text,
            log_level: None,
            serial_console: SerialConsole {
                enabled: false,
                base_url: None,
                listen: Listen { host: "0.0.0.0".into(), port: 6083 },
                source_is_ipv6: false,
                proxyclient_address: "127.0.0.1".into(),
                port_range: PortRange { start: 10000, end: 20000 },
                web: None,
                cert: PathBuf::from(DEFAULT_CERT),
                cert_may_be_missing: true,
                key: None,
                ssl_only: false,
                daemon: false,
                record: Record {
                    place: None,
                    input: RecordInput::Masked,
                    limit: 256 * 1024 * 1024,
                    total: 10 * 1024 * 1024 * 1024,
                    keep: Some(Duration::from_secs(90 * 24 * 3600)),
                },
                tls_ca_certs: None,
                tls_client_cert: None,
                tls_client_key: None,
                tls_required: false,
            },
            console: Console {
                allowed_origins: Vec::new(),
                frame_ancestors: "'none'".into(),
                ssl_ciphers: None,
                ssl_minimum_version: TlsVersion::Tls12,
            },
            consoleauth: ConsoleAuth {
                token_ttl: Duration::from_secs(600),
                link_ttl: Duration::from_secs(86_400),
                enforce_session_timeout: false,
                single_use: false,
            },
            api: Api {
                cert: None,
                key: None,
                ssl_only: false,
                listen: Listen { host: "127.0.0.1".into(), port: 8774 },
                metrics_listen: None,
                auth_strategy: AuthStrategy::Token,
                noauth_anywhere: false,
                allowed_hosts: Vec::new(),
                token_lifetime: Duration::from_secs(3600),
                page_lifetime: Duration::from_secs(12 * 60 * 60),
                compute_link_prefix: None,
            },
            oslo_middleware: OsloMiddleware::default(),
            proxy: Proxy::default(),
            keystone_authtoken: KeystoneAuth::default(),
            service_user: KeystoneAuth::default(),
            nova: Nova {
                auth: KeystoneAuth::default(),
                valid_interfaces: vec!["internal".into(), "public".into()],
                endpoint_override: None,
            },
            libvirt: Libvirt { connection_uri: "qemu:///system".into(), virt_type: VirtType::Auto },
            compute: compute(&state_dir),
            line: Line::default(),
            session: Session::default(),
            limits: Limits::default(),
            audit: Audit::default(),
            cluster: cluster(&state_dir.join("cluster")),
            static_lines: Vec::new(),
            state_dir,
        }
    }
}

fn compute(state_dir: &Path) -> Compute {
    Compute {
        libvirt: true,
        statics: true,
        images_path: state_dir.join("images"),
        port_rest: Duration::from_secs(60),
        transport: Transport::Tcp,
        projects: Vec::new(),
        default_project: "admin".into(),
        excluded: Vec::new(),
    }
}

fn cluster(directory: &Path) -> Cluster {
    Cluster {
        etcd_endpoints: Vec::new(),
        etcd_ca_file: None,
        etcd_cert_file: None,
        etcd_key_file: None,
        etcd_username: None,
        etcd_password: None,
        etcd_prefix: "/serialproxy/v1/".into(),
        name: String::new(),
        listen: Listen { host: "0.0.0.0".into(), port: 6084 },
        advertise: None,
        ca_file: directory.join("ca.pem"),
        cert_file: directory.join("cert.pem"),
        key_file: directory.join("key.pem"),
        certificate_life: Duration::from_secs(90 * 24 * 3600),
    }
}

impl Default for Session {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(20),
            grace: Duration::from_secs(60),
            pen_request_timeout: Duration::from_secs(15),
            raw_lag: RawLag::Close,
        }
    }
}
