//! Images: what guests are booted from.
//!
//! Each image is a directory below `[compute] images_path`, with the files and an `image.toml` that
//! names them. Error texts name the image and the option, but no path of this machine.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serialproxy_proto::compute::ComputeError;

/// 64 KiB: an `image.toml` has a dozen lines.
const MAX_TOML: u64 = 64 * 1024;

/// An image whose files existed when it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Image {
    /// Name of its directory.
    pub(crate) name: String,
    /// What the guest starts from.
    pub(crate) source: Source,
    /// Memory of a guest, MiB.
    pub(crate) memory_mib: u32,
    /// Number of virtual CPUs.
    pub(crate) vcpus: u32,
    /// Image metadata, as text.
    pub(crate) properties: BTreeMap<String, String>,
}

/// The boot source of a guest, by absolute paths. At least one of the two is present.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Source {
    /// A kernel that is started directly.
    pub(crate) kernel: Option<Kernel>,
    /// A disk; each guest writes to its own overlay.
    pub(crate) disk: Option<PathBuf>,
}

/// A kernel that is started without a boot loader.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Kernel {
    pub(crate) path: PathBuf,
    pub(crate) initrd: Option<PathBuf>,
    pub(crate) cmdline: String,
}

impl Image {
    /// Reads an image by its name.
    pub(crate) fn read(images: &Path, name: &str) -> Result<Self, ComputeError> {
        let directory = images.join(directory_name(name)?);
        let manifest = Manifest::parse(name, &manifest_text(&directory, name)?)?;
        let file = |option: &str, value: &Option<String>| match value {
            Some(value) => file_in(&directory, name, option, value).map(Some),
            None => Ok(None),
        };
        let kernel = file("kernel", &manifest.kernel)?;
        let initrd = file("initrd", &manifest.initrd)?;
        let disk = file("disk", &manifest.disk)?;
        if kernel.is_none() && disk.is_none() {
            return Err(wrong(name, "has neither `kernel` nor `disk`"));
        }
        if kernel.is_none() && (initrd.is_some() || manifest.cmdline.is_some()) {
            return Err(wrong(name, "has `initrd` or `cmdline` without `kernel`"));
        }
        let cmdline = manifest.cmdline.unwrap_or_default();
        let kernel = kernel.map(|path| Kernel { path, initrd, cmdline });
        let properties =
            manifest.properties.into_iter().map(|(key, value)| (key, value.into())).collect();
        Ok(Self {
            name: name.into(),
            source: Source { kernel, disk },
            memory_mib: manifest.memory_mib,
            vcpus: manifest.vcpus,
            properties,
        })
    }
}

/// The content of `image.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    kernel: Option<String>,
    initrd: Option<String>,
    disk: Option<String>,
    cmdline: Option<String>,
    #[serde(default = "default_memory")]
    memory_mib: u32,
    #[serde(default = "default_vcpus")]
    vcpus: u32,
    #[serde(default)]
    properties: BTreeMap<String, Property>,
}

/// A value of image metadata, which is text; numbers and booleans may be written without quotes.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Property {
    Text(String),
    Number(i64),
    Truth(bool),
}

impl Manifest {
    pub(crate) fn parse(image: &str, text: &str) -> Result<Self, ComputeError> {
        let manifest: Self = toml::from_str(text)
            .map_err(|error| wrong(image, &format!("has an invalid image.toml: {error}")))?;
        if !(16..=1024 * 1024).contains(&manifest.memory_mib) {
            return Err(wrong(image, "has a `memory_mib` that is not between 16 and 1048576"));
        }
        if !(1..=255).contains(&manifest.vcpus) {
            return Err(wrong(image, "has a `vcpus` that is not between 1 and 255"));
        }
        Ok(manifest)
    }
}

impl From<Property> for String {
    fn from(property: Property) -> Self {
        match property {
            Property::Text(text) => text,
            Property::Number(number) => number.to_string(),
            Property::Truth(truth) => truth.to_string(),
        }
    }
}

fn default_memory() -> u32 {
    512
}

fn default_vcpus() -> u32 {
    1
}

/// A name that does not lead out of the directory of images.
fn directory_name(name: &str) -> Result<&str, ComputeError> {
    if is_file_name(name) && !name.starts_with('.') && name.len() <= 255 {
        return Ok(name);
    }
    Err(ComputeError::Invalid(format!(
        "{name:?} is not an image name: use a directory's name, without `/` and without a \
         leading dot"
    )))
}

fn manifest_text(directory: &Path, name: &str) -> Result<String, ComputeError> {
    let mut text = String::new();
    let file = std::fs::File::open(directory.join("image.toml"));
    match file.and_then(|file| file.take(MAX_TOML).read_to_string(&mut text)) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(ComputeError::Invalid(format!(
                "no image {name:?}: [compute] images_path has no such directory with an image.toml"
            )))
        }
        Err(error) => Err(wrong(name, &format!("has an image.toml that cannot be read: {error}"))),
    }
}

fn file_in(
    directory: &Path,
    image: &str,
    option: &str,
    value: &str,
) -> Result<PathBuf, ComputeError> {
    if !is_file_name(value) {
        let what = format!(
            "names {value:?} as `{option}`: use the name of a file in the image, not a \
                     path"
        );
        return Err(wrong(image, &what));
    }
    // libvirt requires absolute paths, and images_path may be relative.
    let path = std::path::absolute(directory.join(value)).and_then(|path| {
        let kind = path.metadata()?.file_type();
        if kind.is_file() { Ok(path) } else { Err(std::io::ErrorKind::IsADirectory.into()) }
    });
    path.map_err(|error| wrong(image, &format!("has no file {value:?} as `{option}`: {error}")))
}

fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let first = components.next();
    let one = matches!(first, Some(Component::Normal(part)) if part == name);
    one && components.next().is_none() && !name.chars().any(char::is_control)
}

fn wrong(image: &str, what: &str) -> ComputeError {
    ComputeError::Invalid(format!("image {image:?} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(toml: &str, files: &[&str]) -> (tempfile::TempDir, Result<Image, ComputeError>) {
        let images = tempfile::tempdir().unwrap();
        let directory = images.path().join("demo");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("image.toml"), toml).unwrap();
        for file in files {
            std::fs::write(directory.join(file), "x").unwrap();
        }
        let image = Image::read(images.path(), "demo");
        (images, image)
    }

    fn refusal(toml: &str, files: &[&str]) -> String {
        let (images, image) = image(toml, files);
        let ComputeError::Invalid(text) = image.unwrap_err() else { panic!("not the caller's") };
        assert!(!text.contains(images.path().to_str().unwrap()), "a path in {text:?}");
        text
    }

    #[test]
    fn an_image_is_read_with_its_defaults_and_properties() {
        let toml = "kernel = 'k'\ninitrd = 'i'\ncmdline = 'quiet'\n[properties]\nserial_ports = 2";
        let (images, image) = image(toml, &["k", "i"]);
        let image = image.unwrap();
        let kernel = image.source.kernel.unwrap();
        assert_eq!(kernel.path, images.path().join("demo/k"));
        assert_eq!(kernel.initrd, Some(images.path().join("demo/i")));
        assert_eq!(kernel.cmdline, "quiet");
        assert_eq!((image.memory_mib, image.vcpus), (512, 1));
        assert_eq!(image.properties["serial_ports"], "2");
    }

    #[test]
    fn an_image_of_a_disk_alone_is_enough() {
        let (_images, image) = image("disk = 'd'\nmemory_mib = 128\nvcpus = 2", &["d"]);
        let image = image.unwrap();
        assert!(image.source.disk.is_some() && image.source.kernel.is_none());
        assert_eq!((image.memory_mib, image.vcpus), (128, 2));
    }

    #[test]
    fn a_name_cannot_leave_the_directory_of_images() {
        let images = tempfile::tempdir().unwrap();
        for name in ["", ".", "..", ".hidden", "/etc", "a/b", "../a", "a/", "a\0", "a\nb"] {
            let error = Image::read(images.path(), name).unwrap_err().to_string();
            assert!(error.contains("not an image name"), "{name:?}: {error}");
        }
    }

    #[test]
    fn a_file_outside_the_image_is_refused() {
        for value in ["../k", "/etc/passwd", "a/k", ".."] {
            let text = refusal(&format!("kernel = '{value}'"), &["k"]);
            assert!(text.contains("not a path"), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("", "neither `kernel` nor `disk`"),
            ("disk = 'd'\ncmdline = 'quiet'", "without `kernel`"),
            ("kernel = 'missing'", "no file \"missing\" as `kernel`"),
            ("kernel = 'd'\nmemory_mib = 1", "memory_mib"),
            ("kernel = 'd'\nvcpus = 0", "vcpus"),
            ("kernal = 'd'", "kernal"),
        ];
        for (toml, expected) in cases {
            let text = refusal(toml, &["d"]);
            assert!(text.contains(expected) && text.contains("\"demo\""), "{text}");
        }
    }

    #[test]
    fn an_unknown_image_is_said_to_be_unknown() {
        let images = tempfile::tempdir().unwrap();
        let error = Image::read(images.path(), "nope").unwrap_err();
        assert!(error.to_string().contains("no image \"nope\""), "{error}");
    }
}
