//! Token buckets for each client: of requests, and of processor time.
//!
//! Requests are counted by `governor`. Processor time cannot be: what a request takes is known when it has ended, so a client may
//! run into debt, and `governor` takes a fixed amount before or nothing. Those buckets are ours; the caller brings the time.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use governor::{
    Quota,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};

/// Requests that a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// On average, at least 1.
    pub per_second: u32,
    /// At once, at least 1.
    pub burst: u32,
}

/// Processor time that a client's requests may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// On average.
    pub per_second: Duration,
    /// At once.
    pub burst: Duration,
}

/// Clients that are remembered at once. One bucket is about 40 bytes.
const MAX_CLIENTS: usize = 65_536;
/// What a request is taken to cost while it runs, so that many at once do not all find the same budget untouched.
const RESERVED: Duration = Duration::from_millis(1);
/// A debt is forgiven down to what so many seconds bring in: nobody is locked out for longer than that by one request.
const LONGEST_DEBT: f64 = 30.0;

struct Bucket {
    tokens: f64,
    at: Duration,
}

/// Buckets of processor time. Clients whose bucket is full again are forgotten when room is needed; with no such client, all are.
struct Buckets {
    rate: f64,
    burst: f64,
    clients: HashMap<IpAddr, Bucket>,
}

/// Who is limited: an IPv4 address, or the /64 that an IPv6 subscriber has to himself.
fn subscriber(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => mapped.into(),
            None => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        },
    }
}

impl Buckets {
    fn new(rate: f64, burst: f64) -> Self {
        Self { rate, burst, clients: HashMap::new() }
    }

    /// The bucket of a client as it is now.
    fn of(&mut self, client: IpAddr, now: Duration) -> &mut Bucket {
        let (rate, burst) = (self.rate, self.burst);
        let refilled = |bucket: &Bucket| bucket.tokens + now.saturating_sub(bucket.at).as_secs_f64() * rate;
        let client = subscriber(client);
        if self.clients.len() >= MAX_CLIENTS && !self.clients.contains_key(&client) {
            self.clients.retain(|_, bucket| refilled(bucket) < burst);
            if self.clients.len() >= MAX_CLIENTS {
                self.clients.clear();
            }
        }
        let bucket = self.clients.entry(client).or_insert(Bucket { tokens: burst, at: now });
        bucket.tokens = refilled(bucket).min(burst);
        bucket.at = now;
        bucket
    }
}

type Counters<C> =
    governor::RateLimiter<IpAddr, HashMapStateStore<IpAddr>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Counts requests. Memory is bounded as that of [`Buckets`].
pub struct RateLimiter<C: Clock = DefaultClock> {
    quota: Quota,
    clock: C,
    counters: Counters<C>,
}

impl RateLimiter {
    pub fn new(limit: RateLimit) -> Self {
        Self::by(limit, DefaultClock::default())
    }
}

impl<C: Clock + Clone> RateLimiter<C> {
    fn by(limit: RateLimit, clock: C) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(limit.per_second)).allow_burst(at_least_one(limit.burst));
        Self { quota, counters: Counters::hashmap_with_clock(quota, clock.clone()), clock }
    }

    /// Counts a request of a client.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub fn take(&mut self, client: IpAddr) -> Result<(), Duration> {
        if self.counters.len() >= MAX_CLIENTS {
            self.counters.retain_recent();
            if self.counters.len() >= MAX_CLIENTS {
                self.counters = Counters::hashmap_with_clock(self.quota, self.clock.clone());
            }
        }
        let taken = self.counters.check_key(&subscriber(client));
        taken.map_err(|refused| refused.wait_time_from(self.clock.now()))
    }
}

/// Counts seconds of processor time. What a request costs is known when it has ended: it begins if anything is left, and
/// what it took beyond that is a debt.
pub struct Spending(Buckets);

impl Spending {
    pub fn new(budget: Budget) -> Self {
        let least = RESERVED.as_secs_f64();
        let rate = budget.per_second.as_secs_f64().max(least);
        Self(Buckets::new(rate, budget.burst.as_secs_f64().max(least)))
    }

    /// Lets a request begin.
    ///
    /// # Errors
    /// How long to wait until something is left.
    pub fn begin(&mut self, client: IpAddr, now: Duration) -> Result<(), Duration> {
        let rate = self.0.rate;
        let bucket = self.0.of(client, now);
        if bucket.tokens > 0.0 {
            bucket.tokens -= RESERVED.as_secs_f64();
            Ok(())
        } else {
            Err(Duration::from_secs_f64((RESERVED.as_secs_f64() - bucket.tokens) / rate))
        }
    }

    /// Says what a request that had begun took.
    pub fn end(&mut self, client: IpAddr, took: Duration, now: Duration) {
        self.charge(client, took.as_secs_f64() - RESERVED.as_secs_f64(), now);
    }

    /// Charges what was done for a request that never began.
    pub fn add(&mut self, client: IpAddr, took: Duration, now: Duration) {
        self.charge(client, took.as_secs_f64(), now);
    }

    fn charge(&mut self, client: IpAddr, seconds: f64, now: Duration) {
        let (most, burst) = (self.0.rate * LONGEST_DEBT, self.0.burst);
        let bucket = self.0.of(client, now);
        bucket.tokens = (bucket.tokens - seconds).clamp(-most, burst);
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const LIMIT: RateLimit = RateLimit { per_second: 2, burst: 3 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_passes_then_the_average_counts() {
        let clock = FakeRelativeClock::default();
        let mut limiter = RateLimiter::by(LIMIT, clock.clone());
        let client = IpAddr::from([10, 0, 0, 1]);
        for _ in 0..LIMIT.burst {
            assert_eq!(limiter.take(client), Ok(()));
        }
        assert_eq!(limiter.take(client), Err(ms(500)));
        clock.advance(ms(500));
        assert_eq!(limiter.take(client), Ok(()));
        assert!(limiter.take(client).is_err());
        assert_eq!(limiter.take(IpAddr::from([10, 0, 0, 2])), Ok(()));
    }

    #[test]
    fn addresses_of_one_ipv6_subscriber_share_a_bucket() {
        let mut limiter = RateLimiter::new(LIMIT);
        let address = |host: u128| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) + host));
        for host in 0..3 {
            assert_eq!(limiter.take(address(host)), Ok(()));
        }
        assert!(limiter.take(address(99)).is_err());
        assert_eq!(limiter.take(address(1 << 64)), Ok(()));
    }

    #[test]
    fn memory_is_bounded_whoever_asks() {
        let mut limiter = RateLimiter::by(LIMIT, FakeRelativeClock::default());
        for host in 0..(MAX_CLIENTS as u32 + 10) {
            let _ = limiter.take(IpAddr::from(host.to_be_bytes()));
        }
        assert!(limiter.counters.len() <= MAX_CLIENTS);
    }

    #[test]
    fn time_that_was_used_comes_back_at_the_rate_and_a_debt_is_paid_first() {
        let mut spending = Spending::new(Budget { per_second: ms(10), burst: ms(100) });
        let client = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(spending.begin(client, ms(0)), Ok(()));
        spending.end(client, ms(120), ms(0));
        // 20 ms of debt, and the least that a request begins with.
        let wait = spending.begin(client, ms(0)).unwrap_err();
        assert!((ms(2_099)..=ms(2_101)).contains(&wait), "{wait:?}");
        assert_eq!(spending.begin(IpAddr::from([10, 0, 0, 2]), ms(0)), Ok(()));
        assert!(spending.begin(client, ms(1_900)).is_err());
        assert_eq!(spending.begin(client, ms(2_101)), Ok(()));
    }

    #[test]
    fn requests_that_run_at_once_do_not_find_the_same_budget_untouched() {
        let mut spending = Spending::new(Budget { per_second: ms(10), burst: ms(5) });
        let client = IpAddr::from([10, 0, 0, 1]);
        let begun = (0..100).filter(|_| spending.begin(client, ms(0)).is_ok()).count();
        assert_eq!(begun, 5);
        // They cost next to nothing, so nearly all of it is there again.
        (0..begun).for_each(|_| spending.end(client, Duration::from_micros(10), ms(0)));
        assert_eq!((0..100).filter(|_| spending.begin(client, ms(0)).is_ok()).count(), 5);
    }

    #[test]
    fn one_request_locks_nobody_out_for_ever() {
        let mut spending = Spending::new(Budget { per_second: ms(10), burst: ms(100) });
        let client = IpAddr::from([10, 0, 0, 1]);
        spending.add(client, Duration::from_secs(3_600), ms(0));
        assert!(spending.begin(client, ms(0)).unwrap_err() <= Duration::from_secs(31));
    }
}
