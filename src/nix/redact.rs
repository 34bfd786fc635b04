//! Removes GitHub's tokens from what a build prints, before anybody keeps or shows it.

/// What stands in a token's place.
const REMOVED: &[u8] = b"(token removed)";
/// A token has at least as many characters behind its prefix.
const SHORTEST: usize = 20;

/// Bytes without a GitHub token in them. Only [`clean`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clean<'a>(&'a [u8]);

impl<'a> Clean<'a> {
    /// Words of our own.
    pub fn ours(text: &'static str) -> Clean<'static> {
        Clean(text.as_bytes())
    }

    /// The bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Replaces what is shaped like a token: `ghs_` (also `ghp`, `gho`, `ghu`, `ghr`) or
/// `github_pat_` and at least 20 characters. `scratch` is used only where there is one.
pub fn clean<'a>(text: &'a [u8], scratch: &'a mut Vec<u8>) -> Clean<'a> {
    let Some(first) = find(text, 0) else { return Clean(text) };
    scratch.clear();
    let (mut at, mut next) = (0, Some(first));
    while let Some((start, end)) = next {
        scratch.extend_from_slice(&text[at..start]);
        scratch.extend_from_slice(REMOVED);
        at = end;
        next = find(text, at);
    }
    scratch.extend_from_slice(&text[at..]);
    Clean(scratch)
}

/// The same for words that are kept as text.
pub fn clean_text(text: String) -> String {
    let mut scratch = Vec::new();
    match clean(text.as_bytes(), &mut scratch) {
        Clean(same) if same.len() == text.len() && same == text.as_bytes() => text,
        Clean(other) => String::from_utf8_lossy(other).into_owned(),
    }
}

/// Where the first token from `from` on begins and ends. Every token has an underscore, which few
/// lines have: those are looked for, and the prefix before them.
fn find(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    loop {
        at += text[at..].iter().position(|byte| *byte == b'_')?;
        let before = &text[from..at];
        let prefix = match before {
            [.., b'g', b'h', b'p' | b'o' | b'u' | b's' | b'r'] => 3,
            _ if before.ends_with(b"github_pat") => 10,
            _ => 0,
        };
        at += 1;
        if prefix > 0 {
            let fits = |byte: &u8| {
                byte.is_ascii_alphanumeric() || *byte == b'_' || prefix == 3 && b".-".contains(byte)
            };
            let length = text[at..].iter().take_while(|it| fits(it)).count();
            if length >= SHORTEST {
                return Some((at - 1 - prefix, at + length));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cleaned(text: &str) -> String {
        clean_text(text.to_owned())
    }

    #[test]
    fn tokens_of_every_kind_are_removed() {
        let secret = "A1b2C3d4E5f6G7h8I9j0K1";
        for prefix in ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"] {
            let said =
                cleaned(&format!("x-access-token:{prefix}{secret}@github.com, {prefix}{secret}"));
            assert_eq!(said, "x-access-token:(token removed)@github.com, (token removed)");
        }
        assert_eq!(cleaned(&format!("ghs_{secret}.e-y_x end")), "(token removed) end");
    }

    #[test]
    fn what_only_looks_like_one_stays() {
        for text in
            ["", "_", "ghp_short", "github_pat_", "a_b_c", "through_and_through_and_through_it"]
        {
            assert_eq!(cleaned(text), text);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in "(gh|s|_|p|github_pat_|[a-z0-9]{0,30}|.){0,20}") {
            let once = cleaned(&bytes);
            prop_assert_eq!(cleaned(&once), once);
        }
    }
}
