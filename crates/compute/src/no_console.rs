//! The refusals for serial ports without a console.

use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::id::ServerId;

/// The refusal for a server that does not have this serial port, or has none at all; `why` says why
/// an existing port cannot be used.
pub(crate) fn no_such_port(
    id: ServerId,
    port: u8,
    ports: &[u8],
    why: Option<&str>,
) -> ComputeError {
    match (ports, why) {
        ([], None) => unavailable(),
        ([], Some(why)) => {
            ComputeError::Invalid(format!("{} {}", unavailable(), no_console(id, port, why)))
        }
        (_, Some(why)) => ComputeError::NotFound(no_console(id, port, why)),
        (_, None) => {
            let known = ports.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
            let text = format!("Instance {id} has no serial port {port}, only {known}.");
            ComputeError::NotFound(text)
        }
    }
}

pub(crate) fn no_console(id: ServerId, port: u8, why: &str) -> String {
    format!("Serial port {port} of instance {id} has no console: {why}.")
}

/// Nova's refusal for a server without serial consoles.
pub(crate) fn unavailable() -> ComputeError {
    ComputeError::Invalid("Unavailable console type serial.".into())
}
