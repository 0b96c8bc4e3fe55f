use proptest::prelude::*;

use super::*;

/// As libvirt 9 fills in a running guest: mirror, aliases, the log of Nova.
const LIVE: &str = "<domain type='kvm' id='7'>
  <name>instance-00000001</name>
  <metadata>
    <nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>
      <guest image='of another'/>
    </nova:instance>
  </metadata>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type><boot dev='hd'/></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'><source file='/d' index='1'/><target dev='vda'/></disk>
    <serial type='tcp'>
      <source mode='bind' host='127.0.0.1' service='10004' tls='no'/>
      <protocol type='raw'/>
      <log file='/var/lib/nova/instances/x/console.log' append='off'/>
      <target type='isa-serial' port='0'>
        <model name='isa-serial'/>
      </target>
      <alias name='serial0'/>
    </serial>
    <serial type='tcp'>
      <source mode='bind' host='::1' service='10002'/>
      <protocol type='raw'/>
      <target type='isa-serial' port='1'><model name='isa-serial'/></target>
      <alias name='serial1'/>
    </serial>
    <console type='tcp'>
      <source mode='bind' host='127.0.0.1' service='10004' tls='no'/>
      <protocol type='raw'/>
      <target type='serial' port='0'/>
      <alias name='serial0'/>
    </console>
    <channel type='unix'><source mode='bind' path='/c'/><target type='virtio' port='5'/></channel>
  </devices>
</domain>";

fn ports(devices: &str) -> Vec<(u8, Endpoint)> {
    let xml = format!("<domain><devices>{devices}</devices></domain>");
    let ports = Facts::read(&xml).unwrap().ports;
    ports.into_iter().map(|port| (port.port, port.at)).collect()
}

fn tcp(host: &str, port: u16) -> Endpoint {
    Endpoint::Tcp { host: host.into(), port }
}

#[test]
fn a_running_guests_ports_are_read_and_the_mirror_is_not_counted() {
    let facts = Facts::read(LIVE).unwrap();
    let expected = [
        SerialPort { port: 0, at: tcp("127.0.0.1", 10004) },
        SerialPort { port: 1, at: tcp("::1", 10002) },
    ];
    assert_eq!(facts.ports, expected);
    assert_eq!((facts.image, facts.run), (None, Some(7)));
}

#[test]
fn ports_are_known_by_their_index_whatever_lies_beside_them() {
    let devices = "
        <serial type='tcp'><source mode='bind' host='h' service='7'/><target port='2'/></serial>
        <serial type='pty'><source path='/dev/pts/3'/><target port='0'/></serial>
        <serial type='unix'><source mode='bind' path='/run/x'/><target port='1'/></serial>";
    let unix = Endpoint::Unix("/run/x".into());
    assert_eq!(ports(devices), [(1, unix), (2, tcp("h", 7))]);
}

#[test]
fn a_port_without_a_number_takes_the_place_that_it_has() {
    let devices = "<serial type='pty'/>
        <serial type='tcp'><source mode='bind' host='h' service='7'/></serial>";
    assert_eq!(ports(devices), [(1, tcp("h", 7))]);
}

#[test]
fn consoles_count_where_there_is_no_serial_port() {
    let devices = "
        <serial type='pty'><target port='0'/></serial>
        <console type='tcp'><source mode='bind' host='h' service='7'/>
          <target type='sclp' port='0'/></console>";
    assert_eq!(ports(devices), [(0, tcp("h", 7))]);
}

#[test]
fn what_a_line_does_not_speak_is_left_out() {
    for source in [
        "<source mode='connect' host='h' service='7'/>",
        "<source mode='bind' host='h' service='7' tls='yes'/>",
        "<source mode='bind' host='h' service='7'/><protocol type='telnet'/>",
        "<source mode='bind' host='h' service='70000'/>",
        "<source mode='bind' host='h' service='0'/>",
        "<source mode='bind' service='7'/>",
    ] {
        assert_eq!(ports(&format!("<serial type='tcp'>{source}</serial>")), [], "{source}");
    }
}

#[test]
fn the_mark_counts_only_in_its_namespace_and_place() {
    let mark = format!("<x:guest xmlns:x='{NAMESPACE}' image='a &amp;&#32;b'/>");
    let image = |xml: String| Facts::read(&xml).unwrap().image;
    let marked = format!("<domain><metadata>{mark}</metadata></domain>");
    assert_eq!(image(marked).as_deref(), Some("a & b"));
    assert_eq!(image(format!("<domain><devices>{mark}</devices></domain>")), None);
    assert_eq!(image("<domain><metadata><guest image='a'/></metadata></domain>".into()), None);
}

#[test]
fn a_port_bound_on_all_addresses_is_dialled_on_the_loopback() {
    let dialled = |host| SerialPort { port: 0, at: tcp(host, 7) }.dialled();
    assert_eq!(dialled("0.0.0.0"), tcp("127.0.0.1", 7));
    assert_eq!(dialled("::"), tcp("::1", 7));
    assert_eq!(dialled("192.0.2.1"), tcp("192.0.2.1", 7));
}

#[test]
fn too_much_xml_is_refused() {
    let xml = " ".repeat(super::super::MAX_XML + 1);
    assert!(matches!(Facts::read(&xml), Err(XmlError::TooLong(_))));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(xml in ".*") {
        let _ = Facts::read(&xml);
    }

    #[test]
    fn damaged_xml_never_panics(at in 0..LIVE.len(), insert in "[<>/'\"a& ]{0,3}") {
        let mut xml = LIVE.to_owned();
        xml.insert_str(at, &insert);
        let _ = Facts::read(&xml);
        xml.truncate(at);
        let _ = Facts::read(&xml);
    }
}
