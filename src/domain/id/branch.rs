//! The branches that are ours.
use std::fmt::Write;

use crate::domain::id::Branch;

/// Of a branch's name, in bytes.
const LONGEST: usize = 250;
/// Of what is put behind one, in bytes.
const LONGEST_SUFFIX: usize = 120;

impl Branch {
    /// Where updates are proposed unless a policy says otherwise.
    #[must_use]
    pub fn of_updates() -> Self {
        Self("fleetcheck/update".to_owned())
    }

    /// The branch beside this one for something of this name: `fleetcheck/update-disko.nixpkgs` for
    /// `disko/nixpkgs`.
    ///
    /// Two names never share a branch, so what git does not allow in one is written as its bytes,
    /// not left out; a slash is a dot, since `update-disko` may be a branch too.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        let mut suffix = String::new();
        for (at, part) in name.split('/').enumerate() {
            if at > 0 {
                suffix.push('.');
            }
            match part {
                "" => suffix.push('='),
                // Git allows no name that ends in `.lock`.
                "lock" => suffix.push_str("=6cock"),
                part => part.bytes().for_each(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {
                        suffix.push(char::from(byte));
                    }
                    byte => drop(write!(suffix, "={byte:02x}")),
                }),
            }
        }
        if suffix.len() > LONGEST_SUFFIX {
            suffix = format!("{}=={:016x}", &suffix[..LONGEST_SUFFIX - 18], mix(name));
        }
        let room = LONGEST - 1 - suffix.len();
        Self(format!("{}-{suffix}", &self.0[..self.0.floor_char_boundary(room)]))
    }
}

/// FNV-1a: names that are cut are told apart by it, and stay the same in any version of ours.
fn mix(name: &str) -> u64 {
    let step = |mixed: u64, byte| (mixed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_branch_beside_another_says_what_it_is_for() {
        let beside = |name: &str| Branch::of_updates().beside(name).to_string();
        assert_eq!(beside("home-manager"), "fleetcheck/update-home-manager");
        assert_eq!(beside("disko/nixpkgs"), "fleetcheck/update-disko.nixpkgs");
        assert_eq!(beside("disko/lock"), "fleetcheck/update-disko.=6cock");
        assert_eq!(beside("a.b ü"), "fleetcheck/update-a=2eb=20=c3=bc");
        let long = "x".repeat(200);
        assert_eq!(beside(&long).len(), "fleetcheck/update-".len() + 120);
        assert_ne!(beside(&long), beside(&"x".repeat(201)));
    }

    proptest! {
        #[test]
        fn two_names_never_share_a_branch_and_each_is_one_of_git_s(
            names in proptest::collection::btree_set("[a./=-]{0,5}|lock|\\PC{0,8}|a{98,140}", 2),
            base in "[a-zé/]{1,250}",
        ) {
            let Ok(base) = base.parse::<Branch>() else { return Ok(()) };
            let branches: Vec<Branch> = names.iter().map(|it| base.beside(it)).collect();
            for branch in &branches {
                prop_assert!(branch.as_str().parse::<Branch>().is_ok(), "{branch}");
            }
            prop_assert_ne!(&branches[0], &branches[1]);
            prop_assert_ne!(&branches[0], &base);
        }
    }
}
