//! What everybody who is attached to a line is told.

use std::time::Duration;

use serialproxy_proto::api::EndpointInfo;
use serialproxy_proto::console::Size;
use serialproxy_proto::console::Viewer;
use serialproxy_proto::pen::Pen;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::status::Change;
use crate::status::Connection;
use crate::status::Halt;
use crate::status::Status;

#[derive(Debug)]
pub(crate) struct News {
    status: watch::Sender<Status>,
}

impl News {
    pub(crate) fn new(pen_request_timeout: Duration) -> Self {
        Self { status: watch::Sender::new(Status::new(pen_request_timeout)) }
    }

    /// How the line stands. Nothing of it changes until this is dropped.
    pub(crate) fn now(&self) -> watch::Ref<'_, Status> {
        self.status.borrow()
    }

    pub(crate) fn follow(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Waits until this holds.
    pub(crate) async fn wait_for(&self, holds: impl FnMut(&Status) -> bool) {
        let _ = self.follow().wait_for(holds).await;
    }

    /// The guest boots, and its output begins at this offset.
    pub(crate) fn begin_boot(&self, offset: u64) {
        self.status.send_modify(|status| {
            status.epoch += 1;
            status.epoch_offset = offset;
        });
    }

    /// A port is dialled that is to be connected, whose output begins at this offset.
    pub(crate) fn set_endpoint(&self, endpoint: EndpointInfo, offset: u64) {
        self.status.send_modify(|status| {
            status.endpoint = Some(endpoint);
            status.connection_offset = offset;
        });
    }

    /// The output of the connection begins at this offset.
    pub(crate) fn set_connection_offset(&self, offset: u64) {
        self.status.send_modify(|status| status.connection_offset = offset);
    }

    /// Says how the connection stands; returns whether that is new.
    pub(crate) fn set_connection(&self, connection: &Connection) -> bool {
        self.status.send_if_modified(|status| {
            let changed = status.connection != *connection;
            status.connection = connection.clone();
            changed
        })
    }

    /// Says why the guest does not go on, if so; returns whether that is new.
    pub(crate) fn set_halt(&self, halt: Option<Halt>) -> bool {
        self.status.send_if_modified(|status| {
            let changed = status.halt != halt;
            status.halt = halt;
            changed
        })
    }

    /// Says how the pen stands: who changed it, on what grid its holder is, and when it is free where
    /// the holder's client is lost.
    pub(crate) fn set_pen(
        &self,
        pen: &Pen,
        change: Option<Change>,
        size: Option<Size>,
        free_at: Option<Instant>,
    ) {
        let (holder, request) = (pen.holder(), pen.request());
        self.status.send_if_modified(|status| {
            let changed = status.holder.as_ref() != holder || status.request.as_ref() != request;
            let resized = size.is_some() && status.size != size;
            let lost_or_back = status.free_at != free_at;
            if changed {
                status.holder = holder.cloned();
                status.request = request.cloned();
                status.change = change;
            }
            if resized {
                status.size = size;
            }
            status.free_at = free_at;
            changed || resized || lost_or_back
        });
    }

    /// Says how many are attached, and who the first of them are.
    pub(crate) fn set_viewers(&self, count: usize, first: impl Iterator<Item = Viewer>) {
        let who = first.collect();
        self.status.send_modify(|status| {
            status.viewers = count as u64;
            status.who = who;
        });
    }
}
