//! Domain XML: writing it for our guests, and reading it for all domains.

mod give;
mod ports;
mod read;
mod write;

pub(crate) use self::give::GiveError;
pub(crate) use self::give::Given;
pub(crate) use self::give::SerialDevices;
pub(crate) use self::ports::replace_ports;
pub(crate) use self::read::Device;
pub(crate) use self::read::Facts;
pub(crate) use self::read::Log;
pub(crate) use self::read::SerialPort;
pub(crate) use self::write::Machine;
pub(crate) use self::write::Serials;

/// 1 MiB: libvirt's largest descriptions have some ten KiB.
pub(crate) const MAX_XML: usize = 1024 * 1024;

/// Namespace of the metadata element that marks a guest that `boot` made.
const NAMESPACE: &str = "urn:serialproxy:guest:1";

/// Namespaces of Nova's metadata element.
const NOVA: [&str; 2] =
    ["http://openstack.org/xmlns/libvirt/nova/1.1", "http://openstack.org/xmlns/libvirt/nova/1.0"];

/// An error in domain XML.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XmlError {
    /// It is larger than any XML of libvirt.
    #[error("the domain XML has {0} bytes, more than the maximum of {MAX_XML}")]
    TooLong(usize),
    /// It is not well-formed.
    #[error("the domain XML is not well-formed")]
    Malformed(#[from] quick_xml::Error),
    /// An attribute has an invalid value.
    #[error("the domain XML has an invalid attribute")]
    Attribute(#[from] quick_xml::events::attributes::AttrError),
    /// Cannot happen in memory.
    #[error("the domain XML cannot be written")]
    Write(#[from] std::io::Error),
}

/// The XML, unless it is too long.
fn checked(xml: &str) -> Result<&str, XmlError> {
    if xml.len() > MAX_XML { Err(XmlError::TooLong(xml.len())) } else { Ok(xml) }
}
