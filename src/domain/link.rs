//! Where our pages are, and who may open them.
//!
//! A private repository's page opens only with the key in its link: an HMAC of the page's path
//! under a key of the server's. Such links are given out only in checks on GitHub, which shows
//! them to those who may see the repository.
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::domain::id::{BuildId, RunId};
use crate::domain::incoming::Visibility;

/// Makes links and knows them again.
#[derive(Clone)]
pub struct Links {
    public_url: String,
    key: Hmac<Sha256>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

impl Links {
    /// Links below `public_url` (without a slash at the end), under this key.
    #[must_use]
    pub fn new(public_url: &str, key: &[u8; 32]) -> Self {
        // HMAC fills a short key up with zeros to its block of 64 bytes.
        let mut block = [0; 64];
        block[..32].copy_from_slice(key);
        Self { public_url: public_url.to_owned(), key: Hmac::new(&block.into()) }
    }

    /// The page of a run.
    #[must_use]
    pub fn run(&self, run: &RunId, visibility: Visibility) -> String {
        self.url(&format!("/runs/{run}"), visibility)
    }

    /// The page of a build.
    #[must_use]
    pub fn build(&self, build: &BuildId, visibility: Visibility) -> String {
        self.url(&format!("/builds/{build}"), visibility)
    }

    /// The log of a build, as text.
    #[must_use]
    pub fn log(&self, build: &BuildId, visibility: Visibility) -> String {
        self.url(&format!("/builds/{build}/log"), visibility)
    }

    fn url(&self, path: &str, visibility: Visibility) -> String {
        format!("{}{}", self.public_url, self.path(path, visibility))
    }

    /// A path of ours with the key it needs, if it needs one.
    #[must_use]
    pub fn path(&self, path: &str, visibility: Visibility) -> String {
        match visibility {
            Visibility::Public => path.to_owned(),
            Visibility::Private => {
                format!("{path}?key={}", hex::encode(self.tag(path)))
            }
        }
    }

    /// 128 bits: nobody guesses them, and 500 links still fit into a check's summary.
    fn tag(&self, path: &str) -> [u8; 16] {
        let full = self.key.clone().chain_update(path).finalize().into_bytes();
        let mut tag = [0; 16];
        tag.copy_from_slice(&full[..16]);
        tag
    }

    /// Whether `key`, as it stood in the request for `path`, opens it. Takes as long for every key.
    #[must_use]
    pub fn opens(&self, path: &str, visibility: Visibility, key: Option<&str>) -> bool {
        let given = key.and_then(|key| hex::decode(key).ok()).unwrap_or_default();
        let right = self.tag(path)[..].ct_eq(&given);
        match visibility {
            Visibility::Public => true,
            Visibility::Private => right.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        Links::new("https://fleet.example.org", &[7; 32])
    }

    fn run() -> RunId {
        "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
    }

    #[test]
    fn a_public_page_needs_no_key() {
        let path = format!("/runs/{}", run());
        let url = links().run(&run(), Visibility::Public);
        assert_eq!(url, format!("https://fleet.example.org{path}"));
        assert!(links().opens(&path, Visibility::Public, None));
        assert!(links().opens(&path, Visibility::Public, Some("zz")));
    }

    #[test]
    fn a_private_page_opens_with_its_own_key_only() {
        let path = format!("/runs/{}", run());
        let url = links().run(&run(), Visibility::Private);
        let (_, key) = url.split_once("?key=").unwrap();
        assert!(links().opens(&path, Visibility::Private, Some(key)));
        assert!(!links().opens("/runs/other", Visibility::Private, Some(key)));
        assert!(!Links::new("", &[8; 32]).opens(&path, Visibility::Private, Some(key)));
        for wrong in [None, Some(""), Some("zz"), Some(&key[..30])] {
            assert!(!links().opens(&path, Visibility::Private, wrong));
        }
    }

    #[test]
    fn the_key_never_shows() {
        assert!(!format!("{:?}", links()).contains('7'));
    }
}
