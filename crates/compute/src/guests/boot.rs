//! Creating guests, and deleting those that were created.

use serialproxy_config::values::Transport;
use serialproxy_proto::api;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use uuid::Uuid;

use super::Guests;
use super::changes::Task;
use super::disk;
use super::launch::Attach;
use crate::domain::Machine;
use crate::domain::Serials;
use crate::hypervisor::Action;
use crate::hypervisor::HypervisorError;
use crate::image::Image;
use crate::serial_ports;

/// 200 bytes: libvirt derives file names from it, which may have 255.
const MAX_NAME: usize = 200;

/// Characters of a refused name that an error text repeats.
const SHOWN: usize = 100;

/// A guest to create.
struct New<'a> {
    name: &'a str,
    project: &'a str,
    image: &'a Image,
    /// Number of serial ports.
    count: u8,
    kvm: bool,
}

impl Guests {
    /// Defines and starts a guest; its lines are attached before it runs. A failure leaves nothing
    /// behind.
    pub(crate) async fn boot(
        &self,
        boot: api::Boot,
        project: &str,
    ) -> Result<api::Server, ComputeError> {
        let name = valid_name(&boot.name)?;
        let _place = self.changes.place(project)?;
        let image = self.image(boot.image).await?;
        let mut properties = image.properties.clone();
        properties.extend(boot.properties);
        let count = serial_ports::count(&properties, &boot.flavor_properties)?;
        self.settle().await;
        let id = ServerId(Uuid::new_v4());
        self.refuse_taken(id, name).await?;
        // The first time, this takes seconds, in which no lease must be held up.
        let kvm = self.kvm().await;

        let _turn = self.turn(id).await;
        let _leasing = self.leasing.read().await;
        let made = async {
            self.make(id, New { name, project, image: &image, count, kvm }).await?;
            self.launch(id, Attach::OrFail).await
        };
        match made.await {
            Ok(guest) => {
                tracing::info!(server = %id, name, project, image = image.name, "booted");
                Ok(self.present(id, guest))
            }
            Err(error) => {
                self.undo(id).await;
                Err(error)
            }
        }
    }

    /// Deletes a guest that `boot` created, and everything that belongs to it.
    pub(crate) async fn delete(&self, id: ServerId) -> Result<(), ComputeError> {
        self.settle().await;
        let project = self.seen(id).await?.project;
        let _change = self.changes.begin(id, &project, Task::DELETE).await?;
        let _turn = self.turn(id).await;
        let guest = self.seen(id).await?;
        if !guest.ours {
            return Err(ComputeError::Conflict(format!(
                "Cannot 'delete' instance {id}: it was not made by `boot`. Remove it with the \
                 tool that made it, for example `virsh undefine`."
            )));
        }
        self.remove(id).await.map_err(|error| error.while_doing(id, "delete"))?;
        tracing::info!(server = %id, name = guest.name, "deleted");
        Ok(())
    }

    async fn image(&self, name: String) -> Result<Image, ComputeError> {
        let images = self.settings.images.clone();
        let read = tokio::task::spawn_blocking(move || Image::read(&images, &name)).await;
        read.unwrap_or_else(|error| Err(ComputeError::Failed(error.to_string())))
    }

    async fn refuse_taken(&self, id: ServerId, name: &str) -> Result<(), ComputeError> {
        match self.hypervisor.find(name).await.map_err(|error| error.while_doing(id, "boot"))? {
            Some(_) => Err(name_is_taken(name)),
            None => Ok(()),
        }
    }

    /// Leases the ports, makes the disk and defines the domain.
    async fn make(&self, id: ServerId, new: New<'_>) -> Result<(), ComputeError> {
        let New { name, project, image, count, kvm } = new;
        let lines: Vec<_> = (0..count).map(|port| LineKey { server: id, port }).collect();
        let (mut ports, mut sockets) = (Vec::new(), Vec::new());
        match self.settings.transport {
            _ if !self.settings.enabled => {}
            Transport::Tcp => {
                ports = self.with_ports(move |ports, now| ports.acquire(&lines, now)).await?;
            }
            Transport::Unix => sockets = disk::sockets(&self.settings.state, id, count)?,
        }
        let disk = match &image.source.disk {
            Some(base) => Some(disk::make(&self.settings.state, id, base).await?),
            None => None,
        };
        let serials = match self.settings.transport {
            _ if !self.settings.enabled => Serials::Pty(count),
            Transport::Tcp => Serials::Tcp {
                address: self.ports.address(),
                ports: &ports,
                tls: self.settings.tls_required,
            },
            Transport::Unix => Serials::Unix(&sockets),
        };
        let xml = Machine { id, name, project, image, kvm, disk, serials }.xml();
        match self.hypervisor.define(xml).await {
            Ok(()) => {
                disk::keep(&self.settings.state, id).await;
                Ok(())
            }
            Err(error) => {
                // Another client may just have taken the name.
                self.refuse_taken(id, name).await?;
                Err(error.while_doing(id, "define"))
            }
        }
    }

    /// Undoes what a failed boot did.
    async fn undo(&self, id: ServerId) {
        if let Err(error) = self.remove(id).await {
            tracing::error!(
                server = %id,
                %error,
                "the remains of a failed boot cannot be removed: delete the server"
            );
        }
    }

    /// Removes a domain, its leases, its disk and its lines, as far as they exist.
    async fn remove(&self, id: ServerId) -> Result<(), HypervisorError> {
        if self.refresh(id).await?.is_some_and(|guest| guest.run.is_some()) {
            gone(self.act_unless_stopped(id, Action::Destroy).await)?;
        }
        disk::give_up(&self.settings.state, id).await;
        gone(self.hypervisor.act(id, Action::Undefine).await)?;
        self.refresh(id).await?;
        let released = self.with_ports(move |ports, now| ports.release_server(id, now)).await;
        if let Err(error) = released {
            tracing::error!(server = %id, %error, "the ports of a server are still leased");
        }
        disk::remove(&self.settings.state, id).await;
        Ok(())
    }
}

fn gone(done: Result<(), HypervisorError>) -> Result<(), HypervisorError> {
    match done {
        Err(HypervisorError::NoDomain) => Ok(()),
        done => done,
    }
}

/// Names no owner, since the other guest may belong to another project.
pub(crate) fn name_is_taken(name: &str) -> ComputeError {
    ComputeError::Conflict(format!("the name {name:?} cannot be used: choose another name"))
}

/// A name that neither a shell, a terminal nor a file system can misread.
pub(crate) fn valid_name(name: &str) -> Result<&str, ComputeError> {
    let is_taken = |c: char| c.is_alphanumeric() || " ._-".contains(c);
    let why = if name.is_empty() || name.trim() != name {
        "it is empty, or begins or ends with a space"
    } else if name.len() > MAX_NAME {
        "it has more than 200 bytes"
    } else if !name.chars().all(is_taken) {
        "it may only contain letters, digits, spaces, `.`, `_` and `-`"
    } else if name.starts_with(['.', '-']) {
        "it begins with `.` or `-`"
    } else {
        return Ok(name);
    };
    let shown: String = name.chars().take(SHOWN).collect();
    Err(ComputeError::Invalid(format!("{shown:?} cannot be the name of a server: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_shell_or_terminal_would_read_otherwise_is_refused() {
        let bidi = ["a\u{202e}b", "a\u{2066}b", "a\u{200b}b"];
        let shell =
            ["a;b", "$(id)", "`id`", "a|b", "a&b", "a'b", "a\"b", "a\\b", "a<b", "a*b", "~a"];
        for name in bidi.iter().chain(&shell) {
            let refused = valid_name(name).unwrap_err().to_string();
            assert!(refused.contains("letters, digits, spaces"), "{refused}");
        }
    }

    #[test]
    fn a_refusal_repeats_a_part_of_the_name_alone() {
        let refused = valid_name(&"x".repeat(100_000)).unwrap_err().to_string();
        assert!(refused.len() < 200, "{}", refused.len());
    }

    #[test]
    fn a_name_that_libvirt_cannot_have_is_refused() {
        for name in ["", " a", "a ", "a/b", "a\nb", "..", ".a", "-a", &"a".repeat(201)] {
            assert!(valid_name(name).is_err(), "{name:?}");
        }
        for name in ["a", "web 1", "größer", "a.b", "сервер-1", "サーバー_2", &"a".repeat(200)]
        {
            assert_eq!(valid_name(name), Ok(name));
        }
    }
}
