//! The number of a guest's serial ports, from its image's metadata and its flavor's limit.

use std::collections::BTreeMap;

use serialproxy_proto::compute::ComputeError;

/// An x86 machine of QEMU has at most four ISA serial ports.
pub(crate) const MAX: u8 = 4;

/// Names of the image property: the blueprint's and Nova's.
const IMAGE: [&str; 2] = ["serial_ports", "hw_serial_port_count"];

/// Name of the flavor's extra spec.
const FLAVOR: &str = "hw:serial_port_count";

/// The number of ports, 1 to 4. Unset, empty and 0 mean "no value" for either.
pub(crate) fn count(
    image: &BTreeMap<String, String>,
    flavor: &BTreeMap<String, String>,
) -> Result<u8, ComputeError> {
    let wanted = image_count(image)?;
    let limit = flavor_count(flavor)?;
    let count = match (wanted, limit) {
        (None, None) => 1,
        (Some(wanted), Some(limit)) if wanted > limit => {
            return Err(invalid(format!(
                "Forbidden to exceed flavor value of number of serial ports passed in image meta: \
                 the image asks for {wanted}, {FLAVOR} allows {limit}."
            )));
        }
        (Some(count), _) | (None, Some(count)) => count,
    };
    match u8::try_from(count) {
        Ok(count) if count <= MAX => Ok(count),
        _ => Err(invalid(format!(
            "Maximum number of serial port exceeds {MAX} for x86: {count} were asked for."
        ))),
    }
}

fn image_count(properties: &BTreeMap<String, String>) -> Result<Option<u64>, ComputeError> {
    let [ours, novas] = IMAGE.map(|name| properties.get(name).map(|text| (name, text)));
    let ours = ours.map(image_value).transpose()?;
    let novas = novas.map(image_value).transpose()?;
    match (ours, novas) {
        (Some(ours), Some(novas)) if ours != novas => Err(invalid(format!(
            "Invalid image metadata: {} is {ours} and {} is {novas}, set one of them or the same.",
            IMAGE[0], IMAGE[1]
        ))),
        (ours, novas) => Ok(ours.or(novas).filter(|count| *count != 0)),
    }
}

fn image_value((name, text): (&str, &String)) -> Result<u64, ComputeError> {
    number(text).ok_or_else(|| {
        invalid(format!("Invalid image metadata: {name} expects a number, got '{text}'."))
    })
}

fn flavor_count(properties: &BTreeMap<String, String>) -> Result<Option<u64>, ComputeError> {
    let Some(text) = properties.get(FLAVOR) else { return Ok(None) };
    let count = number(text).ok_or_else(|| {
        invalid(format!(
            "Number of serial ports specified in flavor is invalid: \
             expected an integer, got '{text}'"
        ))
    })?;
    Ok(Some(count).filter(|count| *count != 0))
}

/// A nonnegative integer; empty text is 0.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() { Some(0) } else { text.parse().ok() }
}

fn invalid(text: String) -> ComputeError {
    ComputeError::Invalid(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn of(image: &str, flavor: &str) -> Result<u8, String> {
        let image = if image == "-" { map(&[]) } else { map(&[("serial_ports", image)]) };
        let flavor = if flavor == "-" { map(&[]) } else { map(&[(FLAVOR, flavor)]) };
        count(&image, &flavor).map_err(|error| error.to_string())
    }

    #[test]
    fn the_count_follows_novas_table() {
        let table = [
            ("-", "-", 1),
            ("0", "", 1),
            ("0", "0", 1),
            ("3", "-", 3),
            ("3", "0", 3),
            ("-", "2", 2),
            ("0", "2", 2),
            ("2", "3", 2),
            ("3", "3", 3),
            ("4", "-", 4),
        ];
        for (image, flavor, expected) in table {
            assert_eq!(of(image, flavor), Ok(expected), "image {image}, flavor {flavor}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_early_and_in_words() {
        let table = [
            ("4", "3", "Forbidden to exceed flavor value of number of serial ports"),
            ("1", "a", "specified in flavor is invalid: expected an integer, got 'a'"),
            ("1", "2.5", "expected an integer, got '2.5'"),
            ("x", "-", "Invalid image metadata"),
            ("-1", "-", "Invalid image metadata"),
            ("5", "-", "exceeds 4"),
            ("-", "9", "exceeds 4"),
            ("99999999999", "-", "exceeds 4"),
        ];
        for (image, flavor, expected) in table {
            let text = of(image, flavor).unwrap_err();
            assert!(text.contains(expected), "image {image}, flavor {flavor}: {text}");
        }
    }

    #[test]
    fn both_names_of_the_image_property_must_agree() {
        let none = map(&[]);
        let agree = map(&[("serial_ports", "2"), ("hw_serial_port_count", "2")]);
        assert_eq!(count(&agree, &none), Ok(2));
        let differ = map(&[("serial_ports", "2"), ("hw_serial_port_count", "3")]);
        assert!(count(&differ, &none).unwrap_err().to_string().contains("set one of them"));
        assert_eq!(count(&map(&[("hw_serial_port_count", "3")]), &none), Ok(3));
    }

    proptest! {
        #[test]
        fn any_text_gives_one_to_four_ports_or_an_error(image in ".*", flavor in ".*") {
            if let Ok(count) = of(&image, &flavor) {
                prop_assert!((1..=4).contains(&count));
            }
        }
    }
}
