//! Options of guests, their lines and sessions.

use super::ABOUT_SECONDS;
use super::ABOUT_SECONDS_FROM_1;
use crate::excluded;
use crate::option::Fallback::Computed;
use crate::option::Fallback::Text;
use crate::option::Fallback::Unset;
use crate::option::Kind;
use crate::option::Kind::Multi;
use crate::option::Kind::Single;
use crate::option::Opt;
use crate::option::works;
use crate::projects;
use crate::readers::connection_uri;
use crate::readers::default_images_path;
use crate::readers::raw_lag;
use crate::readers::set;
use crate::readers::set_drivers;
use crate::readers::transport;
use crate::readers::virt_type;
use crate::scalar::history_size;
use crate::scalar::number;
use crate::scalar::path;
use crate::scalar::seconds;
use crate::statics;

const COUNT: Kind = Single("a number, 0 to 1000000; 0 disables the limit");
const HISTORY: Kind = Single("bytes, 4 KiB to 1 GiB; units K, KiB, M, MiB, G, GiB");
/// The highest value of a limit.
const MOST: u32 = 1_000_000;

pub(super) static OPTIONS: &[Opt] = &[
    works(
        "libvirt",
        "connection_uri",
        Text("qemu:///system"),
        Single("a libvirt URI, for example qemu:///system"),
        "URI of the libvirt to connect to.",
        |c, v| set(&mut c.libvirt.connection_uri, connection_uri(v)),
    ),
    works(
        "libvirt",
        "virt_type",
        Text("auto"),
        Single("auto, kvm or qemu"),
        "Domain type of guests that `boot` makes. `auto` means KVM if it works, else emulation.",
        |c, v| set(&mut c.libvirt.virt_type, virt_type(v)),
    ),
    works(
        "compute",
        "drivers",
        Text("libvirt,static"),
        Single("libvirt, static or both, separated by commas"),
        "Enabled compute drivers.",
        |c, v| set_drivers(&mut c.compute, v),
    ),
    works(
        "compute",
        "images_path",
        Computed("STATE/images, where STATE is the state directory", default_images_path),
        Single("a directory"),
        "Directory of images. Each image is a subdirectory with an `image.toml`.",
        |c, v| set(&mut c.compute.images_path, path(v)),
    ),
    works(
        "compute",
        "port_rest",
        Text("60"),
        ABOUT_SECONDS,
        "How long a released port stays unused before it is allocated again.",
        |c, v| set(&mut c.compute.port_rest, seconds(v, 0)),
    ),
    works(
        "compute",
        "transport",
        Text("tcp"),
        Single("tcp or unix"),
        "Transport of the serial ports of guests that `boot` makes: a TCP port each, or a unix \
         socket in STATE.",
        |c, v| set(&mut c.compute.transport, transport(v)),
    ),
    works(
        "compute",
        "project",
        Unset,
        Multi("the name or UUID of a server, and the id of a project"),
        "Project of a server; repeatable. Guests that Nova or `boot` made have their project in \
         their libvirt metadata.",
        |c, v| projects::add(&mut c.compute.projects, v),
    ),
    works(
        "compute",
        "default_project",
        Text("admin"),
        Single("the id of a project"),
        "Project of all other servers.",
        |c, v| set(&mut c.compute.default_project, projects::project(v)),
    ),
    works(
        "compute",
        "exclude",
        Unset,
        Multi("the name or UUID of a domain, with :PORT appended for a single serial port"),
        "Domain or serial port that serialproxy does not touch; it has no console; repeatable.",
        |c, v| excluded::add(&mut c.compute.excluded, v),
    ),
    works(
        "line",
        "history_head",
        Text("256KiB"),
        HISTORY,
        "How much output is kept from the beginning of each boot, for each line.",
        |c, v| set(&mut c.line.history_head, history_size(v)),
    ),
    works(
        "line",
        "history_tail",
        Text("256KiB"),
        HISTORY,
        "How much of the newest output is kept, for each line.",
        |c, v| set(&mut c.line.history_tail, history_size(v)),
    ),
    works(
        "line",
        "input_in_flight",
        Text("512"),
        Single("bytes, 1 to 65536"),
        "Maximum number of bytes written to a guest's port and not yet read by the guest. A port \
         that reads immediately gets up to 64 KiB.",
        |c, v| set(&mut c.line.input_in_flight, number(v, 1..=65536)),
    ),
    works(
        "line",
        "claims",
        Text("/run/serialproxy/lines"),
        Single("a directory"),
        "Directory of the lock files by which the serialproxy processes of a host claim lines. \
         All of them must use the same one.",
        |c, v| set(&mut c.line.claims, path(v)),
    ),
    works(
        "session",
        "ping_interval",
        Text("20"),
        ABOUT_SECONDS_FROM_1,
        "Interval of WebSocket pings to each session.",
        |c, v| set(&mut c.session.ping_interval, seconds(v, 1)),
    ),
    works(
        "session",
        "grace",
        Text("60"),
        Single("seconds, more than ping_interval, up to 315360000"),
        "How long a session without any message or pong from its client is kept.",
        |c, v| set(&mut c.session.grace, seconds(v, 1)),
    ),
    works(
        "session",
        "pen_request_timeout",
        Text("15"),
        ABOUT_SECONDS_FROM_1,
        "How long a person who is typing has to answer a request to type. Without an answer, the \
         request is granted.",
        |c, v| set(&mut c.session.pen_request_timeout, seconds(v, 1)),
    ),
    works(
        "session",
        "raw_lag",
        Text("close"),
        Single("close or skip"),
        "What happens to a raw session that reads too slowly: it is closed, or it skips to the \
         newest output.",
        |c, v| set(&mut c.session.raw_lag, raw_lag(v)),
    ),
    works(
        "limits",
        "connections_per_address",
        Text("1000"),
        COUNT,
        "Maximum number of simultaneous connections from one address, for each listener.",
        |c, v| set(&mut c.limits.connections_per_address, number(v, 0..=MOST)),
    ),
    works(
        "limits",
        "sessions_per_user",
        Text("500"),
        COUNT,
        "Maximum number of simultaneous console sessions of one user.",
        |c, v| set(&mut c.limits.sessions_per_user, number(v, 0..=MOST)),
    ),
    works(
        "limits",
        "sessions_per_address",
        Text("1000"),
        COUNT,
        "Maximum number of simultaneous console sessions from one address.",
        |c, v| set(&mut c.limits.sessions_per_address, number(v, 0..=MOST)),
    ),
    works(
        "limits",
        "failures_per_minute",
        Text("20"),
        COUNT,
        "Number of wrong tokens and passwords accepted from one address in a minute. Each \
         further one delays the responses to that address, up to 30 s.",
        |c, v| set(&mut c.limits.failures_per_minute, number(v, 0..=MOST)),
    ),
    works(
        "static",
        "line",
        Unset,
        Multi(
            "NAME[:PORT] and tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH, optionally followed by \
             backspace=del or ctrl-h, newline=cr, lf or crlf, line_feed=down or new-line",
        ),
        "Serial line that does not belong to a guest, for example of a switch; repeatable. NAME \
         has 1 to 255 of the characters A-Z a-z 0-9 . _ -; PORT is the index, 0 to 255 (default \
         0). The settings are defaults for what Backspace and Enter send, and for what a line feed \
         does; users' own settings override them.",
        |c, v| statics::add(&mut c.static_lines, v),
    ),
];
