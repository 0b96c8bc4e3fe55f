//! The members of the cluster, in etcd: `codes/DIGEST` are invitations, under a lease;
//! `members/NAME` are the hosts with their valid certificates; `removed/SERIAL` are certificates of
//! removed hosts, until they expire.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::IgnoredAny;
use serialproxy_config::values::Cluster;
use serialproxy_etcd::Entry;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::EtcdError;
use serialproxy_etcd::Settings;
use serialproxy_etcd::Tls;
use serialproxy_etcd::Transaction;

use crate::authority::Issued;
use crate::code::Code;
use crate::directory::HOSTS;
use crate::directory::Listed;
use crate::directory::MOST_SERVERS;
use crate::directory::SERVERS;
use crate::drain::DRAINING;
use crate::drain::Drained;
use crate::member::AFTERWARDS;
use crate::member::Invitation;
use crate::member::Member;
use crate::member::MemberError;
use crate::member::Valid;
use crate::peer::Peer;
use crate::peer::Serial;
use crate::removed::Removed;
use crate::role::Roles;

/// The prefix of hosts by name.
pub(crate) const MEMBERS: &str = "members/";

/// The prefix of removed certificates by serial number.
const REMOVED: &str = "removed/";

/// Most hosts that are listed.
pub(crate) const MOST_MEMBERS: usize = 10_000;

/// Most changes in one transaction: etcd allows 128.
const BATCH: usize = 100;

/// Most removed certificates that have not expired yet, of all hosts.
const MOST_REMOVED: usize = 30_000;

/// Most that are followed: several may be removed at the same time.
const FOLLOWED: usize = MOST_REMOVED + 1000;

/// The hosts of a cluster, and the invitations to join it.
#[derive(Clone, Debug)]
pub struct Members(Etcd);

/// A certificate that was removed.
#[derive(Debug, Serialize)]
struct RemovedCertificate {
    /// Its host.
    host: String,
}

/// The address of etcd and its credentials, from the options.
pub fn etcd_settings(cluster: &Cluster) -> Settings {
    let tls = cluster.etcd_endpoints.iter().any(|url| url.starts_with("https:"));
    let (cert, key) = cluster.certificate_for_etcd();
    // One that cannot be seen is reported where it is read.
    let client = cert.try_exists().unwrap_or(true).then(|| (cert.to_owned(), key.to_owned()));
    let password = cluster.etcd_password.as_ref().map(|password| password.expose().to_owned());
    Settings {
        endpoints: cluster.etcd_endpoints.clone(),
        tls: tls.then(|| Tls { ca: cluster.ca_of_etcd().to_owned(), client }),
        user: cluster.etcd_username.clone().zip(password),
        prefix: cluster.etcd_prefix.clone(),
    }
}

impl Members {
    /// The members in this etcd.
    pub fn new(etcd: Etcd) -> Self {
        Self(etcd)
    }

    /// Whether a certificate was removed, as etcd has it now. Every role may read it.
    ///
    /// # Errors
    ///
    /// When etcd is away or refuses.
    pub async fn is_removed(&self, serial: &Serial) -> Result<bool, EtcdError> {
        Ok(self.0.count(&format!("{REMOVED}{serial}")).await? > 0)
    }

    /// The names of all hosts that joined, whether they are up or not.
    pub(crate) async fn names(&self) -> Result<Vec<String>, EtcdError> {
        let members = self.0.list::<IgnoredAny>(MEMBERS, MOST_MEMBERS).await?;
        Ok(members.into_iter().map(|(name, _)| name).collect())
    }

    /// Makes a code with which one host may join, within a time and with these roles.
    ///
    /// # Errors
    ///
    /// When etcd is away, or the host to be replaced does not exist.
    pub async fn invite(
        &self,
        code: &Code,
        roles: Roles,
        replace: Option<String>,
        ttl: Duration,
    ) -> Result<(), MemberError> {
        if let Some(name) = &replace
            && self.member(name).await?.is_none()
        {
            return Err(MemberError::Unknown(name.clone()));
        }
        let lease = self.0.grant(ttl).await?;
        let key = invitation_key(&code.secret.digest());
        self.0.put(&key, &Invitation { roles, replace }, Some(lease)).await?;
        Ok(())
    }

    /// The invitation of a code, if the code is valid.
    pub(crate) async fn invitation(&self, digest: &str) -> Result<Entry<Invitation>, MemberError> {
        self.0.entry(&invitation_key(digest)).await?.ok_or(MemberError::Code)
    }

    /// Admits a host with a code. Of several hosts that use the same code, one is admitted.
    pub(crate) async fn admit(
        &self,
        name: &str,
        digest: &str,
        invitation: &Entry<Invitation>,
        issued: &Issued,
    ) -> Result<(), MemberError> {
        let key = invitation_key(digest);
        let before = self.may_join(name, invitation.value.replace.as_deref()).await?;
        let transaction = self.0.transaction().unchanged(&key, invitation.changed).delete(&key);
        let transaction = match &before {
            None => transaction.absent(&member_key(name)),
            Some(entry) => {
                let transaction = transaction.unchanged(&member_key(name), entry.changed);
                self.remove_certificates(transaction, name, &entry.value.certificates).await?
            }
        };
        let member = Member::new(invitation.value.roles.clone(), issued);
        let admitted = transaction.put(&member_key(name), &member, None).commit().await?;
        admitted.map(drop).ok_or(MemberError::Code)
    }

    /// Checks that a host of this name may join: it does not exist, or the code is for its
    /// replacement. Returns the host to be replaced.
    pub(crate) async fn may_join(
        &self,
        name: &str,
        replace: Option<&str>,
    ) -> Result<Option<Entry<Member>>, MemberError> {
        let before = self.member(name).await?;
        match replace {
            Some(expected) if expected != name => {
                let (found, expected) = (name.to_owned(), expected.to_owned());
                Err(MemberError::OtherName { found, expected })
            }
            None if before.is_some() => Err(MemberError::Known(name.to_owned())),
            _ => Ok(before),
        }
    }

    /// The host of a certificate, if the certificate is one of its valid ones.
    pub(crate) async fn of(&self, peer: &Peer) -> Result<Entry<Member>, MemberError> {
        let member = self.member(&peer.host).await?;
        // Another host may just have replaced it.
        let member = member.filter(|member| member.value.has(&peer.serial));
        member.ok_or_else(|| MemberError::Unknown(peer.host.clone()))
    }

    /// Records another certificate of a host, unless the host was changed since.
    pub(crate) async fn renewed(
        &self,
        name: &str,
        mut before: Entry<Member>,
        issued: &Issued,
    ) -> Result<(), MemberError> {
        before.value.add(issued);
        let key = member_key(name);
        let transaction = self.0.transaction().unchanged(&key, before.changed);
        let renewed = transaction.put(&key, &before.value, None).commit().await?;
        renewed.map(drop).ok_or_else(|| MemberError::Changed(name.to_owned()))
    }

    /// Records a host that issued its certificate itself, before etcd was in use.
    pub(crate) async fn register(&self, own: &Peer) -> Result<(), MemberError> {
        let until = Timestamp::try_from(own.until).unwrap_or(Timestamp::MAX);
        let valid = Valid { serial: own.serial.clone(), until };
        let (roles, certificates) = (own.roles.clone(), vec![valid]);
        let member = Member { roles, certificates, newest: None };
        let (key, removed) = (member_key(&own.host), removed_key(&own.serial));
        let new = self.0.transaction().absent(&key).absent(&removed);
        new.put(&key, &member, None).commit().await?;
        Ok(())
    }

    /// Removes a host: its certificates are refused from now on, its name is free, and its servers
    /// are removed from the directory.
    ///
    /// # Errors
    ///
    /// When etcd is away, or there is no such host.
    pub async fn remove(&self, name: &str) -> Result<(), MemberError> {
        let unknown = || MemberError::Unknown(name.to_owned());
        let entry = self.member(name).await?.ok_or_else(unknown)?;
        let key = member_key(name);
        let transaction = self.0.transaction().unchanged(&key, entry.changed).delete(&key);
        let transaction = transaction.delete(&format!("{HOSTS}{name}"));
        let transaction = transaction.delete_all(&format!("{HOSTS}{name}/"));
        let transaction = transaction.delete(&drain_key(name));
        let transaction =
            self.remove_certificates(transaction, name, &entry.value.certificates).await?;
        let removed = transaction.commit().await?;
        removed.ok_or_else(|| MemberError::Changed(name.to_owned()))?;
        self.forget_servers(name).await
    }

    /// Makes a host accept no new sessions from now on.
    ///
    /// # Errors
    ///
    /// When etcd is away, or there is no such host.
    pub async fn drain(&self, name: &str) -> Result<(), MemberError> {
        self.must_exist(name).await?;
        let since = Timestamp::now();
        Ok(self.0.put(&drain_key(name), &Drained { since }, None).await?)
    }

    /// Undoes [`Self::drain`].
    ///
    /// # Errors
    ///
    /// When etcd is away, or there is no such host.
    pub async fn undo_drain(&self, name: &str) -> Result<(), MemberError> {
        if self.0.delete(&drain_key(name)).await? {
            return Ok(());
        }
        self.must_exist(name).await
    }

    /// Where another PKI issues the certificates, only running hosts are known.
    async fn must_exist(&self, name: &str) -> Result<(), MemberError> {
        let (host, roles) = (format!("{HOSTS}{name}"), format!("{HOSTS}{name}/"));
        let keys = [member_key(name), host];
        for key in &keys {
            if self.0.get::<IgnoredAny>(key).await?.is_some() {
                return Ok(());
            }
        }
        match self.0.count(&roles).await? {
            0 => Err(MemberError::Unknown(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// Removes the servers of a host that does not come back: no other process removes them.
    async fn forget_servers(&self, host: &str) -> Result<(), MemberError> {
        let servers = self.0.list::<Listed>(SERVERS, MOST_SERVERS.entries).await?;
        let of_host = servers.into_iter().filter(|(_, server)| server.host == host);
        let keys: Vec<_> = of_host.map(|(id, _)| format!("{SERVERS}{id}")).collect();
        for keys in keys.chunks(BATCH) {
            let transaction = self.0.transaction();
            let transaction = keys.iter().fold(transaction, |change, key| change.delete(key));
            transaction.commit().await?;
        }
        Ok(())
    }

    /// Keeps a set of removed certificates equal to etcd's. Never ends; while etcd is away, the set
    /// stays as it was.
    pub async fn follow_removed(&self, removed: &Removed) {
        let watched = self.0.watch_keys(REMOVED, FOLLOWED);
        let mut news = watched.news();
        watched.listed().await;
        loop {
            news.borrow_and_update();
            // Checked first: if an entry is left out after this, that is another change.
            let is_full = watched.is_full();
            let serials = watched
                .read(|entries| entries.keys().cloned().map(Serial::from).collect::<BTreeSet<_>>());
            match is_full {
                false => removed.replace(serials),
                true => removed.replace_incomplete(serials),
            }
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    async fn member(&self, name: &str) -> Result<Option<Entry<Member>>, EtcdError> {
        self.0.entry(&member_key(name)).await
    }

    /// Marks the certificates of a host as removed.
    async fn remove_certificates(
        &self,
        transaction: Transaction,
        name: &str,
        certificates: &[Valid],
    ) -> Result<Transaction, MemberError> {
        let Some(last) = certificates.iter().map(|valid| valid.until).max() else {
            return Ok(transaction);
        };
        if self.0.count(REMOVED).await? + certificates.len() > MOST_REMOVED {
            return Err(MemberError::TooManyRemoved(MOST_REMOVED));
        }
        let now = Timestamp::now();
        let left = u64::try_from(last.as_second().saturating_sub(now.as_second()));
        let left = Duration::from_secs(left.unwrap_or_default());
        let lease = self.0.grant(left.saturating_add(AFTERWARDS)).await?;
        let removed = RemovedCertificate { host: name.to_owned() };
        Ok(certificates.iter().fold(transaction, |transaction, valid| {
            transaction.put(&removed_key(&valid.serial), &removed, Some(lease))
        }))
    }
}

fn member_key(name: &str) -> String {
    format!("{MEMBERS}{name}")
}

fn drain_key(name: &str) -> String {
    format!("{DRAINING}{name}")
}

fn removed_key(serial: &Serial) -> String {
    format!("{REMOVED}{serial}")
}

fn invitation_key(digest: &str) -> String {
    format!("codes/{digest}")
}
