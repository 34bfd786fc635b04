//! A delivery's body as the store keeps it: packed. What a commit brings to the disk before the 202
//! is then a sixth of what GitHub sends, and taking the log into the file holds up fewer commits.
use std::cell::RefCell;
use std::fmt;
use std::io;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

use crate::store::error::{Result, StoreError};

/// zstd's, below its first: a sixth of the bytes remains of what GitHub sends, in two thirds of the
/// first level's time (14 µs for 15 kB).
const LEVEL: i32 = -1;

/// What a damaged length cannot make us allocate: no delivery is longer than GitHub's 25 MiB.
const LONGEST: u64 = 32 << 20;

thread_local! {
    /// Making one costs more than packing a body.
    static PACKER: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// The bytes of a delivery, packed.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Vec<u8>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes packed)", self.0.len())
    }
}

impl Body {
    /// Packs the bytes as they came.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn pack(plain: &[u8]) -> Result<Self> {
        PACKER.with_borrow_mut(|packer| {
            let made = match packer.take() {
                Some(made) => Ok(made),
                None => Compressor::new(LEVEL),
            };
            let packed = made.and_then(|made| packer.insert(made).compress(plain));
            packed.map(Self).map_err(|error| StoreError::unavailable(format_args!("zstd: {error}")))
        })
    }

    /// The bytes as they came.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when they are not what [`Body::pack`] made.
    pub fn unpack(&self) -> Result<Vec<u8>> {
        let corrupt =
            |error: io::Error| StoreError::corrupt(format_args!("delivery.packed: {error}"));
        let length = get_frame_content_size(&self.0).ok().flatten().filter(|it| *it <= LONGEST);
        let length = length.and_then(|it| usize::try_from(it).ok()).ok_or_else(|| {
            StoreError::corrupt("delivery.packed: it does not say how long the body is")
        })?;
        Decompressor::new().and_then(|mut it| it.decompress(&self.0, length)).map_err(corrupt)
    }

    pub(super) fn from_packed(packed: Vec<u8>) -> Self {
        Self(packed)
    }

    pub(super) fn into_packed(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_back_byte_for_byte() {
        for plain in [&b""[..], b"{}", b"\0not utf-8: \xff", &b"x".repeat(100_000)] {
            assert_eq!(Body::pack(plain).unwrap().unpack().unwrap(), plain);
        }
    }

    #[test]
    fn a_damaged_body_is_an_error() {
        let mut packed = Body::pack(b"{\"action\":\"opened\"}").unwrap().into_packed();
        packed.truncate(packed.len() - 3);
        assert!(matches!(Body::from_packed(packed).unpack(), Err(StoreError::Corrupt { .. })));
        assert!(matches!(Body::from_packed(vec![]).unpack(), Err(StoreError::Corrupt { .. })));
    }
}
