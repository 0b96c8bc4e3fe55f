//! The XML of a guest that `boot` makes.

use std::fmt::Write;
use std::path::Path;
use std::path::PathBuf;

use quick_xml::escape::escape;
use serialproxy_proto::id::ServerId;

use super::NAMESPACE;
use crate::image::Image;

/// The properties of a guest that its XML contains.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    pub(crate) id: ServerId,
    pub(crate) name: &'a str,
    /// Id of its project.
    pub(crate) project: &'a str,
    pub(crate) image: &'a Image,
    pub(crate) kvm: bool,
    /// The guest's own overlay, when the image has a disk.
    pub(crate) disk: Option<PathBuf>,
    pub(crate) serials: Serials<'a>,
}

/// The serial ports of a guest.
#[derive(Debug)]
pub(crate) enum Serials<'a> {
    /// TCP ports that QEMU listens on, by index of the serial port.
    Tcp { address: &'a str, ports: &'a [u16], tls: bool },
    /// Unix sockets that QEMU listens on, by index of the serial port.
    Unix(&'a [PathBuf]),
    /// This many pseudo-terminals, for `virsh console`: consoles are disabled.
    Pty(u8),
}

impl Machine<'_> {
    /// The XML for `virDomainDefineXML`.
    pub(crate) fn xml(&self) -> String {
        let mut xml = String::with_capacity(2048);
        // Writing to a string cannot fail.
        let _ = self.write(&mut xml);
        xml
    }

    fn write(&self, xml: &mut String) -> std::fmt::Result {
        writeln!(xml, "<domain type='{}'>", if self.kvm { "kvm" } else { "qemu" })?;
        writeln!(xml, "<name>{}</name>", escape(self.name))?;
        writeln!(xml, "<uuid>{}</uuid>", self.id)?;
        writeln!(
            xml,
            "<metadata><serialproxy:guest xmlns:serialproxy='{NAMESPACE}' image='{}' \
             project='{}'/></metadata>",
            escape(self.image.name.as_str()),
            escape(self.project)
        )?;
        writeln!(xml, "<memory unit='MiB'>{}</memory>", self.image.memory_mib)?;
        writeln!(xml, "<vcpu>{}</vcpu>", self.image.vcpus)?;
        self.write_os(xml)?;
        // Today's distributions are compiled for more than QEMU's default CPU.
        let cpu = if self.kvm { "host-passthrough" } else { "maximum" };
        writeln!(xml, "<features><acpi/><apic/></features>\n<cpu mode='{cpu}'/>")?;
        writeln!(xml, "<clock offset='utc'/>")?;
        writeln!(xml, "<on_poweroff>destroy</on_poweroff>\n<on_reboot>restart</on_reboot>")?;
        writeln!(xml, "<on_crash>destroy</on_crash>\n<devices>")?;
        if let Some(disk) = &self.disk {
            writeln!(xml, "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>")?;
            writeln!(xml, "<source file='{}'/>", path(disk))?;
            writeln!(xml, "<target dev='vda' bus='virtio'/></disk>")?;
        }
        self.serials.write(xml)?;
        writeln!(xml, "</devices>\n</domain>")
    }

    fn write_os(&self, xml: &mut String) -> std::fmt::Result {
        writeln!(xml, "<os><type arch='x86_64'>hvm</type>")?;
        if let Some(kernel) = &self.image.source.kernel {
            writeln!(xml, "<kernel>{}</kernel>", path(&kernel.path))?;
            if let Some(initrd) = &kernel.initrd {
                writeln!(xml, "<initrd>{}</initrd>", path(initrd))?;
            }
            writeln!(xml, "<cmdline>{}</cmdline>", escape(kernel.cmdline.as_str()))?;
        } else {
            writeln!(xml, "<boot dev='hd'/>")?;
        }
        writeln!(xml, "</os>")
    }
}

impl Serials<'_> {
    fn write(&self, xml: &mut String) -> std::fmt::Result {
        match self {
            Self::Tcp { address, ports, tls } => {
                ports.iter().enumerate().try_for_each(|(index, port)| {
                    writeln!(xml, "{}", tcp(index, address, *port, *tls))
                })
            }
            Self::Unix(sockets) => sockets.iter().enumerate().try_for_each(|(index, socket)| {
                let socket = path(socket);
                writeln!(
                    xml,
                    "<serial type='unix'><source mode='bind' path='{socket}'/>\
                     <target port='{index}'/></serial>"
                )
            }),
            Self::Pty(count) => (0..*count).try_for_each(|_| writeln!(xml, "<serial type='pty'/>")),
        }
    }
}

/// A serial port for which QEMU listens on TCP.
pub(super) fn tcp(index: usize, address: &str, port: u16, tls: bool) -> String {
    let source = tcp_source(address, port, tls);
    format!("<serial type='tcp'>{source}<target port='{index}'/></serial>")
}

/// The address at which QEMU listens for a serial port of type `tcp`.
pub(super) fn tcp_source(address: &str, port: u16, tls: bool) -> String {
    // Without the attribute, /etc/libvirt/qemu.conf decides.
    let tls = if tls { " tls='yes'" } else { "" };
    let address = escape(address);
    format!("<source mode='bind' host='{address}' service='{port}'{tls}/><protocol type='raw'/>")
}

/// libvirt accepts only text. A path that is not UTF-8 becomes one that fails to open.
fn path(path: &Path) -> String {
    escape(path.to_string_lossy()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serialproxy_proto::endpoint::Endpoint;

    use super::super::Facts;
    use super::*;
    use crate::image::Kernel;
    use crate::image::Source;

    fn image(name: &str, cmdline: &str) -> Image {
        let kernel = Kernel {
            path: PathBuf::from("/images/a & b/kernel"),
            initrd: Some(PathBuf::from("/images/initrd")),
            cmdline: cmdline.into(),
        };
        Image {
            name: name.into(),
            source: Source { kernel: Some(kernel), disk: None },
            memory_mib: 128,
            vcpus: 2,
            properties: BTreeMap::new(),
        }
    }

    fn machine<'a>(image: &'a Image, name: &'a str, ports: &'a [u16]) -> Machine<'a> {
        Machine {
            id: ServerId::of_static("guest"),
            name,
            project: "team-a",
            image,
            kvm: false,
            disk: None,
            serials: Serials::Tcp { address: "127.0.0.1", ports, tls: false },
        }
    }

    fn endpoints(facts: &Facts) -> Vec<(u8, Option<Endpoint>)> {
        facts.ports.iter().map(|port| (port.port, port.at.clone())).collect()
    }

    #[test]
    fn the_ports_and_the_mark_that_are_written_are_read_back() {
        let image = image("demo", "console=ttyS0");
        let facts = Facts::read(&machine(&image, "web", &[10000, 10003]).xml()).unwrap();
        assert_eq!(facts.image.as_deref(), Some("demo"));
        assert_eq!(facts.project.as_deref(), Some("team-a"));
        let tcp = |port| Endpoint::Tcp { host: "127.0.0.1".into(), port };
        assert_eq!(endpoints(&facts), [(0, Some(tcp(10000))), (1, Some(tcp(10003)))]);
    }

    #[test]
    fn a_port_with_tls_and_a_socket_are_read_back_as_such() {
        let image = image("demo", "");
        let serials = Serials::Tcp { address: "::1", ports: &[10000], tls: true };
        let facts = Facts::read(&Machine { serials, ..machine(&image, "web", &[]) }.xml()).unwrap();
        let tls = Endpoint::Tls { host: "::1".into(), port: 10000 };
        assert_eq!(endpoints(&facts), [(0, Some(tls))]);
        let sockets = ["/state/a & b", "/state/c"].map(PathBuf::from);
        let machine = Machine { serials: Serials::Unix(&sockets), ..machine(&image, "web", &[]) };
        let facts = Facts::read(&machine.xml()).unwrap();
        let [first, second] = sockets.map(|socket| Some(Endpoint::Unix(socket)));
        assert_eq!(endpoints(&facts), [(0, first), (1, second)]);
    }

    #[test]
    fn a_guest_without_consoles_has_pseudo_terminals() {
        let image = image("demo", "");
        let machine = Machine { serials: Serials::Pty(2), ..machine(&image, "web", &[]) };
        assert_eq!(machine.xml().matches("<serial type='pty'/>").count(), 2);
        assert_eq!(endpoints(&Facts::read(&machine.xml()).unwrap()), [(0, None), (1, None)]);
    }

    #[test]
    fn a_disk_is_the_guests_overlay() {
        let mut image = image("demo", "");
        image.source.kernel = None;
        let disk = Some(PathBuf::from("/state/guests/1/disk.qcow2"));
        let xml = Machine { disk, kvm: true, ..machine(&image, "web", &[10000]) }.xml();
        assert!(xml.contains("<source file='/state/guests/1/disk.qcow2'/>"), "{xml}");
        assert!(xml.contains("<boot dev='hd'/>") && !xml.contains("<kernel>"), "{xml}");
        assert!(xml.contains("type='kvm'") && xml.contains("host-passthrough"), "{xml}");
    }

    proptest! {
        #[test]
        fn whatever_the_names_are_the_xml_is_well_formed(
            name in "[^\\p{Cc}]{1,20}", image_name in "[^\\p{Cc}]{1,20}", cmdline in "[^\\p{Cc}]*"
        ) {
            let image = image(&image_name, &cmdline);
            let facts = Facts::read(&machine(&image, &name, &[10000]).xml()).unwrap();
            prop_assert_eq!(facts.image, Some(image_name));
            prop_assert_eq!(facts.ports.len(), 1);
        }
    }
}
