//! The status of a line, which all attached clients are told.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use serialproxy_metrics as metrics;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::console::Size;
use serialproxy_proto::console::Viewer;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::pen::Pen;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::lock;
use crate::session::Absence;
use crate::status::Change;
use crate::status::Connection;
use crate::status::Halt;
use crate::status::Status;

#[derive(Debug)]
pub(crate) struct News {
    /// The status, and when it changed. It is replaced instead of changed while it is in use: a
    /// session sees from the address whether there is news.
    now: Mutex<(Arc<Status>, Instant)>,
    /// Wakes all who wait for news and are not sessions, which have their own bells.
    changed: Notify,
}

impl News {
    pub(crate) fn new(pen_request_timeout: Duration) -> Self {
        let status = Arc::new(Status::new(pen_request_timeout));
        Self { now: Mutex::new((status, Instant::now())), changed: Notify::new() }
    }

    /// The present status.
    pub(crate) fn now(&self) -> Arc<Status> {
        Arc::clone(&lock(&self.now).0)
    }

    /// The time since the status changed.
    pub(crate) fn age(&self) -> Duration {
        lock(&self.now).1.elapsed()
    }

    /// Waits until `holds` is true; returns the status then.
    pub(crate) async fn wait_for(&self, holds: impl Fn(&Status) -> bool) -> Arc<Status> {
        loop {
            let changed = self.changed.notified();
            let now = self.now();
            if holds(&now) {
                return now;
            }
            drop(now);
            changed.await;
        }
    }

    /// Applies a change unless the status has it already; returns whether it was applied.
    fn change(
        &self,
        is_new: impl FnOnce(&Status) -> bool,
        change: impl FnOnce(&mut Status),
    ) -> bool {
        let mut now = lock(&self.now);
        let is_new = is_new(&now.0);
        if is_new {
            change(Arc::make_mut(&mut now.0));
            now.1 = Instant::now();
            self.changed.notify_waiters();
        }
        is_new
    }

    /// The guest boots, and its output begins at this offset.
    pub(crate) fn begin_boot(&self, offset: u64) {
        metrics::BOOTS.inc();
        self.change(
            |_| true,
            |status| {
                status.epoch += 1;
                status.epoch_offset = offset;
            },
        );
    }

    /// The line connects to this port, whose output begins at this offset.
    pub(crate) fn set_endpoint(&self, endpoint: Endpoint, offset: u64) {
        self.change(
            |_| true,
            |status| {
                status.endpoint = Some(endpoint);
                status.connection_offset = offset;
            },
        );
    }

    /// The output of the connection begins at this offset.
    pub(crate) fn set_connection_offset(&self, offset: u64) {
        self.change(|_| true, |status| status.connection_offset = offset);
    }

    /// Sets the state of the connection; returns whether it is new.
    pub(crate) fn set_connection(&self, connection: &Connection) -> bool {
        self.change(
            |status| status.connection != *connection,
            |status| status.connection = connection.clone(),
        )
    }

    /// Sets why the guest does not go on, if so; returns whether that is new.
    pub(crate) fn set_halt(&self, halt: Option<Halt>) -> bool {
        self.change(|status| status.halt != halt, |status| status.halt = halt)
    }

    /// Sets the state of the pen: who changed it, the holder's grid, and the holder's absence where
    /// its client is lost.
    pub(crate) fn set_pen(
        &self,
        pen: &Pen,
        change: Option<Change>,
        size: Option<Size>,
        absence: Option<Absence>,
    ) {
        let (holder, request) = (pen.holder(), pen.request());
        let is_other = |status: &Status| {
            status.holder.as_ref() != holder || status.request.as_ref() != request
        };
        let is_resized = |status: &Status| size.is_some() && status.size != size;
        self.change(
            |status| is_other(status) || is_resized(status) || status.absence != absence,
            |status| {
                if is_other(status) {
                    let holder_before = status.holder.as_ref().map(|holder| holder.session);
                    if holder_before.is_some() && holder_before != holder.map(|it| it.session) {
                        let cause = change.as_ref().map_or(Cause::Left, |change| change.cause);
                        metrics::PEN_CHANGES.of(cause).inc();
                    }
                    status.holder = holder.cloned();
                    status.request = request.cloned();
                    status.change = change;
                }
                status.size = size.or(status.size);
                status.absence = absence;
            },
        );
    }

    /// Sets how many sessions are attached, and the first of them.
    pub(crate) fn set_viewers(&self, count: usize, first: impl Iterator<Item = Viewer>) {
        let who = first.collect();
        self.change(
            |_| true,
            |status| {
                status.viewers = count as u64;
                status.who = who;
            },
        );
    }

    /// All sessions have ended, and no more can attach.
    pub(crate) fn set_closed(&self) {
        self.change(|status| !status.is_closed, |status| status.is_closed = true);
    }
}
