//! All keys that begin alike, page by page.

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

/// Keys of a page.
const PAGE: usize = 500;

/// Bytes of an answer. etcd accepts values of 1.5 MiB from others, of which one fits.
pub(crate) const ANSWER: usize = 8 * 1024 * 1024;

/// Some keys of a range, ordered.
pub(crate) struct Page {
    pub(crate) found: Vec<KeyValue>,
    /// Of the whole etcd when it answered.
    pub(crate) revision: i64,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<Vec<u8>>,
}

impl Etcd {
    /// The first so many keys that begin so, ordered, each without the prefix and with its value. What
    /// does not parse is logged and left out. Changes that are made meanwhile may be in it or not.
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
        let (mut listed, mut next) = (Vec::new(), Some(prefix.clone()));
        let mut left_out = None;
        while let Some(from) = next.take()
            && listed.len() < limit
        {
            let page = self.page(&prefix, from).await?;
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
            next = page.next;
        }
        if let Some((count, key, error)) = left_out {
            tracing::warn!(count, ?key, %error, "keys in etcd are left out");
        }
        Ok(listed)
    }

    /// How many keys begin so.
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

    /// The keys from that one on which begin so.
    pub(crate) async fn page(&self, prefix: &[u8], from: Vec<u8>) -> Result<Page, EtcdError> {
        let mut size = PAGE;
        loop {
            match self.ask(prefix, &from, size).await? {
                Some(mut answer) => {
                    let revision = answer.header().map_or(0, |header| header.revision());
                    let is_last = !answer.more();
                    let found = answer.take_kvs();
                    let last = found.last().filter(|_| !is_last);
                    let next = last.map(|last| keys::after(last.key()));
                    return Ok(Page { found, revision, next });
                }
                None if size > 1 => size /= 2,
                None => return Err(EtcdError::Value(format!("more than {ANSWER} bytes"))),
            }
        }
    }

    /// None where the answer would be too large.
    async fn ask(
        &self,
        prefix: &[u8],
        from: &[u8],
        size: usize,
    ) -> Result<Option<GetResponse>, EtcdError> {
        let end = keys::end_of(prefix);
        let limit = i64::try_from(size).unwrap_or(1);
        let ask = |client: Arc<Client>| {
            let options = GetOptions::new().with_range(end.clone()).with_limit(limit);
            let from = from.to_vec();
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

/// Whether an answer has more than [`ANSWER`] bytes.
pub(crate) fn is_too_large(error: &ClientError) -> bool {
    matches!(error, ClientError::GRpcStatus(status) if status.code() == Code::OutOfRange)
}
