//! Settings, checked before anything starts.

use std::{collections::BTreeMap, time::Duration};

use bn254::Fr;
use circuits::shape::{MAX_RECORDS, Shape};
use l1::node::TX_GAS_CAP;
use protocol::{eip712::SigningDomain, l1::Finality};
use sequencer::{
    batcher::SealRules,
    farm::{CapacityRules, FarmRules, Scale},
    ledger::Limits,
    parallel::{Parallel, Task},
    rules::Rules,
    settlement::SettlementRules,
};

use crate::driver::Tolerance;

/// Promises with deadlines further away are refused by wallets.
pub const MAX_PROMISE_DEADLINE: Duration = Duration::from_secs(3600);

/// An autoscaler that may start from no worker at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleFromZero {
    /// Within this there are proofs of all the workers it starts.
    pub within: Duration,
    pub max_workers: usize,
}

/// Settlement takes this long at most: until a batch is broadcast, mined, and on a chain with the `finalized` tag two epochs old.
pub const SETTLES_WITHIN: Duration = Duration::from_secs(600);
pub const SETTLES_WITHIN_TAGGED: Duration = Duration::from_secs(1_500);

/// What an operator may set. `Config::default()` suits a demo on a development chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Circuits a batch may be sealed with; each needs a verifier among the parts.
    pub shapes: Vec<Shape>,
    /// Coins of a send.
    pub min_amount: u64,
    /// Leaves one operation may spend; lowered to what the largest circuit takes.
    pub max_leaves: usize,
    /// Leaves one account may spend per `quota_window`.
    pub quota: u32,
    pub quota_window: Duration,
    /// An open batch is sealed this long after its first operation.
    pub seal_age: Duration,
    /// … and when a deposit, or a forced request, has waited this long.
    pub deposit_wait: Duration,
    pub forced_wait: Duration,
    /// Batches for which a draft is valid.
    pub valid_for: u32,
    /// From acceptance to the deadline of the promise.
    pub promise_deadline: Duration,
    /// What is left of that for settlement: operations are admitted only if they are proven so long before their deadline.
    pub settle_margin: Duration,
    /// How long a proof of a circuit takes before any was measured.
    pub proof_time: BTreeMap<Shape, Duration>,
    /// Where workers were, one is counted for so long after the last was heard.
    pub worker_grace: Duration,
    /// The workers that an autoscaler starts when there is work; without it only those that are alive count.
    pub scale: Option<ScaleFromZero>,
    pub finality: Finality,
    /// Between two looks at the chain.
    pub poll: Duration,
    /// Blocks asked for at once.
    pub log_range: u64,
    pub resend_after: Duration,
    pub bump_after: Duration,
    pub bump_percent: u32,
    /// Most wei per gas that is ever offered for a batch; above it transactions wait, with an alarm.
    pub max_fee: u128,
    /// Batches in one transaction at most, and its gas by our estimate (a transaction is capped at 2^24, EIP-7825).
    pub max_batches_per_tx: u32,
    pub max_gas_per_tx: u64,
    /// Transactions on their way to the chain at once.
    pub max_in_flight: usize,
    pub lease: Duration,
    /// Different workers on which a job may end badly before it is tried alone.
    pub quarantine_after: u32,
    /// How long an attempt may take before any proof of its circuit was measured.
    pub attempt_limit: Duration,
    /// Requests committed together at most, and how long the first of them waits for others.
    pub commit_max: usize,
    pub commit_window: Duration,
    /// Requests waiting at most; more are answered `BUSY`.
    pub waiting_max: usize,
    /// How far this machine's time may be from the database's, and L1's head ahead of it, for anything to be promised.
    pub clock_tolerance: Duration,
    pub l1_ahead: Duration,
    /// Whether the verifier keys come from a public seed.
    pub dev_key: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shapes: vec![Shape::S3M1],
            min_amount: 1_000,
            max_leaves: 64,
            quota: 600,
            quota_window: Duration::from_secs(60),
            seal_age: Duration::from_secs(2),
            deposit_wait: Duration::from_secs(2),
            forced_wait: Duration::from_secs(2),
            valid_for: 1_000,
            promise_deadline: Duration::from_secs(3000),
            settle_margin: SETTLES_WITHIN,
            proof_time: proof_times(),
            worker_grace: Duration::from_secs(60),
            scale: None,
            finality: Finality::Confirmations(2),
            poll: Duration::from_millis(500),
            log_range: 2_000,
            resend_after: Duration::from_secs(15),
            bump_after: Duration::from_secs(60),
            bump_percent: 25,
            max_fee: 500_000_000_000,
            max_batches_per_tx: 64,
            max_gas_per_tx: 14_000_000,
            max_in_flight: 4,
            lease: Duration::from_secs(4),
            quarantine_after: 4,
            attempt_limit: Duration::from_secs(1_800),
            commit_max: 512,
            commit_window: Duration::from_millis(2),
            waiting_max: 8_192,
            clock_tolerance: Duration::from_secs(30),
            l1_ahead: Duration::from_secs(900),
            dev_key: true,
        }
    }
}

/// About three times what two cores take (`benches/results/2026-11-28-prover.md`).
fn proof_times() -> BTreeMap<Shape, Duration> {
    let of = |shape: Shape| {
        Duration::from_millis(match shape {
            Shape::S3M1 => 500,
            Shape::S14M2 => 1_000,
            Shape::S4M60 => 2_000,
            Shape::S60M4 => 4_000,
            Shape::S252M4 => 15_000,
            Shape::S1020M4 => 60_000,
        })
    };
    Shape::ALL.into_iter().map(|shape| (shape, of(shape))).collect()
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PM-CONFIG-001: {setting} {problem}")]
pub struct ConfigError {
    pub setting: &'static str,
    pub problem: String,
}

impl Config {
    /// # Errors
    /// `ConfigError` for the first setting that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |good: bool, setting: &'static str, problem: &str| {
            if good { Ok(()) } else { Err(ConfigError { setting, problem: problem.to_owned() }) }
        };
        check(!self.shapes.is_empty(), "shapes", "is empty; name at least one circuit")?;
        check(self.min_amount >= 1, "min_amount", "is 0; sends are free, so ask for at least one coin")?;
        check(self.max_leaves >= 1, "max_leaves", "is 0; an operation spends at least one leaf")?;
        check(self.quota >= 1, "quota", "is 0; nobody could send")?;
        check(!self.quota_window.is_zero(), "quota_window", "is 0; take a minute")?;
        let deadline = self.promise_deadline;
        check(!deadline.is_zero(), "promise_deadline", "is 0; batches take time")?;
        check(deadline <= MAX_PROMISE_DEADLINE, "promise_deadline", "is over an hour, which wallets refuse")?;
        check(
            self.settle_margin < deadline,
            "settle_margin",
            "is not below promise_deadline; no time would be left to prove",
        )?;
        check(
            self.proof_time.values().all(|time| *time >= Duration::from_millis(1)),
            "proof_time",
            "is below a millisecond; measure a proof",
        )?;
        if let Some(ScaleFromZero { within, max_workers }) = self.scale {
            check(max_workers >= 1, "max_workers", "is 0; nothing would ever be proven")?;
            check(
                within < deadline.saturating_sub(self.settle_margin),
                "scale_from_zero",
                "leaves no time to prove before promise_deadline less settle_margin",
            )?;
        }
        check(!self.poll.is_zero(), "poll", "is 0; take half a second or more")?;
        check(self.log_range >= 1, "log_range", "is 0; ask for at least one block at once")?;
        check(self.bump_percent >= 10, "bump_percent", "is below 10, which nodes refuse as underpriced")?;
        check(self.max_fee >= 1, "max_fee", "is 0; nobody mines for nothing")?;
        check(
            self.max_batches_per_tx >= 1,
            "max_batches_per_tx",
            "is 0; a transaction takes at least one batch",
        )?;
        check(self.max_in_flight >= 1, "max_in_flight", "is 0; nothing could be submitted")?;
        check(
            self.max_gas_per_tx <= TX_GAS_CAP,
            "max_gas_per_tx",
            "is above 2^24, the most of one transaction (EIP-7825)",
        )?;
        check(
            self.lease >= Duration::from_secs(1),
            "lease",
            "is under a second; heartbeats come once a second",
        )?;
        check(self.quarantine_after >= 1, "quarantine_after", "is 0; a job needs at least one attempt")?;
        check(self.commit_max >= 1, "commit_max", "is 0; commit at least one request at a time")?;
        check(self.commit_window < self.lease, "commit_window", "is longer than a lease")?;
        check(self.waiting_max >= self.commit_max, "waiting_max", "is below commit_max")?;
        check(
            self.clock_tolerance >= Duration::from_secs(1),
            "clock_tolerance",
            "is under a second; clocks of two machines are never equal",
        )
    }

    pub fn tolerance(&self) -> Tolerance {
        Tolerance { database: self.clock_tolerance, l1: self.l1_ahead }
    }

    /// The part of the settings that the cores know, with what the deployment and the verifiers add.
    pub fn rules(&self, domain: Fr, signing: SigningDomain, circuits: BTreeMap<Shape, [u8; 32]>) -> Rules {
        let most = self.shapes.iter().map(|shape| shape.slots()).max().unwrap_or(0);
        Rules {
            domain,
            signing,
            shapes: self.shapes.clone(),
            circuits,
            keys: BTreeMap::new(),
            limits: Limits {
                min_amount: self.min_amount,
                max_leaves: self.max_leaves.min(most).min(MAX_RECORDS),
                quota: self.quota,
                quota_window_ms: millis(self.quota_window),
            },
            seal: SealRules {
                age_ms: millis(self.seal_age),
                deposit_wait_ms: millis(self.deposit_wait),
                forced_wait_ms: millis(self.forced_wait),
            },
            farm: FarmRules {
                lease_ms: millis(self.lease),
                quarantine_after: self.quarantine_after,
                attempt_limit_ms: millis(self.attempt_limit),
            },
            capacity: CapacityRules {
                within_ms: millis(self.promise_deadline.saturating_sub(self.settle_margin)),
                proof_ms: self.proof_time.iter().map(|(shape, time)| (*shape, millis(*time))).collect(),
                grace_ms: millis(self.worker_grace),
                scale: self
                    .scale
                    .map(|scale| Scale { after_ms: millis(scale.within), max_workers: scale.max_workers }),
            },
            settlement: SettlementRules {
                resend_ms: millis(self.resend_after),
                bump_ms: millis(self.bump_after),
                bump_percent: self.bump_percent,
                max_fee: self.max_fee,
                max_batches_per_tx: self.max_batches_per_tx,
                max_gas_per_tx: self.max_gas_per_tx,
                max_in_flight: self.max_in_flight,
            },
            valid_for: self.valid_for,
            promise_deadline_s: self.promise_deadline.as_secs(),
            parallel: Parallel(on_all_cores),
        }
    }
}

fn on_all_cores(tasks: Vec<Task<'_>>) {
    rayon::scope(|scope| tasks.into_iter().for_each(|task| scope.spawn(|_| task())));
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_each_impossible_setting_is_named() {
        assert_eq!(Config::default().validate(), Ok(()));
        type Break = fn(&mut Config);
        fn scale(within: u64, max_workers: usize) -> Option<ScaleFromZero> {
            Some(ScaleFromZero { within: Duration::from_secs(within), max_workers })
        }
        let broken: [(&str, Break); 9] = [
            ("shapes", |c| c.shapes.clear()),
            ("min_amount", |c| c.min_amount = 0),
            ("promise_deadline", |c| c.promise_deadline = Duration::from_secs(3601)),
            ("settle_margin", |c| c.settle_margin = c.promise_deadline),
            ("max_workers", |c| c.scale = scale(60, 0)),
            ("scale_from_zero", |c| c.scale = scale(2_400, 4)),
            ("bump_percent", |c| c.bump_percent = 9),
            ("quarantine_after", |c| c.quarantine_after = 0),
            ("waiting_max", |c| c.waiting_max = 1),
        ];
        for (setting, breaks) in broken {
            let mut config = Config::default();
            breaks(&mut config);
            assert_eq!(config.validate().map_err(|error| error.setting), Err(setting));
        }
    }
}
