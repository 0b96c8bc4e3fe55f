//! Suggestions for misspelled names.

/// Longest name in bytes for which a similar one is searched: comparing costs its square.
const MAX_NAME: usize = 64;

/// The candidate with the smallest distance, if that is small enough.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if name.len() > MAX_NAME {
        return None;
    }
    let name = name.trim().to_lowercase().replace('-', "_");
    let limit = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(&name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance: characters to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, &above) in b.chars().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            diagonal = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn a_slip_of_the_fingers_is_recognized() {
        let names = ["port_range", "base_url", "web"];
        assert_eq!(nearest("port_rnage", names), Some("port_range"));
        assert_eq!(nearest("Base-URL", names), Some("base_url"));
        assert_eq!(nearest("wen", names), Some("web"));
    }

    #[test]
    fn nothing_is_guessed_for_a_name_that_resembles_none() {
        assert_eq!(nearest("colour", ["port_range", "base_url", "web"]), None);
        assert_eq!(nearest(&"a".repeat(65), ["a"]), None);
    }
}
