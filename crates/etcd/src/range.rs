//! All keys with a prefix, page by page.

use std::collections::VecDeque;
use std::sync::Arc;

use etcd_client::Client;
use etcd_client::Error as ClientError;
use etcd_client::GetOptions;
use etcd_client::GetResponse;
use etcd_client::KeyValue;
use serde::de::DeserializeOwned;
use tonic::Code;

use crate::Etcd;
use crate::EtcdError;
use crate::keys;
use crate::link::Nature;
use crate::values::entry;

/// Most keys of a page.
const PAGE: usize = 2000;

/// Where ranges are divided that do not fit on one page: by the byte after the prefix, which for
/// most keys is a hexadecimal digit. For each page, etcd examines all keys up to the end of the
/// range, so reading 100,000 keys as one range would take seconds.
const CUTS: &[u8] = b"123456789abcdef";

/// Largest answer in bytes. Other clients may write values of 1.5 MiB, of which one fits.
pub(crate) const ANSWER: usize = 8 * 1024 * 1024;

/// Some of the keys, in order.
pub(crate) struct Page {
    pub(crate) found: Vec<KeyValue>,
    /// The revision of etcd at the time of the answer.
    pub(crate) revision: i64,
}

/// The remaining pages of all keys with a prefix.
pub(crate) struct Pages<'a> {
    etcd: &'a Etcd,
    prefix: Vec<u8>,
    /// The beginning and end of each remaining range, in order.
    ranges: VecDeque<(Vec<u8>, Vec<u8>)>,
    /// Most keys of a page; fewer where values are large.
    size: usize,
}

impl Etcd {
    /// The first `limit` keys with this prefix, in order, each without the prefix and with its
    /// value. Values that do not parse are logged and left out. Simultaneous changes may be
    /// included or not.
    ///
    /// # Errors
    ///
    /// When etcd is away or refuses.
    pub async fn list<T: DeserializeOwned>(
        &self,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<(String, T)>, EtcdError> {
        let prefix = self.full(prefix);
        let (mut listed, mut pages) = (Vec::new(), self.pages(&prefix));
        let mut left_out = None;
        while listed.len() < limit
            && let Some(page) = pages.next().await?
        {
            let named = page.found.iter().filter_map(|found| {
                let name = found.key().strip_prefix(prefix.as_slice())?;
                let name = std::str::from_utf8(name).ok()?.to_owned();
                match entry(found) {
                    Ok(entry) => Some((name, entry.value)),
                    Err(error) => {
                        let (count, ..) = left_out.get_or_insert((0_usize, name, error));
                        *count += 1;
                        None
                    }
                }
            });
            let room = limit.saturating_sub(listed.len());
            listed.extend(named.take(room));
        }
        if let Some((count, key, error)) = left_out {
            tracing::warn!(count, ?key, %error, "keys in etcd are left out");
        }
        Ok(listed)
    }

    /// How many keys have this prefix.
    ///
    /// # Errors
    ///
    /// When etcd is away or refuses.
    pub async fn count(&self, prefix: &str) -> Result<usize, EtcdError> {
        let prefix = self.full(prefix);
        let count = |client: Arc<Client>| {
            let options = GetOptions::new().with_prefix().with_count_only();
            let prefix = prefix.clone();
            async move { client.kv_client().get(prefix, Some(options)).await }
        };
        let answer = self.link.call(Nature::Repeatable, count).await?;
        Ok(usize::try_from(answer.count()).unwrap_or_default())
    }

    /// All keys with this prefix.
    pub(crate) fn pages(&self, prefix: &[u8]) -> Pages<'_> {
        let all = (prefix.to_vec(), keys::end_of(prefix));
        Pages { etcd: self, prefix: prefix.to_vec(), ranges: VecDeque::from([all]), size: PAGE }
    }

    /// None where the answer would be too large.
    async fn ask(
        &self,
        (from, end): (&[u8], &[u8]),
        size: usize,
    ) -> Result<Option<GetResponse>, EtcdError> {
        let limit = i64::try_from(size).unwrap_or(1);
        let ask = |client: Arc<Client>| {
            let (from, end) = (from.to_vec(), end.to_vec());
            let options = GetOptions::new().with_range(end).with_limit(limit);
            async move {
                let mut keys = client.kv_client().max_decoding_message_size(ANSWER);
                match keys.get(from, Some(options)).await {
                    Ok(answer) => Ok(Some(answer)),
                    Err(error) if is_too_large(&error) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        };
        self.link.call(Nature::Repeatable, ask).await
    }
}

impl Pages<'_> {
    /// The next page.
    ///
    /// # Errors
    ///
    /// When etcd is away or refuses.
    pub(crate) async fn next(&mut self) -> Result<Option<Page>, EtcdError> {
        let Some((from, end)) = self.ranges.pop_front() else { return Ok(None) };
        loop {
            match self.etcd.ask((&from, &end), self.size).await? {
                Some(mut answer) => {
                    let revision = answer.header().map_or(0, |header| header.revision());
                    let is_last = !answer.more();
                    let found = answer.take_kvs();
                    if let Some(last) = found.last().filter(|_| !is_last) {
                        self.put_back(keys::after(last.key()), end);
                    }
                    return Ok(Some(Page { found, revision }));
                }
                None if self.size > 1 => self.size /= 2,
                None => return Err(EtcdError::Value(format!("more than {ANSWER} bytes"))),
            }
        }
    }

    /// Puts back the rest of a range, divided into shorter ones.
    fn put_back(&mut self, from: Vec<u8>, end: Vec<u8>) {
        let cuts = CUTS.iter().map(|cut| [self.prefix.as_slice(), &[*cut]].concat());
        let within: Vec<_> = cuts.filter(|cut| from < *cut && *cut < end).collect();
        let ends = within.iter().cloned().chain([end]).collect::<Vec<_>>();
        let starts: Vec<_> = [from].into_iter().chain(within).collect();
        for range in starts.into_iter().zip(ends).rev() {
            self.ranges.push_front(range);
        }
    }
}

/// Whether an answer has more than [`ANSWER`] bytes.
pub(crate) fn is_too_large(error: &ClientError) -> bool {
    matches!(error, ClientError::GRpcStatus(status) if status.code() == Code::OutOfRange)
}
