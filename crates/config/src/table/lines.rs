//! Options of guests, their lines and sessions.

use super::ABOUT_SECONDS;
use super::ABOUT_SECONDS_FROM_1;
use crate::excluded;
use crate::options::Fallback::Computed;
use crate::options::Fallback::Text;
use crate::options::Fallback::Unset;
use crate::options::Kind;
use crate::options::Kind::Multi;
use crate::options::Kind::Single;
use crate::options::Opt;
use crate::options::works;
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

const COUNT: Kind = Single("a number, 0 to 1000000; 0 turns the limit off");
const HISTORY: Kind = Single("bytes, 4 KiB to 1 GiB; units K, KiB, M, MiB, G, GiB");
/// The highest value of a limit.
const MOST: u32 = 1_000_000;

pub(super) static OPTIONS: &[Opt] = &[
    works(
        "libvirt",
        "connection_uri",
        Text("qemu:///system"),
        Single("a URI of libvirt, such as qemu:///system"),
        "Which libvirt to speak to.",
        |c, v| set(&mut c.libvirt.connection_uri, connection_uri(v)),
    ),
    works(
        "libvirt",
        "virt_type",
        Text("auto"),
        Single("auto, kvm or qemu"),
        "Domain type of guests that `boot` makes: `auto` is KVM where it works, else emulation.",
        |c, v| set(&mut c.libvirt.virt_type, virt_type(v)),
    ),
    works(
        "compute",
        "drivers",
        Text("libvirt,static"),
        Single("libvirt, static or both, separated by commas"),
        "Whose servers are served.",
        |c, v| set_drivers(&mut c.compute, v),
    ),
    works(
        "compute",
        "images_path",
        Computed("STATE/images, where STATE is the state directory", default_images_path),
        Single("a directory"),
        "Directory of images: one directory each, with `image.toml`.",
        |c, v| set(&mut c.compute.images_path, path(v)),
    ),
    works(
        "compute",
        "port_rest",
        Text("60"),
        ABOUT_SECONDS,
        "How long a freed port rests before a guest gets it again.",
        |c, v| set(&mut c.compute.port_rest, seconds(v, 0)),
    ),
    works(
        "compute",
        "transport",
        Text("tcp"),
        Single("tcp or unix"),
        "How lines reach the guests that `boot` makes: a TCP port each, or a unix socket in STATE.",
        |c, v| set(&mut c.compute.transport, transport(v)),
    ),
    works(
        "compute",
        "project",
        Unset,
        Multi("a server's name or UUID, and the id of a project"),
        "Project of a server; repeatable. A guest of Nova's, or of `boot`, says itself whose it is.",
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
        Multi("a domain's name or UUID, with :PORT behind it for one serial port"),
        "Domain or serial port that is left alone: it gets no console; repeatable.",
        |c, v| excluded::add(&mut c.compute.excluded, v),
    ),
    works(
        "line",
        "history_head",
        Text("256KiB"),
        HISTORY,
        "How much of the beginning of each boot's output is kept, for each line.",
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
        "Most bytes written to a guest's port and not read by it; a port that reads at once gets more, up to 64 KiB.",
        |c, v| set(&mut c.line.input_in_flight, number(v, 1..=65536)),
    ),
    works(
        "line",
        "claims",
        Text("/run/serialproxy/lines"),
        Single("a directory"),
        "Directory in which the processes of a host claim their lines; one for all of them.",
        |c, v| set(&mut c.line.claims, path(v)),
    ),
    works(
        "session",
        "ping_interval",
        Text("20"),
        ABOUT_SECONDS_FROM_1,
        "How often the server pings a session.",
        |c, v| set(&mut c.session.ping_interval, seconds(v, 1)),
    ),
    works(
        "session",
        "grace",
        Text("60"),
        Single("seconds, more than ping_interval, up to 315360000"),
        "How long after its last sign of life a session ends.",
        |c, v| set(&mut c.session.grace, seconds(v, 1)),
    ),
    works(
        "session",
        "pen_request_timeout",
        Text("15"),
        ABOUT_SECONDS_FROM_1,
        "How long a request for the pen waits for its holder.",
        |c, v| set(&mut c.session.pen_request_timeout, seconds(v, 1)),
    ),
    works(
        "session",
        "raw_lag",
        Text("close"),
        Single("close or skip"),
        "What becomes of a raw session that is too slow: it is closed, or goes on with the newest \
         output.",
        |c, v| set(&mut c.session.raw_lag, raw_lag(v)),
    ),
    works(
        "limits",
        "connections_per_address",
        Text("1000"),
        COUNT,
        "Connections of one address at once, on each listener.",
        |c, v| set(&mut c.limits.connections_per_address, number(v, 0..=MOST)),
    ),
    works(
        "limits",
        "sessions_per_user",
        Text("500"),
        COUNT,
        "Console sessions of one user at once.",
        |c, v| set(&mut c.limits.sessions_per_user, number(v, 0..=MOST)),
    ),
    works(
        "limits",
        "sessions_per_address",
        Text("1000"),
        COUNT,
        "Console sessions from one address at once.",
        |c, v| set(&mut c.limits.sessions_per_address, number(v, 0..=MOST)),
    ),
    works(
        "limits",
        "failures_per_minute",
        Text("20"),
        COUNT,
        "Wrong tokens and passwords from one address in a minute. Each further one delays the \
         answers to that address, up to 30 s.",
        |c, v| set(&mut c.limits.failures_per_minute, number(v, 0..=MOST)),
    ),
    works(
        "static",
        "line",
        Unset,
        Multi(
            "NAME[:PORT] and tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH; behind it \
             backspace=del or ctrl-h, newline=cr, lf or crlf, line_feed=down or new-line",
        ),
        "A serial line that no hypervisor knows; repeatable. NAME is 1 to 255 of A-Z a-z 0-9 . _ \
         -, PORT the index 0 to 255 (default 0). The settings say what Backspace and Enter send, \
         and what a line feed does; a user's own go before.",
        |c, v| statics::add(&mut c.static_lines, v),
    ),
];
