//! How an event becomes a line.

use std::fmt;

use serde_json::Map;
use serde_json::Value;
use serialproxy_proto::request_id::RequestId;
use tracing::Event;
use tracing::Level;
use tracing::Subscriber;
use tracing::field::Field;
use tracing::field::Visit;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::FormatEvent;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::DefaultFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::registry::LookupSpan;

/// The field of the request id.
const REQUEST_ID: &str = "request_id";

/// The fields of a line of text, and the request id behind them.
#[derive(Debug, Default)]
pub(super) struct TextFields(DefaultFields);

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut names = Names { request_id: false };
        fields.record(&mut names);
        self.0.format_fields(writer.by_ref(), fields)?;
        match RequestId::current() {
            Some(id) if !names.request_id => write!(writer, " {REQUEST_ID}={id}"),
            _ => Ok(()),
        }
    }
}

/// Whether an event has a request id of its own.
struct Names {
    request_id: bool,
}

impl Visit for Names {
    fn record_debug(&mut self, field: &Field, _: &dyn fmt::Debug) {
        self.request_id |= field.name() == REQUEST_ID;
    }
}

/// One JSON object a line: `timestamp`, `level`, `message`, the event's fields, and `request_id`.
#[derive(Debug)]
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        writer.write_str(&json_line(*event.metadata().level(), fields.message, fields.others))
    }
}

/// A line of JSON, with its end.
pub(super) fn json_line(level: Level, message: String, fields: Map<String, Value>) -> String {
    let mut line = Map::new();
    line.insert("timestamp".into(), now().into());
    line.insert("level".into(), level.as_str().into());
    line.insert("message".into(), message.into());
    if let Some(id) = RequestId::current() {
        line.insert(REQUEST_ID.into(), id.to_string().into());
    }
    for (name, value) in fields {
        // A field of this name does not replace what every line has.
        line.entry(name).or_insert(value);
    }
    format!("{}\n", Value::Object(line))
}

/// The time, as lines of text begin with it: RFC 3339 in UTC.
pub(super) fn now() -> String {
    let mut text = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let value = value.into();
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => drop(self.others.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_has_what_every_line_has_whatever_its_fields_are_called() {
        let fields = [("level", "none"), ("user", "a\nb\"")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.into()));
        let line = json_line(Level::WARN, "text".into(), fields.into_iter().collect());
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let line: Map<String, Value> = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["level"], &line["message"]), (&"WARN".into(), &"text".into()));
        assert_eq!(line["user"], "a\nb\"");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line:?}");
        assert!(!line.contains_key("request_id"));
    }
}
