//! Proof that GitHub sent a body: HMAC over the raw bytes, in constant time.
use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use crate::config::Sealed;

/// A body that GitHub signed. Only [`Secrets::verify`] makes one.
#[derive(Clone)]
pub struct VerifiedBody(Bytes);

impl VerifiedBody {
    /// The bytes, exactly as they came.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes, exactly as they came.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl fmt::Debug for VerifiedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedBody({} bytes)", self.0.len())
    }
}

/// The signature is missing, malformed or of another key; which of these is nobody's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the delivery is not signed with a configured webhook secret")]
pub struct Unverified;

/// The webhook secrets that are accepted, several while one is being replaced.
pub struct Secrets(Vec<Hmac<Sha256>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({}, sealed)", self.0.len())
    }
}

impl Secrets {
    /// Keys the MACs once, for all deliveries to come.
    pub fn new(secrets: &[Sealed]) -> Self {
        let keyed = |secret: &Sealed| Hmac::new_from_slice(secret.reveal().as_bytes());
        // HMAC takes keys of any length; a key that it refused would accept nothing.
        Self(secrets.iter().filter_map(|secret| keyed(secret).ok()).collect())
    }

    /// Checks `X-Hub-Signature-256` against every secret, and does the same work whatever it says.
    ///
    /// # Errors
    /// When no configured secret made this signature over these bytes.
    pub fn verify(
        &self,
        body: Bytes,
        signature: Option<&[u8]>,
    ) -> Result<VerifiedBody, Unverified> {
        let mut claimed = [0; 32];
        let well_formed = signature
            .and_then(|text| text.strip_prefix(b"sha256="))
            .is_some_and(|digits| hex::decode_to_slice(digits, &mut claimed).is_ok());
        let mut matches = Choice::from(0);
        for keyed in &self.0 {
            let ours = keyed.clone().chain_update(&body).finalize().into_bytes();
            matches |= ours.as_slice().ct_eq(&claimed);
        }
        matches &= Choice::from(u8::from(well_formed));
        if bool::from(matches) { Ok(VerifiedBody(body)) } else { Err(Unverified) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A body as if it had been signed.
    pub(in crate::github) fn verified(body: &str) -> VerifiedBody {
        VerifiedBody(Bytes::copy_from_slice(body.as_bytes()))
    }

    fn secrets(texts: &[&str]) -> Secrets {
        let sealed: Vec<_> = texts.iter().map(|text| Sealed::new((*text).to_owned())).collect();
        Secrets::new(&sealed)
    }

    #[test]
    fn githubs_own_example_of_a_signature_is_accepted() {
        let signature: &[u8] =
            b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let body = Bytes::from_static(b"Hello, World!");
        let newest_first = secrets(&["the new one", "It's a Secret to Everybody"]);
        assert!(newest_first.verify(body.clone(), Some(signature)).is_ok());
        assert!(secrets(&["the new one"]).verify(body.clone(), Some(signature)).is_err());
        assert!(secrets(&[]).verify(body, Some(signature)).is_err());
    }

    #[test]
    fn anything_but_a_whole_signature_is_refused() {
        let secrets = secrets(&["It's a Secret to Everybody"]);
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let verify = |body: &'static [u8], signature: Option<&str>| {
            secrets.verify(Bytes::from_static(body), signature.map(str::as_bytes))
        };
        assert!(verify(b"Hello, World!", Some(good)).is_ok());
        assert!(verify(b"Hello, World", Some(good)).is_err());
        for bad in [
            None,
            Some(""),
            Some("sha256="),
            Some(&good[7..]),
            Some(&good[..70]),
            Some(&good.replace("sha256", "sha1")),
            Some(&good.replace('7', "g")),
            Some(&format!("{good}00")),
            Some(&format!("sha256={}", "0".repeat(64))),
        ] {
            assert!(verify(b"Hello, World!", bad).is_err(), "{bad:?}");
        }
    }
}
