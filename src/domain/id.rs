//! Names of things. A value of these types is already known to be well formed.
mod branch;
mod store_path;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// GitHub's numeric id of a repository. It survives renames and transfers; names do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepositoryId(pub i64);

/// GitHub's numeric id of an installation of the App in an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstallationId(pub i64);

/// What was found where a name was wanted, and the rule it breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {wanted}", .found.escape_debug())]
pub struct Malformed {
    /// The text as it came, shortened to 100 characters.
    pub found: String,
    /// What it should have been, in words that follow "is not".
    pub wanted: &'static str,
}

impl Malformed {
    fn new(found: &str, wanted: &'static str) -> Self {
        Self { found: found.chars().take(100).collect(), wanted }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $wanted:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                let rule: fn(&str) -> bool = $rule;
                if rule(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(Malformed::new(text, $wanted))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Malformed;

            fn try_from(text: String) -> Result<Self, Malformed> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// The name of a thing in GitHub's GraphQL API: opaque, and another one than its numeric id.
    NodeId,
    "a node id (1 to 200 characters that print)",
    |text| (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
);

text_id!(
    /// A full, lower-case commit hash; all zeros (GitHub's "no commit") is not one.
    CommitSha,
    "a full commit hash (40 lower-case hex digits)",
    |text| text.len() == 40
        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && text.bytes().any(|b| b != b'0')
);

impl CommitSha {
    /// The first seven digits, as GitHub shows a commit.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

text_id!(
    /// `X-GitHub-Delivery`: the GUID of a delivery.
    DeliveryId,
    "a delivery GUID (1 to 64 letters, digits and dashes)",
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
);

text_id!(
    /// A run's own id (a UUID).
    RunId,
    "a run id (a UUID)",
    is_uuid
);

text_id!(
    /// A build's own id (a UUID).
    BuildId,
    "a build id (a UUID)",
    is_uuid
);

text_id!(
    /// An attempt's own id (a UUID). Its log is kept under this name.
    AttemptId,
    "an attempt id (a UUID)",
    is_uuid
);

text_id!(
    /// An update's own id (a UUID).
    UpdateId,
    "an update id (a UUID)",
    is_uuid
);

text_id!(
    /// The login of the account that owns a repository.
    Owner,
    "a GitHub account name",
    |text| (1..=100).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
);

text_id!(
    /// The login of whoever did something: a person's or, with `[bot]` at its end, an App's.
    Login,
    "the login of a GitHub account",
    |text| {
        let name = text.strip_suffix("[bot]").unwrap_or(text);
        (1..=100).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    }
);

text_id!(
    /// The name of a repository without its owner.
    RepositoryName,
    "a GitHub repository name",
    |text| (1..=100).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !matches!(text, "." | "..")
);

text_id!(
    /// A branch without `refs/heads/`, as git's `check-ref-format` allows it.
    Branch,
    "a branch name",
    is_branch
);

text_id!(
    /// An absolute path into a Nix store: `DIR/HASH-NAME`.
    StorePath,
    "a Nix store path",
    is_store_path
);

text_id!(
    /// The store path of a derivation, ending in `.drv`.
    DrvPath,
    "the path of a derivation (/nix/store/….drv)",
    |text| is_store_path(text) && text.ends_with(".drv")
);

impl DrvPath {
    /// The derivation's name: without the store directory, the hash and `.drv`.
    #[must_use]
    pub fn name(&self) -> &str {
        let base = self.0.rsplit('/').next().unwrap_or(&self.0);
        base.get(33..).unwrap_or(base).trim_end_matches(".drv")
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn is_branch(text: &str) -> bool {
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    (1..=250).contains(&text.len())
        && !text.contains(forbidden)
        && !text.contains("..")
        && !text.contains("@{")
        && !text.starts_with(['-', '/'])
        && !text.ends_with(['/', '.'])
        && text
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
}

/// `DIR/` then 32 characters of Nix's base 32, a dash and a name of at most 211 characters:
/// <https://nix.dev/manual/nix/latest/store/store-path>.
fn is_store_path(text: &str) -> bool {
    let Some((directory, base)) = text.rsplit_once('/') else {
        return false;
    };
    let name_ok = |b: u8| b.is_ascii_alphanumeric() || b"+-._?=".contains(&b);
    directory.starts_with('/')
        && !directory.split('/').any(|part| part == "..")
        && base.is_ascii()
        && base.len() > 33
        && base.len() <= 33 + 211
        && base.bytes().take(32).all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        && base.as_bytes()[32] == b'-'
        && base.bytes().skip(33).all(name_ok)
}

/// The path to one output of a flake: `nixosConfigurations.raider`, `checks.x86_64-linux.lint`.
///
/// Components may hold any text, as in Nix; [`AttrPath::label`] says whether GitHub and people
/// can be shown it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttrPath(Vec<String>);

impl AttrPath {
    /// A path of these components; `None` when there are none.
    #[must_use]
    pub fn new(components: Vec<String>) -> Option<Self> {
        (!components.is_empty()).then_some(Self(components))
    }

    /// `nixosConfigurations.HOST`.
    #[must_use]
    pub fn host(name: &str) -> Self {
        Self(vec!["nixosConfigurations".to_owned(), name.to_owned()])
    }

    /// The components, outermost first.
    #[must_use]
    pub fn components(&self) -> &[String] {
        &self.0
    }

    /// The first component: the flake's output.
    #[must_use]
    pub fn output(&self) -> &str {
        &self.0[0]
    }

    /// What people call it: a host by its name, anything else by its attribute path.
    ///
    /// # Errors
    /// When the text is not one that can stand in the name of a check: 1 to 100 letters, digits
    /// and `.`, `_`, `-`, `+`, beginning with a letter, a digit or `_`.
    pub fn label(&self) -> Result<String, Malformed> {
        let text = match self.0.as_slice() {
            [output, host] if output == "nixosConfigurations" => host.clone(),
            components => components.join("."),
        };
        let mut bytes = text.bytes();
        let first_ok = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let rest_ok = bytes.all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b));
        if first_ok && rest_ok && text.len() <= 100 {
            Ok(text)
        } else {
            Err(Malformed::new(
                &text,
                "a name that a check can have: 1 to 100 letters, digits, `.`, `_`, `-` and `+`",
            ))
        }
    }
}

impl fmt::Display for AttrPath {
    /// As Nix writes it: components that are not identifiers stand in quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, component) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(".")?;
            }
            if is_identifier(component) {
                f.write_str(component)?;
            } else {
                f.write_str(&nix_string(component))?;
            }
        }
        Ok(())
    }
}

fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_-'".contains(&b))
}

/// `text` as a string literal of the Nix language; nothing in it is interpolated.
#[must_use]
pub fn nix_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '$' => out.push_str("\\$"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_name_is_not_a_commit() {
        assert!("main".parse::<CommitSha>().is_err());
        assert!("0".repeat(40).parse::<CommitSha>().is_err(), "GitHub's `no commit`");
        assert!("0123456789abcdef0123456789abcdef01234567".parse::<CommitSha>().is_ok());
    }

    #[test]
    fn a_path_that_climbs_is_not_a_store_path() {
        let hash = "783yqpnsx5xvpayk2bnrb6cmk0a7blys";
        assert!(format!("/nix/store/{hash}-hello-1.0.drv").parse::<DrvPath>().is_ok());
        assert!(format!("/nix/store/../{hash}-hello.drv").parse::<DrvPath>().is_err());
        assert!(format!("/nix/store/{hash}-he llo.drv").parse::<DrvPath>().is_err());
        assert!("hello.drv".parse::<DrvPath>().is_err());
    }

    #[test]
    fn a_derivation_is_called_by_its_name() {
        let drv: DrvPath =
            "/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-hello-1.0.drv".parse().unwrap();
        assert_eq!(drv.name(), "hello-1.0");
    }

    #[test]
    fn a_host_is_called_by_its_name_and_anything_else_by_its_path() {
        assert_eq!(AttrPath::host("raider").label().unwrap(), "raider");
        let check = AttrPath::new(["checks", "x86_64-linux", "lint"].map(str::to_owned).into());
        assert_eq!(check.unwrap().label().unwrap(), "checks.x86_64-linux.lint");
    }

    #[test]
    fn a_hostile_host_name_has_no_label_but_a_safe_spelling() {
        for name in ["a b", "a/b", "a\"b", "..", "", "@everyone", "x\u{202e}y", &"x".repeat(300)] {
            assert!(AttrPath::host(name).label().is_err(), "{name}");
        }
        assert_eq!(AttrPath::host("a\"${b}").to_string(), r#"nixosConfigurations."a\"\${b}""#);
    }

    #[test]
    fn branch_names_follow_git() {
        for good in ["main", "feature/x", "a@b", "release-26.05"] {
            assert!(good.parse::<Branch>().is_ok(), "{good}");
        }
        for bad in ["", "-x", "a..b", "a b", "a/", "/a", "x.lock", "a\u{7}b", "a//b"] {
            assert!(bad.parse::<Branch>().is_err(), "{bad}");
        }
    }
}
