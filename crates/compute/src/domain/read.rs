//! What we need to know of a domain, from its XML as libvirt fills it in.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use quick_xml::NsReader;
use quick_xml::XmlVersion;
use quick_xml::events::BytesStart;
use quick_xml::events::Event;
use quick_xml::name::Namespace;
use quick_xml::name::ResolveResult;
use serialproxy_line::Endpoint;

use super::NAMESPACE;
use super::XmlError;
use super::checked;

/// What we need to know of a domain.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Facts {
    /// Names the hypervisor process, while there is one: another number, another boot.
    pub(crate) run: Option<u32>,
    /// Serial ports that a line can be attached to, by index, each once.
    pub(crate) ports: Vec<SerialPort>,
    /// Name of the image, when `boot` made the domain.
    pub(crate) image: Option<String>,
}

/// A serial port that a line can be attached to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SerialPort {
    /// Index of the port in the server.
    pub(crate) port: u8,
    /// Where QEMU listens.
    pub(crate) at: Endpoint,
}

impl SerialPort {
    /// Where to connect to: a port that is bound on all addresses is reached on the loopback.
    pub(crate) fn dialled(&self) -> Endpoint {
        let mut at = self.at.clone();
        if let Endpoint::Tcp { host, .. } | Endpoint::Tls { host, .. } = &mut at {
            match host.parse() {
                Ok(IpAddr::V4(ip)) if ip.is_unspecified() => {
                    *host = Ipv4Addr::LOCALHOST.to_string()
                }
                Ok(IpAddr::V6(ip)) if ip.is_unspecified() => {
                    *host = Ipv6Addr::LOCALHOST.to_string()
                }
                _ => {}
            }
        }
        at
    }
}

impl Facts {
    /// Reads a domain's XML.
    pub(crate) fn read(xml: &str) -> Result<Self, XmlError> {
        let mut reader = NsReader::from_str(checked(xml)?);
        let mut found = Found::default();
        let mut depth = 0_usize;
        loop {
            let (namespace, event) = reader.read_resolved_event()?;
            let ours = namespace == ResolveResult::Bound(Namespace(NAMESPACE));
            match event {
                Event::Start(element) => {
                    depth += 1;
                    found.open(depth, &element, ours)?;
                }
                Event::Empty(element) => {
                    found.open(depth + 1, &element, ours)?;
                    found.close(depth + 1);
                }
                Event::End(_) => {
                    found.close(depth);
                    depth = depth.saturating_sub(1);
                }
                Event::Eof => return Ok(found.facts()),
                _ => {}
            }
        }
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found {
    /// Which child of `<domain>` we are in.
    section: Section,
    /// The device that we are in.
    device: Option<Device>,
    serials: Vec<SerialPort>,
    consoles: Vec<SerialPort>,
    /// How many of each kind there were, to number those that bear no number.
    seen: [u8; 2],
    run: Option<u32>,
    image: Option<String>,
}

#[derive(Debug, Default, Eq, PartialEq)]
enum Section {
    Devices,
    Metadata,
    #[default]
    Other,
}

/// A `<serial>` or `<console>`.
#[derive(Debug)]
struct Device {
    console: bool,
    kind: String,
    port: u8,
    protocol: Option<String>,
    source: Source,
}

/// Attributes of a device's `<source>`.
#[derive(Debug, Default)]
struct Source {
    mode: Option<String>,
    host: Option<String>,
    service: Option<String>,
    path: Option<String>,
    tls: Option<String>,
}

impl Found {
    fn open(&mut self, depth: usize, element: &BytesStart<'_>, ours: bool) -> Result<(), XmlError> {
        match (depth, element.local_name().into_inner()) {
            (1, "domain") => {
                self.run = attribute(element, "id")?.and_then(|id| id.parse().ok());
            }
            (2, name) => {
                self.section = match name {
                    "devices" => Section::Devices,
                    "metadata" => Section::Metadata,
                    _ => Section::Other,
                };
            }
            (3, "guest") if ours && self.section == Section::Metadata => {
                self.image = attribute(element, "image")?;
            }
            (3, name @ ("serial" | "console")) if self.section == Section::Devices => {
                self.device = Some(self.device(name == "console", element)?);
            }
            (4, name) => {
                if let Some(device) = &mut self.device {
                    device.child(name, element)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, depth: usize) {
        if depth != 3 {
            return;
        }
        let Some(device) = self.device.take() else { return };
        let ports = if device.console { &mut self.consoles } else { &mut self.serials };
        ports.extend(device.endpoint().map(|at| SerialPort { port: device.port, at }));
    }

    fn device(&mut self, console: bool, element: &BytesStart<'_>) -> Result<Device, XmlError> {
        let [serials, consoles] = &mut self.seen;
        let seen = if console { consoles } else { serials };
        let port = *seen;
        *seen = seen.saturating_add(1);
        let kind = attribute(element, "type")?.unwrap_or_default();
        Ok(Device { console, kind, port, protocol: None, source: Source::default() })
    }

    /// The first console mirrors the first serial port, so consoles count only where no serial
    /// port does.
    fn facts(self) -> Facts {
        let mut ports = if self.serials.is_empty() { self.consoles } else { self.serials };
        ports.sort_by_key(|port| port.port);
        ports.dedup_by_key(|port| port.port);
        Facts { run: self.run, ports, image: self.image }
    }
}

impl Device {
    fn child(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), XmlError> {
        match name {
            "source" => {
                self.source = Source {
                    mode: attribute(element, "mode")?,
                    host: attribute(element, "host")?,
                    service: attribute(element, "service")?,
                    path: attribute(element, "path")?,
                    tls: attribute(element, "tls")?,
                };
            }
            "protocol" => self.protocol = attribute(element, "type")?,
            "target" => {
                let port = attribute(element, "port")?;
                self.port = port.and_then(|port| port.parse().ok()).unwrap_or(self.port);
            }
            _ => {}
        }
        Ok(())
    }

    /// Where QEMU listens, if it does so in a way that a line speaks.
    fn endpoint(&self) -> Option<Endpoint> {
        let source = &self.source;
        if source.mode.as_deref() != Some("bind") || source.tls.as_deref() == Some("yes") {
            return None;
        }
        match (self.kind.as_str(), self.protocol.as_deref()) {
            ("tcp", None | Some("raw")) => {
                let port = source.service.as_ref()?.parse().ok().filter(|port| *port != 0)?;
                Some(Endpoint::Tcp { host: source.host.clone()?, port })
            }
            ("unix", _) => Some(Endpoint::Unix(PathBuf::from(source.path.as_ref()?))),
            _ => None,
        }
    }
}

/// An attribute's value.
pub(super) fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, XmlError> {
    let Some(attribute) = element.try_get_attribute(name)? else { return Ok(None) };
    Ok(Some(attribute.normalized_value(XmlVersion::Implicit1_0)?.into_owned()))
}

#[cfg(test)]
mod tests;
