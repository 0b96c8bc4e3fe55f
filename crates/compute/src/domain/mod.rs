//! Domain XML: what we write for a guest, and what we read of any domain.

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

/// 1 MiB: libvirt's largest descriptions are some ten KiB.
pub(crate) const MAX_XML: usize = 1024 * 1024;

/// Namespace of the metadata element that marks a guest that `boot` made.
const NAMESPACE: &str = "urn:serialproxy:guest:1";

/// Namespaces of Nova's metadata element.
const NOVA: [&str; 2] =
    ["http://openstack.org/xmlns/libvirt/nova/1.1", "http://openstack.org/xmlns/libvirt/nova/1.0"];

/// XML that we cannot use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XmlError {
    /// Larger than anything that libvirt writes.
    #[error("the domain XML has {0} bytes, more than the maximum of {MAX_XML}")]
    TooLong(usize),
    /// No XML.
    #[error("the domain XML is not well-formed")]
    Malformed(#[from] quick_xml::Error),
    /// Attributes that make no sense.
    #[error("the domain XML has an invalid attribute")]
    Attribute(#[from] quick_xml::events::attributes::AttrError),
    /// Never happens in memory.
    #[error("the domain XML cannot be written")]
    Write(#[from] std::io::Error),
}

/// The XML itself, unless it is too long.
fn checked(xml: &str) -> Result<&str, XmlError> {
    if xml.len() > MAX_XML { Err(XmlError::TooLong(xml.len())) } else { Ok(xml) }
}
