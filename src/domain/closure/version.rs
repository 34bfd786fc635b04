//! Which of two versions is the newer, by the rule of Nix's `builtins.compareVersions`.
use std::cmp::Ordering;

/// Compares two versions: part by part, where a part is a run of digits or of anything else
/// between dots and dashes. `pre` comes before everything, a number before no number:
/// <https://nix.dev/manual/nix/latest/language/builtins#builtins-compareVersions>.
///
/// One difference: Nix compares numbers beyond 32 bits as text, this by their value.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (parts(a), parts(b));
    loop {
        let (left, right) = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) => (left.unwrap_or_default(), right.unwrap_or_default()),
        };
        match part(left, right) {
            Ordering::Equal => {}
            decided @ (Ordering::Less | Ordering::Greater) => return decided,
        }
    }
}

fn parts(version: &str) -> impl Iterator<Item = &str> {
    let mut rest = version;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(['.', '-']);
        let first = rest.chars().next()?;
        let is_digit = first.is_ascii_digit();
        let end = rest
            .find(|c: char| c.is_ascii_digit() != is_digit || matches!(c, '.' | '-'))
            .unwrap_or(rest.len());
        let (part, behind) = rest.split_at(end);
        rest = behind;
        Some(part)
    })
}

/// Declared in Nix's order: what is less stands first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part<'v> {
    Pre,
    /// The version is over.
    Nothing,
    Word(&'v str),
    /// Digits without leading zeros; the longer is the greater.
    Number(usize, &'v str),
}

fn part(left: &str, right: &str) -> Ordering {
    read(left).cmp(&read(right))
}

fn read(part: &str) -> Part<'_> {
    match part.bytes().next() {
        None => Part::Nothing,
        Some(b'0'..=b'9') => {
            let digits = part.trim_start_matches('0');
            Part::Number(digits.len(), digits)
        }
        Some(_) if part == "pre" => Part::Pre,
        Some(_) => Part::Word(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Also in `tests/nix_insight.rs`, where Nix itself is asked.
    const TABLE: [(&str, &str, Ordering); 14] = [
        ("1.0", "2.3", Ordering::Less),
        ("2.1", "2.3", Ordering::Less),
        ("2.3", "2.3", Ordering::Equal),
        ("2.5", "2.3", Ordering::Greater),
        ("3.1", "2.3", Ordering::Greater),
        ("2.3.1", "2.3", Ordering::Greater),
        ("2.3.1", "2.3a", Ordering::Greater),
        ("2.3pre1", "2.3", Ordering::Less),
        ("2.3pre3", "2.3pre12", Ordering::Less),
        ("2.3a", "2.3c", Ordering::Less),
        ("2.3pre1", "2.3c", Ordering::Less),
        ("2.3pre1", "2.3q", Ordering::Less),
        ("1-0", "1.0", Ordering::Equal),
        ("6.12.58", "6.12.9", Ordering::Greater),
    ];

    #[test]
    fn versions_compare_as_nix_compares_them() {
        for (a, b, wanted) in TABLE {
            assert_eq!(compare(a, b), wanted, "{a} {b}");
            assert_eq!(compare(b, a), wanted.reverse(), "{b} {a}");
        }
    }

    #[test]
    fn numbers_of_any_length_compare_by_their_value() {
        assert_eq!(compare("20261124120000", "9"), Ordering::Greater);
        assert_eq!(compare("007", "7"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn the_order_is_one(a in "[a0-9.-]{0,6}|[0-9]pre[0-9]", b in "[a0-9.-]{0,6}", c in "[a0-9.-]{0,6}") {
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }
    }
}
