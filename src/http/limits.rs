//! What keeps strangers from using up our memory and our time.
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// GitHub's own limit of a delivery's body.
pub(super) const MOST_BODY: usize = 25 << 20;

/// All bodies that are being read or checked at one time.
const MOST_MEMORY: usize = 256 << 20;

/// Memory is counted in these.
const PAGE: usize = 16 << 10;

/// GitHub gives up on a delivery after ten seconds.
const SLOWEST_BODY: Duration = Duration::from_secs(10);

/// Refusals per second and address, and at once, that are answered with their reason.
const STEADY: NonZeroU32 = NonZeroU32::new(20).expect("20 is not zero");
const BURST: NonZeroU32 = NonZeroU32::new(100).expect("100 is not zero");

/// Addresses that are remembered; more than this at a time is an attack from many.
const MOST_ADDRESSES: usize = 10_000;

/// Counts refused requests per address.
///
/// It is asked only after a signature has failed. Asking before would be cheaper, but GitHub may
/// share its address with a stranger (both come through the same proxy), and a signed delivery is
/// never refused for what others do. What a stranger costs is the reading and one HMAC of what
/// they send, and that is bounded by [`Memory`].
pub(super) struct Refusals {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    count: AtomicU32,
}

impl Refusals {
    pub(super) fn new() -> Self {
        let limiter = RateLimiter::keyed(Quota::per_second(STEADY).allow_burst(BURST));
        Self { limiter, count: AtomicU32::new(0) }
    }

    /// Notes a refusal; whether this address has had too many.
    pub(super) fn is_too_many(&self, address: SocketAddr) -> bool {
        // Forgetting walks through all addresses, hence only now and then.
        if self.count.fetch_add(1, Ordering::Relaxed) % 1024 == 1023 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.len() > MOST_ADDRESSES || self.limiter.check_key(&whose(address)).is_err()
    }
}

/// Who has an address: of IPv6 a network of 64 bits is one customer's.
fn whose(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// The memory that bodies may take, all together.
pub(super) struct Memory(Arc<Semaphore>);

/// A body that was read, and its share of the memory.
#[derive(Debug)]
pub(super) struct ReadBody {
    pub(super) bytes: Bytes,
    /// Given back when the request has been answered.
    pub(super) _share: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge,
    /// Other bodies have the memory now.
    NoMemory,
    /// It came too slowly, or the connection broke.
    Broken,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST_MEMORY / PAGE)))
    }

    /// Reads a body. Memory is charged as the bytes come, so that nobody reserves any by
    /// announcing a large body and sending none.
    pub(super) async fn read(
        &self,
        body: Body,
        announced: Option<u64>,
    ) -> Result<ReadBody, Unread> {
        if announced.is_some_and(|length| length > MOST_BODY as u64) {
            return Err(Unread::TooLarge);
        }
        tokio::time::timeout(SLOWEST_BODY, self.collect(body)).await.map_err(|_| Unread::Broken)?
    }

    async fn collect(&self, body: Body) -> Result<ReadBody, Unread> {
        let mut stream = body.into_data_stream();
        let mut pieces = Pieces::One(Bytes::new());
        let mut share: Option<OwnedSemaphorePermit> = None;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| Unread::Broken)?;
            if pieces.len() + chunk.len() > MOST_BODY {
                return Err(Unread::TooLarge);
            }
            pieces = pieces.and(chunk);
            let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let wanted = pieces.len().div_ceil(PAGE).saturating_sub(held);
            if wanted > 0 {
                let more = self.take(wanted)?;
                match &mut share {
                    Some(share) => share.merge(more),
                    None => share = Some(more),
                }
            }
        }
        Ok(ReadBody { bytes: pieces.whole(), _share: share })
    }

    fn take(&self, pages: usize) -> Result<OwnedSemaphorePermit, Unread> {
        let pages = u32::try_from(pages).map_err(|_| Unread::NoMemory)?;
        Arc::clone(&self.0).try_acquire_many_owned(pages).map_err(|_| Unread::NoMemory)
    }
}

/// A body as it comes: in one piece it is kept as it is, in several they are put together.
enum Pieces {
    One(Bytes),
    Several(BytesMut),
}

impl Pieces {
    fn len(&self) -> usize {
        match self {
            Self::One(piece) => piece.len(),
            Self::Several(pieces) => pieces.len(),
        }
    }

    fn and(self, next: Bytes) -> Self {
        match self {
            Self::One(first) if first.is_empty() => Self::One(next),
            Self::One(first) => Self::Several(BytesMut::from(&first[..])).and(next),
            Self::Several(mut pieces) => {
                pieces.extend_from_slice(&next);
                Self::Several(pieces)
            }
        }
    }

    fn whole(self) -> Bytes {
        match self {
            Self::One(piece) => piece,
            Self::Several(pieces) => pieces.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 1)
    }

    #[test]
    fn an_address_is_told_the_reason_only_so_often() {
        let refusals = Refusals::new();
        let told = (0..200).filter(|_| !refusals.is_too_many(address("192.0.2.1"))).count();
        assert!((100..120).contains(&told), "{told}");
        assert!(!refusals.is_too_many(address("192.0.2.2")), "others are not affected");
    }

    #[test]
    fn many_addresses_take_no_more_memory() {
        let refusals = Refusals::new();
        for n in 0..40_000_u32 {
            refusals.is_too_many(SocketAddr::new(IpAddr::V4(n.into()), 1));
        }
        assert!(refusals.limiter.len() <= MOST_ADDRESSES + 1, "{}", refusals.limiter.len());
    }

    #[test]
    fn a_network_of_ipv6_is_one_customer() {
        assert_eq!(whose(address("2001:db8::1")), whose(address("2001:db8::2")));
        assert_ne!(whose(address("2001:db8::1")), whose(address("2001:db8:0:1::1")));
        assert_eq!(whose(address("::ffff:192.0.2.1")), whose(address("192.0.2.1")));
    }

    #[tokio::test]
    async fn a_body_gives_its_memory_back() {
        let memory = Memory::new();
        let all = memory.0.available_permits();
        let body = memory.read(Body::from(vec![0; 100_000]), None).await.unwrap();
        assert_eq!(memory.0.available_permits(), all - 100_000_usize.div_ceil(PAGE));
        drop(body);
        assert_eq!(memory.0.available_permits(), all);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_whether_announced_or_not() {
        let memory = Memory::new();
        let announced = memory.read(Body::empty(), Some(MOST_BODY as u64 + 1)).await;
        assert_eq!(announced.unwrap_err(), Unread::TooLarge);
        let sent = memory.read(Body::from(vec![0; MOST_BODY + 1]), None).await;
        assert_eq!(sent.unwrap_err(), Unread::TooLarge);
        assert!(memory.read(Body::from(vec![0; MOST_BODY]), None).await.is_ok());
    }

    #[tokio::test]
    async fn bodies_together_take_no_more_than_their_memory() {
        let memory = Memory::new();
        let mut held = vec![];
        let refused = loop {
            match memory.read(Body::from(vec![0; 20 << 20]), None).await {
                Ok(body) => held.push(body),
                Err(unread) => break unread,
            }
        };
        assert_eq!((refused, held.len()), (Unread::NoMemory, 12));
    }
}
