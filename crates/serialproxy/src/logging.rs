//! The log: one line an event, with fields, on stderr or in a file.

use std::fs::OpenOptions;
use std::io;
use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging: to the end of `file`, which is made where it is missing, for its owner alone. Only
/// our own crates speak at debug level: what libraries say there holds request heads, and with them
/// tokens.
///
/// # Errors
///
/// When the file cannot be opened.
pub(crate) fn start(debug: bool, file: Option<&Path>) -> io::Result<()> {
    let own = if debug { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let filter = Targets::new().with_default(LevelFilter::WARN).with_target("serialproxy", own);
    let (writer, colours) = match file {
        None => (BoxMakeWriter::new(io::stderr), io::stderr().is_terminal()),
        Some(file) => {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
            (BoxMakeWriter::new(Mutex::new(file)), false)
        }
    };
    let lines = fmt::layer().with_writer(writer).with_ansi(colours).with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    Ok(())
}
