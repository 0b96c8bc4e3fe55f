//! `[console] ssl_ciphers`: OpenSSL's cipher strings, as far as they select among the supported
//! ciphers of TLS 1.2. Grammar and keywords: ciphers(1) of OpenSSL 3.

/// A supported cipher, and the keywords of its groups.
struct Spoken {
    /// OpenSSL's name.
    name: &'static str,
    /// IANA's number.
    number: u16,
    /// Bits of its key.
    strength: u16,
    groups: &'static [&'static str],
}

/// Keywords of groups that contain all supported ciphers.
const COMMON: &[&str] =
    &["ALL", "DEFAULT", "HIGH", "TLSv1.2", "ECDH", "ECDHE", "EECDH", "kECDHE", "kEECDH"];

/// The best first.
static SPOKEN: [Spoken; 6] = [
    Spoken {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        number: 0xC02C,
        strength: 256,
        groups: &["ECDSA", "aECDSA", "AES", "AESGCM", "AES256"],
    },
    Spoken {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        number: 0xC02B,
        strength: 128,
        groups: &["ECDSA", "aECDSA", "AES", "AESGCM", "AES128"],
    },
    Spoken {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        number: 0xCCA9,
        strength: 256,
        groups: &["ECDSA", "aECDSA", "CHACHA20"],
    },
    Spoken {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        number: 0xC030,
        strength: 256,
        groups: &["aRSA", "AES", "AESGCM", "AES256"],
    },
    Spoken {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        number: 0xC02F,
        strength: 128,
        groups: &["aRSA", "AES", "AESGCM", "AES128"],
    },
    Spoken {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        number: 0xCCA8,
        strength: 256,
        groups: &["aRSA", "CHACHA20"],
    },
];

/// Keywords of groups without a supported cipher: to allow or to forbid them has no effect.
const UNSPOKEN: &str = "\
    COMPLEMENTOFALL COMPLEMENTOFDEFAULT MEDIUM LOW EXP EXPORT aNULL eNULL NULL kRSA RSA kDHE \
    kEDH DHE EDH DH ADH AECDH aDSS DSS PSK kPSK kECDHEPSK kDHEPSK kRSAPSK aPSK SRP kSRP aSRP \
    kGOST aGOST GOST94 GOST89MAC TLSv1 TLSv1.0 SSLv3 SSLv2 AESCCM AESCCM8 ARIA ARIAGCM \
    ARIA128 ARIA256 CAMELLIA CAMELLIA128 CAMELLIA256 3DES DES RC2 RC4 IDEA SEED MD5 SHA SHA1 \
    SHA256 SHA384";

/// The parts of the names of OpenSSL's ciphers.
const PARTS: &str = "\
    ECDHE DHE EDH DH ECDH ADH AECDH RSA ECDSA DSS PSK SRP NULL AES128 AES256 AES 128 256 GCM \
    CCM CCM8 CBC CBC3 CHACHA20 POLY1305 ARIA128 ARIA256 CAMELLIA128 CAMELLIA256 3DES DES EDE \
    RC4 RC2 IDEA SEED MD5 SHA SHA256 SHA384";

/// IANA's numbers of the selected ciphers, the best first.
pub(crate) fn ciphers(text: &str) -> Result<Vec<u16>, String> {
    let mut left: Vec<&Spoken> = Vec::new();
    let mut never: Vec<&Spoken> = Vec::new();
    let is_in = |list: &[&Spoken], one: &Spoken| list.iter().any(|other| other.name == one.name);
    for word in text.split([':', ',', ' ', ';', '\n']).filter(|word| !word.is_empty()) {
        if let Some(command) = word.strip_prefix('@') {
            obey(command, &mut left)?;
            continue;
        }
        let (sign, term) = match word.split_at_checked(1) {
            Some((sign @ ("!" | "-" | "+"), term)) => (sign, term),
            _ => ("", word),
        };
        let chosen = chosen(term)?;
        match sign {
            "" => {
                let fresh =
                    chosen.into_iter().filter(|one| !is_in(&left, one) && !is_in(&never, one));
                let fresh: Vec<_> = fresh.collect();
                left.extend(fresh);
            }
            "+" => left.sort_by_key(|one| is_in(&chosen, one)),
            _ => {
                left.retain(|one| !is_in(&chosen, one));
                if sign == "!" {
                    never.extend(chosen);
                }
            }
        }
    }
    match left.is_empty() {
        false => Ok(left.into_iter().map(|cipher| cipher.number).collect()),
        true => {
            let names = SPOKEN.iter().map(|cipher| cipher.name).collect::<Vec<_>>().join(", ");
            Err(format!("selects none of the supported TLS 1.2 ciphers: {names}"))
        }
    }
}

/// The ciphers in all groups of a term, whose keywords `+` joins.
fn chosen(term: &str) -> Result<Vec<&'static Spoken>, String> {
    let mut chosen: Vec<_> = SPOKEN.iter().collect();
    for word in term.split('+') {
        let means =
            |one: &Spoken| one.name == word || COMMON.contains(&word) || one.groups.contains(&word);
        if !SPOKEN.iter().any(means) && !is_unspoken(word) {
            return Err(format!("contains {word}, {}", what_else(word)));
        }
        chosen.retain(|one| means(one));
    }
    Ok(chosen)
}

fn is_unspoken(word: &str) -> bool {
    let is_in = |words: &str, word: &str| words.split_whitespace().any(|other| other == word);
    let is_name = word.contains('-') && word.split('-').all(|part| is_in(PARTS, part));
    is_name || is_in(UNSPOKEN, word)
}

fn what_else(word: &str) -> &'static str {
    match word.starts_with("TLS_") {
        true => {
            "which looks like a TLS 1.3 cipher: those are always enabled and cannot be \
                 selected"
        }
        false => "which OpenSSL knows neither as a cipher nor as a group of ciphers",
    }
}

fn obey(command: &str, left: &mut [&Spoken]) -> Result<(), String> {
    match command {
        "STRENGTH" => left.sort_by_key(|one| u16::MAX - one.strength),
        // All supported ciphers are of level 3, and its rules for certificates always apply.
        "SECLEVEL=0" | "SECLEVEL=1" | "SECLEVEL=2" | "SECLEVEL=3" => {}
        _ => {
            return Err(format!(
                "contains @{command}, which is not one of @STRENGTH and @SECLEVEL=0 to 3"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> Vec<&'static str> {
        let numbers = ciphers(text).unwrap();
        let name = |number| SPOKEN.iter().find(|one| one.number == number).unwrap().name;
        numbers.into_iter().map(name).collect()
    }

    #[test]
    fn names_count_in_their_order() {
        let text = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305";
        assert_eq!(names(text), text.split(':').collect::<Vec<_>>());
    }

    #[test]
    fn strings_that_are_in_use_leave_what_is_spoken_of_them() {
        for text in [
            "HIGH:!aNULL:!MD5",
            "DEFAULT",
            "ALL:!COMPLEMENTOFDEFAULT:!eNULL",
            "HIGH:!aNULL:!kRSA:!PSK:!SRP:!MD5:!RC4:@SECLEVEL=2",
            "ECDH+AESGCM:ECDH+CHACHA20:DH+AESGCM:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM",
            "EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH:CHACHA20",
        ] {
            assert_eq!(names(text).len(), 6, "{text}");
        }
        // Mozilla's intermediate list.
        let text = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
                    DHE-RSA-AES128-GCM-SHA256:DHE-RSA-CHACHA20-POLY1305";
        assert_eq!(names(text), ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"]);
    }

    #[test]
    fn signs_take_away_for_now_for_ever_or_to_the_end() {
        assert_eq!(names("aRSA:!AES:ALL:!aECDSA"), ["ECDHE-RSA-CHACHA20-POLY1305"]);
        assert_eq!(
            names("aRSA:-AES256:AES256+aRSA"),
            [
                "ECDHE-RSA-AES128-GCM-SHA256",
                "ECDHE-RSA-CHACHA20-POLY1305",
                "ECDHE-RSA-AES256-GCM-SHA384"
            ]
        );
        assert_eq!(names("aRSA:+AES256").last(), Some(&"ECDHE-RSA-AES256-GCM-SHA384"));
        assert_eq!(names("aRSA:@STRENGTH").last(), Some(&"ECDHE-RSA-AES128-GCM-SHA256"));
    }

    #[test]
    fn what_openssl_does_not_know_is_refused_by_name() {
        for (text, word) in [
            ("HIGH:!aNUL", "aNUL"),
            ("ECDHE-RSA-AES128-GMC-SHA256", "ECDHE-RSA-AES128-GMC-SHA256"),
            ("ECDHE+AESGCMM", "AESGCMM"),
            ("HIGH:@SECLEVEL=5", "@SECLEVEL=5"),
            ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
        ] {
            let reason = ciphers(text).unwrap_err();
            assert!(reason.starts_with(&format!("contains {word}, ")), "{reason}");
        }
    }

    #[test]
    fn a_string_that_leaves_nothing_is_refused_with_what_there_is() {
        for text in ["RC4", "AES256-SHA:DHE-RSA-AES256-GCM-SHA384", "HIGH:!ECDHE", ":"] {
            let reason = ciphers(text).unwrap_err();
            assert!(
                reason.starts_with("selects none of the supported TLS 1.2 ciphers"),
                "{text}: {reason}"
            );
            assert!(reason.contains("ECDHE-RSA-AES128-GCM-SHA256"), "{reason}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[!+:@A-Z0-9-]{0,40}|.{0,40}") {
            let _ = ciphers(&text);
        }
    }
}
