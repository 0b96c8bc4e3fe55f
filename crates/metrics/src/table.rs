//! The table of all metrics.

use std::fmt::Write;

use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::SessionState;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::console::LineState;
use serialproxy_proto::health::ReasonName;
use serialproxy_proto::token::Mode;

use crate::family::Family;
use crate::family::Metric;
use crate::family::write_head;
use crate::kinds::Counter;
use crate::kinds::Gauge;
use crate::kinds::Histogram;
use crate::kinds::Kind;
use crate::labels::Call;
use crate::labels::Certificate;
use crate::labels::Direction;
use crate::labels::Labels;
use crate::labels::Leased;
use crate::labels::Operation;
use crate::labels::Outcome;

/// Which version runs.
#[derive(Debug)]
struct BuildInfo;

impl Metric for BuildInfo {
    fn name(&self) -> &'static str {
        "serialproxy_build_info"
    }

    fn help(&self) -> &'static str {
        "1, with the version of the program as label."
    }

    fn kind(&self) -> Kind {
        Kind::Gauge
    }

    fn labels(&self) -> Vec<&'static str> {
        vec!["version"]
    }

    fn write(&self, out: &mut String) {
        write_head(self, out);
        let _ = writeln!(out, "{}{{version=\"{}\"}} 1", self.name(), env!("CARGO_PKG_VERSION"));
    }
}

/// A row: help, static, name, kind and labels.
macro_rules! metrics {
    ($(#[doc = $help:literal] $metric:ident = $name:literal $kind:ident $labels:ty;)+) => {
        $(
            #[doc = $help]
            pub static $metric: Family<$kind, $labels, { <$labels as Labels>::COUNT }> = Family::new(
                $name,
                $help.trim_ascii_start(),
                [const { $kind::new() }; <$labels as Labels>::COUNT],
                $kind::new(),
            );
        )+

        /// All metrics.
        pub static ALL: &[&dyn Metric] = &[$(&$metric,)+ &BuildInfo];
    };
}

metrics! {
    /// Sessions now, by mode, protocol and whether their client is connected.
    SESSIONS = "serialproxy_sessions" Gauge (Mode, (Protocol, SessionState));
    /// WebSocket handshakes of users that led to a session.
    HANDSHAKES = "serialproxy_handshakes_total" Counter Protocol;
    /// Handshakes of users that led to no session, by cause.
    REFUSALS = "serialproxy_refusals_total" Counter Cause;
    /// Time from the request of a user to the beginning of the session.
    ATTACH_SECONDS = "serialproxy_attach_seconds" Histogram ();
    /// Bytes of input from clients, and of output to them.
    SESSION_BYTES = "serialproxy_session_bytes_total" Counter Direction;
    /// Sessions now whose client has not taken all output and is more than 64 KiB behind.
    VIEWERS_BEHIND = "serialproxy_viewers_behind" Gauge ();
    /// Times that a session was not sent output because it was no longer kept.
    GAPS = "serialproxy_gaps_total" Counter ();
    /// Bytes of output that sessions were not sent for that reason.
    SKIPPED_BYTES = "serialproxy_skipped_bytes_total" Counter ();
    /// Times that a person who was typing stopped, or another took over, by cause.
    PEN_CHANGES = "serialproxy_pen_changes_total" Counter Cause;
    /// Time from reading a key to writing it to the guest, and from reading its echo to writing that to the client.
    ECHO_SECONDS = "serialproxy_echo_seconds" Histogram Direction;
    /// Lines now, by state of the connection to the guest.
    LINES = "serialproxy_lines" Gauge LineState;
    /// Attempts to connect to serial ports of guests.
    LINE_CONNECTS = "serialproxy_line_connects_total" Counter Outcome;
    /// Bytes of input to serial ports of guests, and of output from them.
    LINE_BYTES = "serialproxy_line_bytes_total" Counter Direction;
    /// Boots of guests, counted at each of their lines.
    BOOTS = "serialproxy_boots_total" Counter ();
    /// Other programs that were made to hang up a serial port.
    STRANGERS_HUNG_UP = "serialproxy_stranger_hangups_total" Counter ();
    /// Console tokens that were issued, used, refused (resume keys too) or revoked.
    TOKENS = "serialproxy_token_operations_total" Counter Operation;
    /// Failed logins and calls with wrong credentials.
    LOGIN_FAILURES = "serialproxy_login_failures_total" Counter ();
    /// TCP ports of port_range, by whether they are allocated.
    PORT_LEASES = "serialproxy_port_leases" Gauge Leased;
    /// Duration of calls of libvirt.
    LIBVIRT_SECONDS = "serialproxy_libvirt_call_seconds" Histogram Call;
    /// Calls of libvirt that failed.
    LIBVIRT_ERRORS = "serialproxy_libvirt_errors_total" Counter Call;
    /// Duration of calls of etcd.
    ETCD_SECONDS = "serialproxy_etcd_call_seconds" Histogram ();
    /// Calls of etcd that failed.
    ETCD_ERRORS = "serialproxy_etcd_errors_total" Counter ();
    /// Time since what is known of etcd was up to date; 0 while it is, NaN without a cluster.
    ETCD_WATCH_LAG = "serialproxy_etcd_watch_lag_seconds" Gauge ();
    /// When etcd last acknowledged a lease of this process, in seconds since 1970; 0 before the first.
    ETCD_ACKNOWLEDGED = "serialproxy_etcd_lease_acknowledged_seconds" Gauge ();
    /// Leases of this process that ended because etcd did not keep them alive.
    ETCD_LEASES_LOST = "serialproxy_etcd_leases_lost_total" Counter ();
    /// Sessions now that this process passes on to other hosts.
    TUNNELS = "serialproxy_tunnels" Gauge ();
    /// Sessions that this process passed on to other hosts.
    TUNNELS_OPENED = "serialproxy_tunnels_opened_total" Counter ();
    /// Bytes that were passed on, by direction; frames and messages count.
    TUNNEL_BYTES = "serialproxy_tunnel_bytes_total" Counter Direction;
    /// Time until a certificate expires; negative after that, NaN where there is none.
    CERTIFICATE_SECONDS = "serialproxy_certificate_seconds" Gauge Certificate;
    /// Files and sockets that this process has open.
    OPEN_FILES = "serialproxy_open_files" Gauge ();
    /// Files and sockets that this process may have open.
    OPEN_FILES_LIMIT = "serialproxy_open_files_limit" Gauge ();
    /// Bytes written to the audit trail.
    AUDIT_BYTES = "serialproxy_audit_bytes_total" Counter ();
    /// Audit events that are missing because the trail could not be written; refusals over their rate do not count.
    AUDIT_DROPPED = "serialproxy_audit_dropped_total" Counter ();
    /// Audit events that found no room to wait for the syslog server.
    AUDIT_SYSLOG_DROPPED = "serialproxy_audit_syslog_dropped_total" Counter ();
    /// 1 for each thing that degrades this process or keeps it from serving, as in /healthz.
    UNHEALTHY = "serialproxy_unhealthy" Gauge ReasonName;
    /// When this process started, in seconds since 1970.
    START_TIME = "serialproxy_start_time_seconds" Gauge ();
}
