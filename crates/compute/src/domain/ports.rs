//! Gives other TCP ports to a defined domain. The rest of its XML stays as it is.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::Writer;
use quick_xml::events::BytesStart;
use quick_xml::events::Event;

use super::XmlError;
use super::checked;
use super::read::attribute;

/// Replaces the ports of a domain's serial devices by `new[old]`.
pub(crate) fn replace_ports(xml: &str, new: &BTreeMap<u16, u16>) -> Result<String, XmlError> {
    let mut reader = Reader::from_str(checked(xml)?);
    let mut writer = Writer::new(Vec::with_capacity(xml.len()));
    let mut path = Vec::<String>::new();
    loop {
        let event = reader.read_event()?;
        match &event {
            Event::Eof => break,
            Event::Start(element) if is_source(&path, element) => {
                writer.write_event(Event::Start(replace(element, new)?))?;
            }
            Event::Empty(element) if is_source(&path, element) => {
                writer.write_event(Event::Empty(replace(element, new)?))?;
            }
            _ => writer.write_event(event.borrow())?,
        }
        match &event {
            Event::Start(element) => path.push(element.name().as_ref().to_owned()),
            Event::End(_) => drop(path.pop()),
            _ => {}
        }
    }
    Ok(String::from_utf8_lossy(&writer.into_inner()).into_owned())
}

fn is_source(path: &[String], element: &BytesStart<'_>) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    element.name().as_ref() == "source"
        && matches!(path[..], ["domain", "devices", "serial" | "console"])
}

fn replace<'a>(
    element: &'a BytesStart<'_>,
    new: &BTreeMap<u16, u16>,
) -> Result<BytesStart<'a>, XmlError> {
    let old = attribute(element, "service")?.and_then(|port| port.parse().ok());
    let new = old.and_then(|old: u16| new.get(&old));
    let bound = attribute(element, "mode")?.as_deref() == Some("bind");
    let Some(port) = new.filter(|_| bound) else { return Ok(element.borrow()) };
    let mut replaced = BytesStart::new("source");
    for attribute in element.attributes() {
        let attribute = attribute?;
        if attribute.key.as_ref() == "service" {
            replaced.push_attribute(("service", port.to_string().as_str()));
        } else {
            replaced.push_attribute(attribute);
        }
    }
    Ok(replaced)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use serialproxy_proto::endpoint::Endpoint;

    use super::super::Facts;
    use super::*;

    const XML: &str = "<domain type='kvm' xmlns:q='urn:q'>
  <name>a &amp; b</name>
  <!-- kept -->
  <devices>
    <serial type='tcp'>
      <source mode='bind' host='127.0.0.1' service='10000' tls='no'/>
      <target type='isa-serial' port='0'><model name='isa-serial'/></target>
    </serial>
    <serial type='tcp'><source mode='bind' host='127.0.0.1' service='10001'></source></serial>
    <console type='tcp'><source mode='bind' host='127.0.0.1' service='10000'/></console>
    <serial type='tcp'><source mode='connect' host='h' service='10000'/></serial>
    <channel type='tcp'><source mode='bind' host='127.0.0.1' service='10000'/></channel>
  </devices>
</domain>";

    #[test]
    fn only_the_bound_ports_of_serial_devices_are_replaced() {
        let xml = replace_ports(XML, &BTreeMap::from([(10000, 10007), (10001, 10000)])).unwrap();
        let with = |port| format!("<source mode=\"bind\" host=\"127.0.0.1\" service=\"{port}\"");
        assert_eq!(xml.matches(&with(10007)).count(), 2, "the port and its mirror: {xml}");
        assert_eq!(xml.matches(&with(10000)).count(), 1, "{xml}");
        assert!(xml.contains("<source mode='connect' host='h' service='10000'/>"), "{xml}");
        assert!(xml.contains("<channel type='tcp'><source mode='bind'"), "{xml}");
    }

    #[test]
    fn all_else_stays_as_it_is() {
        let untouched = replace_ports(XML, &BTreeMap::from([(10009, 10000)])).unwrap();
        assert_eq!(untouched, XML);
    }

    #[test]
    fn the_replaced_port_is_read_back() {
        let xml = replace_ports(XML, &BTreeMap::from([(10000, 10007)])).unwrap();
        let host = "127.0.0.1".into();
        let at = Endpoint::Tcp { host, port: 10007 };
        assert_eq!(Facts::read(&xml).unwrap().ports[0].at, Some(at));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(xml in ".*") {
            let _ = replace_ports(&xml, &BTreeMap::from([(1, 2)]));
        }
    }
}
