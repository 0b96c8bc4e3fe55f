//! A port that speaks telnet: TCP with QEMU's rules for it.

use std::io;
use std::sync::Mutex;

use super::MeteredTcp;
use crate::lock;
use crate::telnet::Decoder;
use crate::telnet::Encoder;

/// Most bytes of one read at the beginning.
const BEGINNING: usize = 4096;

/// Telnet over TCP.
#[derive(Debug)]
pub(crate) struct TelnetStream {
    pub(super) tcp: MeteredTcp,
    decoder: Mutex<Decoder>,
    encoder: Mutex<Encoder>,
}

impl TelnetStream {
    pub(super) fn new(tcp: MeteredTcp) -> Self {
        Self { tcp, decoder: Mutex::default(), encoder: Mutex::default() }
    }

    /// Reads the beginning, which contains options, into this buffer; none once all bytes are the
    /// guest's.
    pub(super) fn try_read_beginning(&self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let mut decoder = lock(&self.decoder);
        if decoder.is_done() {
            return None;
        }
        let mut came = [0; BEGINNING];
        let length = match self.tcp.tcp.try_read(&mut came) {
            Ok(0) => return Some(Ok(0)),
            Ok(length) => length,
            Err(error) => return Some(Err(error)),
        };
        let output = decoder.decode(came.get(..length).unwrap_or_default());
        let Some(place) = buffer.get_mut(..output.len()).filter(|place| !place.is_empty()) else {
            // Only options arrived: this is neither output nor the end.
            return Some(Err(io::ErrorKind::WouldBlock.into()));
        };
        place.copy_from_slice(&output);
        Some(Ok(output.len()))
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.encoder).write(bytes, |encoded| self.tcp.try_write(encoded))
    }
}
