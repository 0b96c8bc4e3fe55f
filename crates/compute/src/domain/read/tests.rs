use proptest::prelude::*;

use super::*;

/// A running guest's XML, as libvirt 9 fills it in: mirror, aliases, Nova's log.
const LIVE: &str = "<domain type='kvm' id='7'>
  <name>instance-00000001</name>
  <metadata>
    <nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>
      <guest image='of another'/>
      <nova:name>vm1</nova:name>
      <nova:owner>
        <nova:user uuid='5d1e'>alice</nova:user>
        <nova:project uuid='0fe7c1b2a3d44c5e8f90a1b2c3d4e5f6'>demo</nova:project>
      </nova:owner>
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

fn facts(devices: &str) -> Facts {
    Facts::read(&format!("<domain><devices>{devices}</devices></domain>")).unwrap()
}

/// Ports with a known address.
fn ports(devices: &str) -> Vec<(u8, Endpoint)> {
    let ports = facts(devices).ports.into_iter();
    ports.filter_map(|port| Some((port.port, port.at?))).collect()
}

fn tcp(host: &str, port: u16) -> Endpoint {
    Endpoint::Tcp { host: host.into(), port }
}

#[test]
fn a_running_guests_ports_are_read_and_the_mirror_is_not_counted() {
    let facts = Facts::read(LIVE).unwrap();
    let serial = |port: u8, at, log| SerialPort {
        port,
        at: Some(at),
        device: Device::Uart,
        alias: Some(format!("serial{port}")),
        log,
    };
    let file = "/var/lib/nova/instances/x/console.log".into();
    let expected = [
        serial(0, tcp("127.0.0.1", 10004), Some(Log { file, append: false })),
        serial(1, tcp("::1", 10002), None),
    ];
    assert_eq!(facts.ports, expected);
    assert_eq!((facts.image, facts.run), (None, Some(7)));
}

#[test]
fn ports_are_known_by_their_index_whatever_lies_beside_them() {
    let devices = "
        <serial type='tcp'><source mode='bind' host='h' service='7'/><target port='2'/></serial>
        <serial type='spicevmc'><source path='/dev/pts/3'/><target port='0'/></serial>
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
        <console type='tcp'><source mode='bind' host='h' service='7'/>
          <target type='sclp' port='0'/></console>
        <console type='pty' tty='/dev/pts/3'><source path='/dev/pts/3'/>
          <target type='virtio' port='1'/></console>";
    assert_eq!(ports(devices), [(0, tcp("h", 7)), (1, Endpoint::Pty("/dev/pts/3".into()))]);
    let mirror_alone = "<console type='tcp'><source mode='bind' host='h' service='7'/>
          <target type='serial' port='0'/></console>";
    assert_eq!(ports(mirror_alone), [(0, tcp("h", 7))]);
}

#[test]
fn consoles_of_their_own_follow_the_serial_ports() {
    let devices = "
        <serial type='pty'><source path='/dev/pts/3'/><target type='isa-serial' port='0'/>
          <alias name='serial0'/></serial>
        <serial type='dev'><source path='/dev/ttyS0'/><target type='pci-serial' port='1'/></serial>
        <console type='pty' tty='/dev/pts/3'><source path='/dev/pts/3'/>
          <target type='serial' port='0'/><alias name='serial0'/></console>
        <console type='unix'><source mode='bind' path='/run/c'/>
          <target type='virtio' port='1'/><alias name='console1'/></console>";
    let facts = facts(devices);
    let seen: Vec<_> =
        facts.ports.iter().map(|port| (port.port, port.device, port.alias.as_deref())).collect();
    assert_eq!(seen, [(0, Device::Uart, Some("serial0")), (2, Device::Console, Some("console1"))]);
    assert_eq!(facts.ports[0].at, Some(Endpoint::Pty("/dev/pts/3".into())));
    let [(1, why)] = &*facts.unusable else { panic!("{:?}", facts.unusable) };
    assert!(why.starts_with("its type is 'dev'"), "{why}");
}

#[test]
fn a_pseudo_terminal_that_is_yet_to_be_made_is_a_port_already() {
    let facts = facts("<serial type='pty'><target type='isa-serial' port='0'/></serial>");
    assert_eq!((facts.ports[0].port, &facts.ports[0].at), (0, &None));
}

#[test]
fn only_uarts_have_breaks() {
    for (target, device) in [
        ("isa-serial", Device::Uart),
        ("pci-serial", Device::Uart),
        ("usb-serial", Device::Uart),
        ("system-serial", Device::Uart),
        ("spapr-vio-serial", Device::Console),
        ("sclp-serial", Device::Console),
    ] {
        let serial = format!("<serial type='pty'><target type='{target}' port='0'/></serial>");
        assert_eq!(facts(&serial).ports[0].device, device, "{target}");
    }
}

#[test]
fn a_port_with_tls_is_read_as_such() {
    let devices =
        "<serial type='tcp'><source mode='bind' host='h' service='7' tls='yes'/></serial>";
    assert_eq!(ports(devices), [(0, Endpoint::Tls { host: "h".into(), port: 7 })]);
}

#[test]
fn what_a_line_does_not_speak_is_left_out() {
    for (source, why) in [
        ("<source mode='connect' host='h' service='7' tls='yes'/>", "over TLS (mode='connect')"),
        ("<source mode='connect' host='h' service='x'/>", "its port is 'x'"),
        (
            "<source mode='bind' host='h' service='7'/><protocol type='telnets'/>",
            "its protocol is 'telnets'",
        ),
        (
            "<source mode='bind' host='h' service='7' tls='yes'/><protocol type='telnet'/>",
            "its protocol is 'telnet' over TLS",
        ),
        ("<source mode='bind' host='h' service='70000'/>", "its port is '70000'"),
        ("<source mode='bind' host='h' service='cisco-sccp'/>", "its port is 'cisco-sccp'"),
        ("<source mode='bind' host='h' service='0'/>", "its port is '0'"),
        ("<source mode='bind' host='h'/>", "its port is ''"),
        ("<source mode='bind' service='7'/>", "it has no address"),
    ] {
        let facts = facts(&format!("<serial type='tcp'>{source}</serial>"));
        assert!(facts.ports.is_empty());
        let [(0, said)] = &*facts.unusable else { panic!("{source}: {:?}", facts.unusable) };
        assert!(said.contains(why), "{source}: {said}");
    }
    for kind in ["file", "null", "udp", "vc", "spicevmc", "a\u{1b}b"] {
        let facts = facts(&format!("<serial type='{kind}'/>"));
        let [(0, said)] = &*facts.unusable else { panic!("{kind}: {:?}", facts.unusable) };
        assert!(said.starts_with("its type is '") && !said.contains('\u{1b}'), "{said}");
    }
    let unix = facts("<serial type='unix'><source mode='connect' path='/s'/></serial>");
    let [(0, said)] = &*unix.unusable else { panic!("{:?}", unix.unusable) };
    assert!(said.contains("mode='connect'") && said.contains("serialproxy adopt"), "{said}");
    let telnet = "<serial type='tcp'><source mode='bind' host='h' service='7'/>
          <protocol type='telnet'/></serial>";
    assert_eq!(ports(telnet), [(0, Endpoint::Telnet { host: "h".into(), port: 7 })]);
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
fn a_port_bound_on_all_addresses_is_dialed_on_the_loopback() {
    let dialed = |host| {
        let source = format!("<source mode='bind' host='{host}' service='7'/>");
        facts(&format!("<serial type='tcp'>{source}</serial>")).ports[0].dialed().unwrap()
    };
    assert_eq!(dialed("0.0.0.0"), tcp("127.0.0.1", 7));
    assert_eq!(dialed("::"), tcp("::1", 7));
    assert_eq!(dialed("192.0.2.1"), tcp("192.0.2.1", 7));
}

#[test]
fn where_qemu_connects_to_a_line_listens() {
    let incoming = |host: &str, telnet| Endpoint::Incoming { host: host.into(), port: 7, telnet };
    for (host, protocol, telnet, at) in [
        ("127.0.0.1", "", false, "127.0.0.1"),
        ("h", "<protocol type='raw'/>", false, "h"),
        ("0.0.0.0", "<protocol type='telnet'/>", true, "127.0.0.1"),
        ("::", "", false, "::1"),
    ] {
        let source = format!("<source mode='connect' host='{host}' service='7'/>");
        let facts = facts(&format!("<serial type='tcp'>{source}{protocol}</serial>"));
        assert_eq!(facts.ports[0].at, Some(incoming(host, telnet)));
        assert_eq!(facts.ports[0].dialed(), Some(incoming(at, telnet)));
    }
}

#[test]
fn whom_the_hypervisor_runs_as_is_read_of_its_own_label() {
    let uid = |labels: &str| Facts::read(&format!("<domain>{labels}</domain>")).unwrap().uid;
    let dac = |label: &str| {
        format!(
            "<seclabel type='dynamic' model='apparmor'><label>+1:+1</label></seclabel>
             <seclabel type='dynamic' model='dac' relabel='yes'>
               <label>{label}</label><imagelabel>+7:+7</imagelabel></seclabel>"
        )
    };
    assert_eq!(uid(&dac("+64055:+64055")), Some(64055));
    assert_eq!(uid(&dac("+0:+0")), Some(0));
    assert_eq!(uid(&dac("libvirt-qemu:kvm")), None);
    assert_eq!(uid(""), None);
    assert_eq!(uid("<metadata><label>+5:+5</label></metadata>"), None);
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

#[test]
fn the_project_is_novas_and_else_that_of_boot() {
    let project = |metadata: &str| {
        let xml = format!("<domain><metadata>{metadata}</metadata><devices/></domain>");
        Facts::read(&xml).unwrap().project
    };
    let nova = |version: &str, owner: &str| {
        format!(
            "<n:instance xmlns:n='http://openstack.org/xmlns/libvirt/nova/{version}'>
             <n:owner><n:user uuid='u'>a</n:user>{owner}</n:owner></n:instance>"
        )
    };
    let ours = format!("<s:guest xmlns:s='{NAMESPACE}' image='demo' project='team-a'/>");
    let of_nova = "<n:project uuid='0fe7'>demo</n:project>";
    for version in ["1.0", "1.1"] {
        let both = ours.clone() + &nova(version, of_nova);
        assert_eq!(project(&both).as_deref(), Some("0fe7"), "{version}");
    }
    assert_eq!(Facts::read(LIVE).unwrap().project.unwrap(), "0fe7c1b2a3d44c5e8f90a1b2c3d4e5f6");
    assert_eq!(project(&ours).as_deref(), Some("team-a"));
    assert_eq!(project(&nova("9.9", of_nova)), None);
    assert_eq!(project(&nova("1.1", "<n:project uuid=''>demo</n:project>")), None);
    let outside = format!("<domain>{}</domain>", nova("1.1", of_nova));
    assert_eq!(Facts::read(&outside).unwrap().project, None);
}

#[test]
fn the_name_that_users_gave_a_server_is_novas() {
    let title = |instance: &str| {
        let xml = format!(
            "<domain><metadata><n:instance xmlns:n='{}'>{instance}</n:instance></metadata></domain>",
            NOVA[0]
        );
        Facts::read(&xml).unwrap().title
    };
    assert_eq!(Facts::read(LIVE).unwrap().title.as_deref(), Some("vm1"));
    let name = title("<n:name> a &lt;b&gt; &amp; &#99; &unknown;</n:name>");
    assert_eq!(name.as_deref(), Some("a <b> & c"));
    assert_eq!(title("<n:name>\n</n:name><n:owner><n:name>x</n:name></n:owner>"), None);
    assert_eq!(title("<name>x</name>"), None);
    let long = title(&format!("<n:name>{}</n:name>", "x".repeat(10_000)));
    assert_eq!(long.map(|name| name.len()), Some(NAME));
}
