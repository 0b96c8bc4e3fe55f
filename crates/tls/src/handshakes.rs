//! The threads for TLS handshakes: a handshake takes as long as a thousand keys, and a flood of
//! them must not delay any key.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use rustls::ServerConnection;
use serialproxy_limits::Places;
use serialproxy_limits::Source;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use crate::stream::Stream;

/// Simultaneous handshakes of one address. A client that does not finish its handshake occupies a
/// place for the time limit ([`crate::Reception::receive`]).
const AT_ONCE: usize = 100;

/// Does handshakes on these runtimes, in turn. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug)]
pub struct Handshakes {
    runtimes: Arc<[Handle]>,
    next: Arc<AtomicUsize>,
    places: Places<Source>,
}

impl Handshakes {
    /// With these runtimes.
    pub fn new(runtimes: Vec<Handle>) -> Self {
        let places = Places::new(AT_ONCE);
        Self { runtimes: runtimes.into(), next: Arc::default(), places }
    }

    /// Does a handshake. Dropping this future ends it.
    pub(crate) async fn shake_hands(
        &self,
        tcp: TcpStream,
        tls: ServerConnection,
    ) -> io::Result<Stream> {
        let source = Source::from(tcp.peer_addr()?.ip());
        let place = self.places.enter(source).ok_or_else(|| {
            io::Error::other(format!("{source} has {AT_ONCE} handshakes in progress"))
        })?;
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let runtime = self.runtimes.get(turn % self.runtimes.len().max(1));
        let runtime = runtime.ok_or_else(|| {
            io::Error::other(
                "the threads for TLS handshakes \
                 have stopped",
            )
        })?;
        let tcp = tcp.into_std()?;
        let shake = async move {
            let _place = place;
            Stream::shake_hands(TcpStream::from_std(tcp)?, tls).await
        };
        let shaken = AbortOnDropHandle::new(runtime.spawn(shake));
        shaken.await.map_err(io::Error::other)??.moved()
    }
}
