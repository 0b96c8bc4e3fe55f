//! Reads a domain's XML, in which libvirt has filled in the running guest's values.

use std::borrow::Cow;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use quick_xml::NsReader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::BytesStart;
use quick_xml::events::Event;
use quick_xml::name::Namespace;
use quick_xml::name::ResolveResult;
use serialproxy_proto::endpoint::Endpoint;

use super::NAMESPACE;
use super::NOVA;
use super::XmlError;
use super::checked;

/// Characters of a word in a description that an error text repeats.
const QUOTED: usize = 64;

/// Maximum number of characters of a server's name, as in Nova.
const NAME: usize = 255;

/// The properties of a domain that we need.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Facts {
    /// Identifies the hypervisor process, while there is one: a new number means a new boot.
    pub(crate) run: Option<u32>,
    /// Serial ports that a line can be attached to, by index, each once.
    pub(crate) ports: Vec<SerialPort>,
    /// Serial ports that cannot have a line, and the reason.
    pub(crate) unusable: Vec<(u8, Cow<'static, str>)>,
    /// Name of the image, when `boot` made the domain.
    pub(crate) image: Option<String>,
    /// The name that its users gave it, from Nova's metadata.
    pub(crate) title: Option<String>,
    /// Id of its project, from Nova's metadata or else from `boot`'s.
    pub(crate) project: Option<String>,
    /// The user id of the hypervisor process, if libvirt reports it.
    pub(crate) uid: Option<u32>,
}

/// The kind of metadata that an element belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Vocabulary {
    Ours,
    Nova,
    Other,
}

impl From<ResolveResult<'_>> for Vocabulary {
    fn from(namespace: ResolveResult<'_>) -> Self {
        match namespace {
            ResolveResult::Bound(Namespace(NAMESPACE)) => Self::Ours,
            ResolveResult::Bound(Namespace(name)) if NOVA.contains(&name) => Self::Nova,
            _ => Self::Other,
        }
    }
}

/// A serial port that a line can be attached to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SerialPort {
    /// Index of the port in the server.
    pub(crate) port: u8,
    /// Its address in QEMU; `None` while libvirt has yet to choose it at the next start.
    pub(crate) at: Option<Endpoint>,
    /// The device in the guest.
    pub(crate) device: Device,
    /// libvirt's name of the running device.
    pub(crate) alias: Option<String>,
    /// The file in which libvirt keeps the guest's output.
    pub(crate) log: Option<Log>,
}

/// The kind of device in the guest, which determines how it handles a break.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Device {
    /// A UART, which has breaks.
    Uart,
    /// A paravirtual console, which has no breaks: QEMU reports success and does nothing.
    Console,
}

/// The `<log>` of a serial port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Log {
    pub(crate) file: PathBuf,
    /// Whether a new run appends to the file; otherwise it begins a new file.
    pub(crate) append: bool,
}

impl SerialPort {
    /// The address to connect to or to listen at. Where QEMU listens on all addresses, it is the
    /// loopback.
    pub(crate) fn dialed(&self) -> Option<Endpoint> {
        let mut at = self.at.clone();
        if let Some(
            Endpoint::Tcp { host, .. }
            | Endpoint::Tls { host, .. }
            | Endpoint::Telnet { host, .. }
            | Endpoint::Incoming { host, .. },
        ) = &mut at
        {
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
            let vocabulary = Vocabulary::from(namespace);
            match event {
                Event::Start(element) => {
                    depth += 1;
                    found.open(depth, &element, vocabulary)?;
                }
                Event::Empty(element) => {
                    found.open(depth + 1, &element, vocabulary)?;
                    found.close(depth + 1);
                }
                Event::End(_) => {
                    found.close(depth);
                    depth = depth.saturating_sub(1);
                }
                Event::Text(text) => found.text(depth, &text),
                Event::GeneralRef(reference) if found.section == Section::Title => {
                    let character = reference.resolve_char_ref().ok().flatten().map(String::from);
                    let entity = resolve_xml_entity(&reference).map(str::to_owned);
                    found.title.extend(character.or(entity));
                }
                Event::Eof => return Ok(found.facts()),
                _ => {}
            }
        }
    }
}

/// The state of the parser.
#[derive(Debug, Default)]
struct Found {
    /// The child of `<domain>` that the parser is in.
    section: Section,
    /// The device that the parser is in.
    character: Option<Character>,
    serials: Vec<Character>,
    consoles: Vec<Character>,
    run: Option<u32>,
    image: Option<String>,
    project: Option<String>,
    nova_project: Option<String>,
    /// Nova's name of it.
    title: String,
    uid: Option<u32>,
}

#[derive(Debug, Default, Eq, PartialEq)]
enum Section {
    Devices,
    Metadata,
    /// `<nova:name>` in it.
    Title,
    /// `<seclabel model='dac'>`, and its `<label>`.
    Owner,
    OwnerLabel,
    #[default]
    Other,
}

/// A `<serial>` or `<console>`.
#[derive(Debug)]
struct Character {
    console: bool,
    kind: String,
    /// Its index among devices of the same kind.
    port: u8,
    /// The kind of the device in the guest.
    target: Option<String>,
    protocol: Option<String>,
    source: Source,
    alias: Option<String>,
    log: Option<Log>,
}

/// Attributes of a device's `<source>`.
#[derive(Debug, Default)]
pub(super) struct Source {
    mode: Option<String>,
    pub(super) host: Option<String>,
    pub(super) service: Option<String>,
    path: Option<String>,
    tls: Option<String>,
}

impl Source {
    pub(super) fn read(element: &BytesStart<'_>) -> Result<Self, XmlError> {
        Ok(Self {
            mode: attribute(element, "mode")?,
            host: attribute(element, "host")?,
            service: attribute(element, "service")?,
            path: attribute(element, "path")?,
            tls: attribute(element, "tls")?,
        })
    }

    /// Whether QEMU connects to the address instead of listening there.
    pub(super) fn connects(&self) -> bool {
        self.mode.as_deref() == Some("connect")
    }
}

impl Found {
    fn open(
        &mut self,
        depth: usize,
        element: &BytesStart<'_>,
        vocabulary: Vocabulary,
    ) -> Result<(), XmlError> {
        if self.section == Section::Metadata && depth > 2 {
            return self.metadata(depth, element, vocabulary);
        }
        match (depth, element.local_name().into_inner()) {
            (1, "domain") => {
                self.run = attribute(element, "id")?.and_then(|id| id.parse().ok());
            }
            (2, name) => {
                self.section = match name {
                    "devices" => Section::Devices,
                    "metadata" => Section::Metadata,
                    "seclabel" if attribute(element, "model")?.as_deref() == Some("dac") => {
                        Section::Owner
                    }
                    _ => Section::Other,
                };
            }
            (3, "label") if self.section == Section::Owner => self.section = Section::OwnerLabel,
            (3, name @ ("serial" | "console")) if self.section == Section::Devices => {
                self.character = Some(self.character(name == "console", element)?);
            }
            (4, name) => {
                if let Some(character) = &mut self.character {
                    character.child(name, element)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn metadata(
        &mut self,
        depth: usize,
        element: &BytesStart<'_>,
        vocabulary: Vocabulary,
    ) -> Result<(), XmlError> {
        match (vocabulary, depth, element.local_name().into_inner()) {
            (Vocabulary::Ours, 3, "guest") => {
                self.image = attribute(element, "image")?;
                self.project = attribute(element, "project")?;
            }
            (Vocabulary::Nova, 4, "name") => self.section = Section::Title,
            // <nova:instance><nova:owner><nova:project uuid='…'>.
            (Vocabulary::Nova, 5, "project") => self.nova_project = attribute(element, "uuid")?,
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, depth: usize) {
        if depth == 4 && self.section == Section::Title {
            self.section = Section::Metadata;
        }
        if depth != 3 {
            return;
        }
        if self.section == Section::OwnerLabel {
            self.section = Section::Owner;
        }
        let Some(character) = self.character.take() else { return };
        let like = if character.console { &mut self.consoles } else { &mut self.serials };
        like.push(character);
    }

    fn text(&mut self, depth: usize, text: &str) {
        match (depth, &self.section) {
            // libvirt writes the label of a running guest as `+UID:+GID`.
            (3, Section::OwnerLabel) => {
                let uid = text.trim().strip_prefix('+').and_then(|label| label.split_once(':'));
                self.uid = uid.and_then(|(uid, _)| uid.parse().ok());
            }
            (4, Section::Title) => self.title.push_str(text),
            _ => {}
        }
    }

    /// A device without a number is numbered by its position.
    fn character(&self, console: bool, element: &BytesStart<'_>) -> Result<Character, XmlError> {
        let like = if console { &self.consoles } else { &self.serials };
        Ok(Character {
            console,
            kind: attribute(element, "type")?.unwrap_or_default(),
            port: u8::try_from(like.len()).unwrap_or(u8::MAX),
            target: None,
            protocol: None,
            source: Source::default(),
            alias: None,
            log: None,
        })
    }

    /// Serial ports come first, then consoles that are devices of their own. A console of type
    /// `serial` mirrors the first serial port, if there is one.
    fn facts(self) -> Facts {
        let Self { run, image, uid, mut serials, mut consoles, .. } = self;
        let project = self.nova_project.or(self.project).filter(|project| !project.is_empty());
        let title: String = self.title.trim().chars().take(NAME).collect();
        let title = Some(title).filter(|title| !title.is_empty());
        let mut facts = Facts { run, image, title, project, uid, ..Facts::default() };
        if !serials.is_empty() {
            consoles.retain(|console| !console.is_mirror());
        }
        for like in [&mut serials, &mut consoles] {
            like.sort_by_key(|character| character.port);
            like.dedup_by_key(|character| character.port);
        }
        let first = serials.last().map_or(0, |serial| serial.port.saturating_add(1));
        for (port, console) in (first..=u8::MAX).zip(&mut consoles) {
            console.port = port;
        }
        for character in serials.into_iter().chain(consoles) {
            match character.endpoint() {
                Ok(at) => facts.ports.push(character.with(at)),
                Err(why) => facts.unusable.push((character.port, why)),
            }
        }
        facts
    }
}

impl Character {
    fn child(&mut self, name: &str, element: &BytesStart<'_>) -> Result<(), XmlError> {
        match name {
            "source" => self.source = Source::read(element)?,
            "protocol" => self.protocol = attribute(element, "type")?,
            "target" => {
                let port = attribute(element, "port")?;
                self.port = port.and_then(|port| port.parse().ok()).unwrap_or(self.port);
                self.target = attribute(element, "type")?;
            }
            "alias" => self.alias = attribute(element, "name")?,
            "log" => {
                let append = attribute(element, "append")?.as_deref() == Some("on");
                let file = attribute(element, "file")?;
                self.log = file.map(|file| Log { file: file.into(), append });
            }
            _ => {}
        }
        Ok(())
    }

    fn is_mirror(&self) -> bool {
        matches!(self.target.as_deref(), None | Some("serial"))
    }

    fn with(self, at: Option<Endpoint>) -> SerialPort {
        let device = self.device();
        let Self { port, alias, log, .. } = self;
        SerialPort { port, at, device, alias, log }
    }

    /// QEMU's UARTs support a break; its sPAPR, SCLP and virtio consoles do not.
    fn device(&self) -> Device {
        match self.target.as_deref() {
            None
            | Some("serial" | "isa-serial" | "pci-serial" | "usb-serial" | "system-serial") => {
                Device::Uart
            }
            Some(_) => Device::Console,
        }
    }

    /// The port's address in QEMU, if it is known; otherwise why no line can be attached to it, and
    /// what to change.
    fn endpoint(&self) -> Result<Option<Endpoint>, Cow<'static, str>> {
        let Source { path, .. } = &self.source;
        match self.kind.as_str() {
            "pty" => Ok(path.as_ref().map(|path| Endpoint::Pty(path.into()))),
            "unix" if self.source.connects() => Err(connects("to a socket of another program")),
            "unix" => Ok(path.as_ref().map(|path| Endpoint::Unix(path.into()))),
            "tcp" => self.tcp().map(Some),
            kind => Err(format!(
                "its type is {}, which does not carry both input and output: use pty, unix or \
                 tcp with mode='bind'",
                quoted(kind)
            )
            .into()),
        }
    }

    fn tcp(&self) -> Result<Endpoint, Cow<'static, str>> {
        let Source { host, service, tls, .. } = &self.source;
        let Some(host) = host.clone() else {
            return Err("it has no address: set host in its <source>".into());
        };
        let service = service.as_deref().unwrap_or_default();
        let Some(port @ 1..) = service.parse().ok() else {
            return Err(format!(
                "its port is {}, not a number from 1 to 65535: set service in its <source> to a \
                 port number",
                quoted(service)
            )
            .into());
        };
        let tls = tls.as_deref() == Some("yes");
        match (self.protocol.as_deref(), tls) {
            (_, true) if self.source.connects() => Err(connects("over TLS")),
            (None | Some("raw" | "telnet"), false) if self.source.connects() => {
                let telnet = self.protocol.as_deref() == Some("telnet");
                Ok(Endpoint::Incoming { host, port, telnet })
            }
            (None | Some("raw"), false) => Ok(Endpoint::Tcp { host, port }),
            (None | Some("raw"), true) => Ok(Endpoint::Tls { host, port }),
            (Some("telnet"), false) => Ok(Endpoint::Telnet { host, port }),
            (Some(protocol), _) => {
                let over = if tls { " over TLS" } else { "" };
                Err(format!(
                    "its protocol is {}{over}: use <protocol type='raw'/>",
                    quoted(protocol)
                )
                .into())
            }
        }
    }
}

/// Why no line is attached to a port where QEMU connects in this way.
fn connects(how: &str) -> Cow<'static, str> {
    format!(
        "QEMU does not listen there, it connects {how} (mode='connect'): use mode='bind', or have \
         `serialproxy adopt` replace it"
    )
    .into()
}

/// A word of a domain's description for an error text.
fn quoted(word: &str) -> String {
    format!("'{}'", shown(word))
}

/// The same without quotes.
pub(super) fn shown(word: &str) -> String {
    let shown: String = word.chars().take(QUOTED).collect();
    shown.escape_debug().to_string()
}

/// An attribute's value.
pub(super) fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, XmlError> {
    let Some(attribute) = element.try_get_attribute(name)? else { return Ok(None) };
    Ok(Some(attribute.normalized_value(XmlVersion::Implicit1_0)?.into_owned()))
}

#[cfg(test)]
mod tests;
