//! Options of a cluster: who belongs to it, and its shared store.

use super::LISTEN;
use super::PEM;
use crate::cluster::advertise;
use crate::cluster::default_ca;
use crate::cluster::default_cert;
use crate::cluster::default_key;
use crate::cluster::default_name;
use crate::cluster::endpoints;
use crate::cluster::life;
use crate::cluster::name;
use crate::cluster::prefix;
use crate::cluster::username;
use crate::network::listen;
use crate::option::Fallback::Computed;
use crate::option::Fallback::Text;
use crate::option::Fallback::Unset;
use crate::option::Kind;
use crate::option::Kind::Secret;
use crate::option::Kind::Single;
use crate::option::Opt;
use crate::option::works;
use crate::readers::set;
use crate::readers::set_some;
use crate::scalar::file;
use crate::scalar::path;
use crate::values;

const FILE: Kind = Single("a PEM file");

pub(super) static OPTIONS: &[Opt] = &[
    works(
        "cluster",
        "etcd_endpoints",
        Text(""),
        Single("http://HOST:PORT or https://HOST:PORT, separated by commas, up to 16"),
        "URLs of the etcd that the hosts of a cluster share. When not set, this host is on its \
         own, and uses SQLite. In front of a Nova, several proxies can be active only if they share \
         an etcd.",
        |c, v| set(&mut c.cluster.etcd_endpoints, endpoints(v)),
    ),
    works(
        "cluster",
        "etcd_ca_file",
        Unset,
        PEM,
        "CA bundle that verifies etcd at https endpoints. Default: `ca_file`.",
        |c, v| set_some(&mut c.cluster.etcd_ca_file, file(v)),
    ),
    works(
        "cluster",
        "etcd_cert_file",
        Unset,
        PEM,
        "Client certificate for etcd at https endpoints. Requires `etcd_key_file`. Default: \
         `cert_file`.",
        |c, v| set_some(&mut c.cluster.etcd_cert_file, file(v)),
    ),
    works(
        "cluster",
        "etcd_key_file",
        Unset,
        PEM,
        "Private key of `etcd_cert_file`. Default: `key_file`.",
        |c, v| set_some(&mut c.cluster.etcd_key_file, file(v)),
    ),
    works(
        "cluster",
        "etcd_username",
        Unset,
        Single("a single line of text"),
        "User of etcd. Requires `etcd_password`. When not set, etcd knows the user by the common \
         name of the client certificate.",
        |c, v| set_some(&mut c.cluster.etcd_username, username(v)),
    ),
    works("cluster", "etcd_password", Unset, Secret, "Password of `etcd_username`.", |c, v| {
        set_some(&mut c.cluster.etcd_password, username(v).map(values::Secret))
    }),
    works(
        "cluster",
        "etcd_prefix",
        Text("/serialproxy/v1/"),
        Single("a path that begins and ends with a slash"),
        "What all keys in etcd begin with. All hosts of a cluster must use the same one.",
        |c, v| set(&mut c.cluster.etcd_prefix, prefix(v)),
    ),
    works(
        "cluster",
        "name",
        Computed("the host name", default_name),
        Single("1 to 253 of the characters a-z 0-9 . _ -, of which the first is a letter or digit"),
        "Name of this host in the cluster.",
        |c, v| set(&mut c.cluster.name, name(v)),
    ),
    works(
        "cluster",
        "listen",
        Text("0.0.0.0:6084"),
        LISTEN,
        "Address and port that the other hosts of the cluster connect to.",
        |c, v| set(&mut c.cluster.listen, listen(v)),
    ),
    works(
        "cluster",
        "advertise",
        Computed("the host name with its domain, and the port of `listen`", |_| None),
        Single("HOST:PORT; an IPv6 address in brackets"),
        "Address and port by which the other hosts of the cluster reach `listen`.",
        |c, v| set_some(&mut c.cluster.advertise, advertise(v)),
    ),
    works(
        "cluster",
        "ca_file",
        Computed("STATE/cluster/ca.pem", default_ca),
        FILE,
        "CA certificates that verify the hosts of the cluster. Written by `cluster init` and \
         `join`, unless another CA issues the certificates.",
        |c, v| set(&mut c.cluster.ca_file, path(v)),
    ),
    works(
        "cluster",
        "cert_file",
        Computed("STATE/cluster/cert.pem", default_cert),
        FILE,
        "Certificate of this host. Its URI names say which host it is, and which roles it has, for \
         example `serialproxy://compute/NAME`.",
        |c, v| set(&mut c.cluster.cert_file, path(v)),
    ),
    works(
        "cluster",
        "key_file",
        Computed("STATE/cluster/key.pem", default_key),
        FILE,
        "Private key of `cert_file`.",
        |c, v| set(&mut c.cluster.key_file, path(v)),
    ),
    works(
        "cluster",
        "certificate_life",
        Text("90d"),
        Single("seconds, or a number with the unit s, m, h or d; 60s to 825d"),
        "Lifetime of the certificates that this host issues. Hosts renew theirs at two thirds of \
         it.",
        |c, v| set(&mut c.cluster.certificate_life, life(v)),
    ),
];
