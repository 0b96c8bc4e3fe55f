//! Options of the audit trail.

use crate::audit::max_age;
use crate::audit::max_size;
use crate::audit::syslog;
use crate::option::Fallback::Text;
use crate::option::Fallback::Unset;
use crate::option::Kind::Bool;
use crate::option::Kind::Single;
use crate::option::Opt;
use crate::option::works;
use crate::readers::set;
use crate::readers::set_some;
use crate::scalar::boolean;

pub(super) static OPTIONS: &[Opt] = &[
    works(
        "audit",
        "required",
        Text("false"),
        Bool,
        "Refuse new sessions, tokens and changes of users while the audit trail, STATE/audit, cannot be \
         written.",
        |c, v| set(&mut c.audit.required, boolean(v)),
    ),
    works(
        "audit",
        "max_size",
        Text("64MiB"),
        Single("bytes, 4 KiB to 1 TiB; units K, KiB, M, MiB, G, GiB"),
        "Maximum size of a file of the audit trail. A full one is closed, and the next one begins.",
        |c, v| set(&mut c.audit.max_size, max_size(v)),
    ),
    works(
        "audit",
        "max_age",
        Text("90d"),
        Single("seconds, or a number with the unit s, m, h or d; 1s to 36500d"),
        "A file of the audit trail is closed when its first event is this old, and removed when this time \
         has passed again.",
        |c, v| set(&mut c.audit.max_age, max_age(v)),
    ),
    works(
        "audit",
        "syslog",
        Unset,
        Single("tcp://HOST:PORT or tls://HOST:PORT; an IPv6 address in brackets"),
        "Syslog server that gets the events as well (RFC 5424, octet counting). With `tls`, the system's \
         CA store verifies it.",
        |c, v| set_some(&mut c.audit.syslog, syslog(v)),
    ),
];
