//! A token bucket for each peer. Pure: the caller brings the time.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

/// Requests that a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// On average, at least 1.
    pub per_second: u32,
    /// At once, at least 1.
    pub burst: u32,
}

/// Peers that are remembered at once. One bucket is about 40 bytes.
const MAX_PEERS: usize = 65_536;

struct Bucket {
    tokens: f64,
    at: Duration,
}

/// The buckets. Peers whose bucket is full again are forgotten when room is needed; with no such peer, all are.
pub struct RateLimiter {
    limit: RateLimit,
    peers: HashMap<IpAddr, Bucket>,
}

/// Who is limited: an IPv4 address, or the /64 that an IPv6 subscriber has to himself.
fn subscriber(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => mapped.into(),
            None => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        },
    }
}

impl RateLimiter {
    pub fn new(limit: RateLimit) -> Self {
        let limit = RateLimit { per_second: limit.per_second.max(1), burst: limit.burst.max(1) };
        Self { limit, peers: HashMap::new() }
    }

    /// Takes a token of a peer; `now` since any fixed moment.
    ///
    /// # Errors
    /// How long to wait for the next token.
    pub fn take(&mut self, peer: IpAddr, now: Duration) -> Result<(), Duration> {
        let (rate, burst) = (f64::from(self.limit.per_second), f64::from(self.limit.burst));
        let peer = subscriber(peer);
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&peer) {
            self.peers.retain(|_, bucket| refilled(bucket, now, rate) < burst);
            if self.peers.len() >= MAX_PEERS {
                self.peers.clear();
            }
        }
        let bucket = self.peers.entry(peer).or_insert(Bucket { tokens: burst, at: now });
        bucket.tokens = refilled(bucket, now, rate).min(burst);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - bucket.tokens) / rate))
        }
    }
}

fn refilled(bucket: &Bucket, now: Duration, rate: f64) -> f64 {
    bucket.tokens + now.saturating_sub(bucket.at).as_secs_f64() * rate
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit { per_second: 2, burst: 3 };

    #[test]
    fn a_burst_passes_then_the_average_counts() {
        let mut limiter = RateLimiter::new(LIMIT);
        let peer = IpAddr::from([10, 0, 0, 1]);
        for _ in 0..LIMIT.burst {
            assert_eq!(limiter.take(peer, Duration::ZERO), Ok(()));
        }
        assert_eq!(limiter.take(peer, Duration::ZERO), Err(Duration::from_millis(500)));
        assert_eq!(limiter.take(peer, Duration::from_millis(500)), Ok(()));
        assert!(limiter.take(peer, Duration::from_millis(500)).is_err());
        assert_eq!(limiter.take(IpAddr::from([10, 0, 0, 2]), Duration::ZERO), Ok(()));
    }

    #[test]
    fn addresses_of_one_ipv6_subscriber_share_a_bucket() {
        let mut limiter = RateLimiter::new(LIMIT);
        let address = |host: u128| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) + host));
        for host in 0..3 {
            assert_eq!(limiter.take(address(host), Duration::ZERO), Ok(()));
        }
        assert!(limiter.take(address(99), Duration::ZERO).is_err());
        assert_eq!(limiter.take(address(1 << 64), Duration::ZERO), Ok(()));
    }

    #[test]
    fn memory_is_bounded_whoever_asks() {
        let mut limiter = RateLimiter::new(LIMIT);
        for host in 0..(MAX_PEERS as u32 + 10) {
            let _ = limiter.take(IpAddr::from(host.to_be_bytes()), Duration::ZERO);
        }
        assert!(limiter.peers.len() <= MAX_PEERS);
    }
}
