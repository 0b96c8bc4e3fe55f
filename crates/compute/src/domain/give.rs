//! Gives TCP ports to a domain that others defined. The rest of its XML stays as it is, byte for
//! byte.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::BytesStart;
use quick_xml::events::Event;

use super::XmlError;
use super::checked;
use super::read::Source;
use super::read::attribute;
use super::read::shown;
use super::write::tcp;
use super::write::tcp_source;

/// TCP ports for the first serial ports of a domain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    pub(crate) address: &'a str,
    /// By index of the serial port.
    pub(crate) ports: &'a [u16],
    pub(crate) tls: bool,
}

/// Why ports cannot be given to a domain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GiveError {
    /// Its XML cannot be used.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Another program may rely on the serial port as it is.
    #[error(
        "its serial port {port} is of type '{kind}', which another program may use: only ports \
         of type pty or null, and those with mode='connect', can be replaced"
    )]
    Relied { port: usize, kind: String },
}

/// The serial and console devices in a domain's XML, with their positions.
#[derive(Debug, Default)]
pub(crate) struct SerialDevices {
    found: Vec<Element>,
    /// The position for the first of them, where there is none.
    place: usize,
}

#[derive(Debug, Default)]
struct Element {
    /// The whole element.
    range: Range<usize>,
    console: bool,
    kind: String,
    source: Source,
    target: Option<String>,
    /// Index of the port, if the element has one.
    port: Option<usize>,
    /// The children that define the address of the port.
    ends: Vec<Range<usize>>,
    /// All children.
    inside: Range<usize>,
}

impl SerialDevices {
    /// Finds the devices.
    pub(crate) fn find(xml: &str) -> Result<Self, XmlError> {
        let mut reader = Reader::from_str(checked(xml)?);
        let mut devices = Self::default();
        let mut path = Vec::<String>::new();
        // The position of the current child of a device.
        let mut child = 0;
        loop {
            let begin = position(&reader);
            let event = reader.read_event()?;
            let end = position(&reader);
            match &event {
                Event::Start(element) => {
                    devices.open(&path, element, begin..end)?;
                    if path.len() == 3 {
                        child = begin;
                    }
                    path.push(element.name().as_ref().to_owned());
                }
                Event::Empty(element) => {
                    devices.open(&path, element, begin..end)?;
                    path.push(element.name().as_ref().to_owned());
                    devices.close(&path, begin, begin..end);
                    path.pop();
                }
                Event::End(_) => {
                    devices.close(&path, child, begin..end);
                    path.pop();
                }
                Event::Eof => return Ok(devices),
                _ => {}
            }
        }
    }

    /// The present form of the first `count` serial ports, in words; none for those that do not
    /// exist.
    pub(crate) fn replaced(&self, count: usize) -> Vec<Option<String>> {
        let mut replaced = vec![None; count];
        let serials = self.found.iter().filter(|element| !element.console);
        for (place, element) in serials.enumerate() {
            if let Some(words) = replaced.get_mut(element.port.unwrap_or(place)) {
                *words = Some(element.in_words());
            }
        }
        replaced
    }

    /// The number of serial ports.
    pub(crate) fn serials(&self) -> usize {
        self.found.iter().filter(|element| !element.console).count()
    }

    /// The range from the beginning of the first to the end of the last of them.
    pub(crate) fn span(&self) -> Range<usize> {
        match (self.found.first(), self.found.last()) {
            (Some(first), Some(last)) => first.range.start..last.range.end,
            _ => self.place..self.place,
        }
    }

    /// The XML with TCP ports for the first serial ports, and with as many additional serial ports
    /// as needed. libvirt itself adds the console that mirrors a serial port.
    pub(crate) fn give(&self, xml: &str, given: Given<'_>) -> Result<String, GiveError> {
        let Given { address, ports, tls } = given;
        let text = |range: Range<usize>| xml.get(range).unwrap_or_default();
        let span = self.span();
        let mut given_xml = text(0..span.start).to_owned();
        let mut missing: Vec<usize> = (0..ports.len()).collect();
        let mut read = span.start;
        let mut end_of_serials = given_xml.len();
        let mut serials = 0;
        for element in &self.found {
            given_xml.push_str(text(read..element.range.start));
            read = element.range.end;
            if element.console {
                if !element.is_mirror() {
                    given_xml.push_str(text(element.range.clone()));
                }
                continue;
            }
            let index = element.port.unwrap_or(serials);
            serials += 1;
            match ports.get(index) {
                Some(port) => {
                    element.replaceable(index)?;
                    missing.retain(|other| *other != index);
                    given_xml.push_str("<serial type='tcp'>");
                    given_xml.push_str(&tcp_source(address, *port, tls));
                    element.kept().for_each(|kept| given_xml.push_str(text(kept)));
                    given_xml.push_str("</serial>");
                }
                None => given_xml.push_str(text(element.range.clone())),
            }
            end_of_serials = given_xml.len();
        }
        given_xml.push_str(text(read..xml.len()));
        let more = missing
            .into_iter()
            .filter_map(|index| ports.get(index).map(|port| tcp(index, address, *port, tls)));
        given_xml.insert_str(end_of_serials, &more.collect::<String>());
        Ok(given_xml)
    }

    fn open(
        &mut self,
        path: &[String],
        element: &BytesStart<'_>,
        range: Range<usize>,
    ) -> Result<(), XmlError> {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let name = element.name();
        match (names.as_slice(), name.as_ref()) {
            (["domain", "devices"], "serial" | "console") => {
                self.found.push(Element {
                    console: name.as_ref() == "console",
                    kind: attribute(element, "type")?.unwrap_or_default(),
                    inside: range.end..range.end,
                    range,
                    ..Element::default()
                });
            }
            (["domain", "devices", "serial" | "console"], "target") => {
                if let Some(device) = self.found.last_mut() {
                    device.target = attribute(element, "type")?;
                    device.port = attribute(element, "port")?.and_then(|port| port.parse().ok());
                }
            }
            (["domain", "devices", "serial" | "console"], "source") => {
                if let Some(device) = self.found.last_mut() {
                    device.source = Source::read(element)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the element at `path`, which has the range `range`. If it is a child of a device, it
    /// began at `child`.
    fn close(&mut self, path: &[String], child: usize, range: Range<usize>) {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match names.as_slice() {
            ["domain", "devices"] => self.place = range.start,
            ["domain", "devices", "serial" | "console"] => {
                if let Some(device) = self.found.last_mut() {
                    device.inside.end = range.start.max(device.inside.start);
                    device.range.end = range.end;
                }
            }
            ["domain", "devices", "serial" | "console", "source" | "protocol"] => {
                if let Some(device) = self.found.last_mut() {
                    device.ends.push(child..range.end);
                }
            }
            _ => {}
        }
    }
}

impl Element {
    fn is_mirror(&self) -> bool {
        matches!(self.target.as_deref(), None | Some("serial"))
    }

    /// Checks that no program relies on the port: a pseudo-terminal gets another name at each
    /// start. Where QEMU connects to another program, the adoption is meant to end that.
    fn replaceable(&self, port: usize) -> Result<(), GiveError> {
        match self.kind.as_str() {
            "pty" | "null" => Ok(()),
            "tcp" | "unix" if self.source.connects() => Ok(()),
            kind => Err(GiveError::Relied { port, kind: kind.into() }),
        }
    }

    /// The present form of the device, without paths of this machine.
    fn in_words(&self) -> String {
        let Source { host, service, .. } = &self.source;
        match (self.kind.as_str(), host) {
            (kind, _) if !self.source.connects() => shown(kind),
            ("tcp", Some(host)) => {
                let to = format!("{host}:{}", service.as_deref().unwrap_or_default());
                format!("tcp with mode='connect' to {}", shown(&to))
            }
            (kind, _) => format!("{} with mode='connect'", shown(kind)),
        }
    }

    /// The children that do not define the address of the port.
    fn kept(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(self.inside.start).chain(self.ends.iter().map(|r| r.end));
        let ends = self.ends.iter().map(|r| r.start).chain(std::iter::once(self.inside.end));
        starts.zip(ends).map(|(start, end)| start..end)
    }
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
