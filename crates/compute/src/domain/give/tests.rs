use proptest::prelude::*;
use serialproxy_proto::endpoint::Endpoint;

use super::super::Facts;
use super::*;

/// The XML that libvirt 9 writes for a domain of virt-install.
const XML: &str = "<domain type='kvm'>
  <name>a &amp; b</name>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <serial type='pty'>
      <source path='/dev/pts/3'/>
      <log file='/var/log/a.log' append='on'/>
      <target type='isa-serial' port='0'>
        <model name='isa-serial'/>
      </target>
    </serial>
    <parallel type='null'><target port='0'/></parallel>
    <console type='pty'>
      <source path='/dev/pts/3'/>
      <target type='serial' port='0'/>
    </console>
    <console type='pty'>
      <target type='virtio' port='1'/>
    </console>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
  </devices>
</domain>
";

fn give(xml: &str, ports: &[u16]) -> Result<String, GiveError> {
    let given = Given { address: "::1", ports, tls: false };
    SerialDevices::find(xml).unwrap().give(xml, given)
}

fn tcp_ports(xml: &str) -> Vec<(u8, u16)> {
    let ports = Facts::read(xml).unwrap().ports.into_iter();
    let tcp = ports.filter_map(|port| match port.at {
        Some(Endpoint::Tcp { host, port: tcp }) => {
            assert_eq!(host, "::1");
            Some((port.port, tcp))
        }
        _ => None,
    });
    tcp.collect()
}

#[test]
fn the_first_serial_ports_are_replaced_and_more_are_added() {
    let xml = give(XML, &[10000, 10001, 10002]).unwrap();
    assert_eq!(tcp_ports(&xml), [(0, 10000), (1, 10001), (2, 10002)]);
    assert_eq!(Facts::read(&xml).unwrap().ports.len(), 4, "the virtio console is still there");
}

#[test]
fn what_has_nothing_to_do_with_where_a_port_is_stays() {
    let xml = give(XML, &[10000]).unwrap();
    let old = SerialDevices::find(XML).unwrap().span();
    let new = SerialDevices::find(&xml).unwrap().span();
    assert_eq!(xml[..new.start], XML[..old.start]);
    assert_eq!(xml[new.end..], XML[old.end..]);
    let serial = &xml[new];
    for kept in ["<log file='/var/log/a.log' append='on'/>", "<model name='isa-serial'/>"] {
        assert!(serial.contains(kept), "{serial}");
    }
    assert!(serial.contains("<parallel type='null'>") && serial.contains("type='virtio'"));
    assert!(!serial.contains("/dev/pts") && !serial.contains("type='serial'"), "{serial}");
}

#[test]
fn a_domain_without_serial_ports_gets_some() {
    let span = SerialDevices::find(XML).unwrap().span();
    let bare = format!("{}{}", &XML[..span.start], &XML[span.end..]);
    let devices = SerialDevices::find(&bare).unwrap();
    assert_eq!((devices.serials(), devices.span().len()), (0, 0));
    let xml = give(&bare, &[10000, 10001]).unwrap();
    assert_eq!(tcp_ports(&xml), [(0, 10000), (1, 10001)]);
    let given = SerialDevices::find(&xml).unwrap().span();
    assert_eq!(format!("{}{}", &xml[..given.start], &xml[given.end..]), bare);
}

#[test]
fn serial_ports_beyond_those_that_are_given_stay_as_they_are() {
    let two = XML.replace(
        "    <parallel",
        "<serial type='file'><source path='/f'/><target port='1'/></serial>\n    <parallel",
    );
    let xml = give(&two, &[10000]).unwrap();
    assert_eq!(tcp_ports(&xml), [(0, 10000)]);
    assert!(xml.contains("<serial type='file'><source path='/f'/><target port='1'/></serial>"));
    let refused = give(&two, &[10000, 10001]).unwrap_err().to_string();
    assert!(refused.contains("serial port 1 is of type 'file'"), "{refused}");
}

#[test]
fn only_what_nobody_relies_on_is_replaced() {
    for (kind, mode, replaced) in [
        ("pty", "", true),
        ("null", "", true),
        ("tcp", "", false),
        ("tcp", "bind", false),
        ("tcp", "connect", true),
        ("unix", "bind", false),
        ("unix", "connect", true),
        ("dev", "", false),
    ] {
        let source = format!("<source mode='{mode}' host='h' service='7'/>");
        let xml =
            format!("<domain><devices><serial type='{kind}'>{source}</serial></devices></domain>");
        let given = give(&xml, &[1]);
        assert_eq!(given.is_ok(), replaced, "{kind} {mode}");
        assert!(given.is_err() || tcp_ports(&given.unwrap()) == [(0, 1)], "{kind} {mode}");
    }
}

#[test]
fn what_is_replaced_is_named() {
    let xml = "<domain><devices>
        <serial type='tcp'><source mode='connect' host='10.0.0.9' service='8611'/>
          <target port='1'/></serial>
        <serial type='unix'><source mode='connect' path='/run/x'/><target port='2'/></serial>
        <serial type='pty'><target port='0'/></serial>
        <console type='pty'><target type='serial' port='0'/></console>
        </devices></domain>";
    let replaced = SerialDevices::find(xml).unwrap().replaced(4);
    let words: Vec<_> = replaced.iter().map(|was| was.as_deref()).collect();
    let connects = Some("tcp with mode='connect' to 10.0.0.9:8611");
    assert_eq!(words, [Some("pty"), connects, Some("unix with mode='connect'"), None]);
}

proptest! {
    #[test]
    fn any_text_is_taken(xml in ".*") {
        if let Ok(devices) = SerialDevices::find(&xml) {
            let _ = devices.give(&xml, Given { address: "a", ports: &[1, 2], tls: true });
        }
    }

    #[test]
    fn damaged_xml_is_taken(at in 0..XML.len(), insert in "[<>/'\"a& ]{0,3}") {
        let mut xml = XML.to_owned();
        xml.insert_str(at, &insert);
        if let Ok(devices) = SerialDevices::find(&xml) {
            let _ = devices.give(&xml, Given { address: "a", ports: &[1, 2], tls: true });
        }
    }
}
