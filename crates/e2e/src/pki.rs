//! Certificates for TLS, made by the commands of `docs/deploy.md`.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// As in `docs/deploy.md`, except that the hypervisor is this machine.
const MAKE: &str = r#"
set -e
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
    -subj "/CN=consoles CA" -addext "keyUsage=critical,keyCertSign" \
    -keyout ca-key.pem -out ca-cert.pem
issue() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" \
        -keyout "$1-key.pem" -out "$1.csr"
    printf '%s\n' "basicConstraints=CA:FALSE" "keyUsage=critical,digitalSignature" \
        "extendedKeyUsage=$3" "subjectAltName=$4" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial \
        -days 825 -extfile "$1.ext" -out "$1-cert.pem"
    rm "$1.csr" "$1.ext"
}
issue server localhost serverAuth DNS:localhost,IP:127.0.0.1
issue next localhost serverAuth DNS:localhost,IP:127.0.0.1
issue client serialproxy clientAuth DNS:serialproxy
"#;

/// A directory with a CA, a server certificate for 127.0.0.1, its successor, and a client
/// certificate.
#[derive(Debug)]
pub struct Pki(TempDir);

impl Pki {
    /// Makes one.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("pki-").tempdir().unwrap();
        let made = Command::new("bash").args(["-c", MAKE]).current_dir(directory.path()).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{made:?}");
        Self(directory)
    }

    /// The directory: `ca-`, `server-`, `next-` and `client-cert.pem`, and `…-key.pem`.
    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Flags with which a program uses the server certificate for users and for the API's callers.
    pub fn flags(&self) -> [String; 4] {
        let flag = |group, part| {
            let file = self.file(&format!("server-{part}.pem"));
            format!("--{group}-{part}={}", file.display())
        };
        let (proxy, api) = ("serial_console", "api");
        [flag(proxy, "cert"), flag(proxy, "key"), flag(api, "cert"), flag(api, "key")]
    }

    /// The lines of `qemu.conf` for `tls='yes'` with client certificates.
    pub fn qemu_conf(&self) -> String {
        let directory = self.directory().display();
        format!("chardev_tls_x509_cert_dir = \"{directory}\"\nchardev_tls_x509_verify = 1")
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}
