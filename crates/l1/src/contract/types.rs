//! What goes into the contract and comes out of it.

use bn254::{Fr, PrimeField};

use crate::contract::key::VerifyingKey;

/// A 20-byte Ethereum address.
pub type Address = [u8; 20];
/// A 32-byte big-endian EVM word.
pub type Word = [u8; 32];

/// Settings fixed at deployment; bounds are checked by the contract's constructor (`ConfigOutOfBounds` names the field).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The only account that submits batches.
    pub operator: Address,
    /// Wei in one coin; at most 0.001 ETH.
    pub quantum: u64,
    /// Deposit fee in 1/10^4 of the value, at most 100.
    pub deposit_fee_bps: u16,
    /// Least deposit fee in coins, at most 0.01 ETH.
    pub deposit_fee_floor: u64,
    /// Withdrawal and forced-exit fee in 1/10^4 of the amount, at most 100.
    pub exit_fee_bps: u16,
    /// Least withdrawal fee in coins, at most 0.01 ETH.
    pub exit_fee_floor: u64,
    /// Seconds a queue entry may wait, 1 to 30 days.
    pub queue_delay: u32,
    /// Least seconds between two deadlines of a queue, at most one hour.
    pub queue_spacing: u32,
    /// Wei of a forced request, at most 0.1 ETH.
    pub force_base_fee: u128,
    /// Wei burned per open forced request when another comes in, at most 0.1 ETH.
    pub force_surcharge_step: u128,
    /// Accounts whose promises wallets accept.
    pub promise_signers: Vec<Address>,
}

impl Config {
    /// Defaults: coins of 1 gwei, 0.1 % fees with a floor of 10,000 coins (10^-5 ETH), queues of three days with
    /// deadlines 10 seconds apart, forced requests from 0.001 ETH rising by 0.0001 ETH per open request.
    pub fn new(operator: Address) -> Self {
        Self {
            operator,
            quantum: 1_000_000_000,
            deposit_fee_bps: 10,
            deposit_fee_floor: 10_000,
            exit_fee_bps: 10,
            exit_fee_floor: 10_000,
            queue_delay: 3 * 24 * 3600,
            queue_spacing: 10,
            force_base_fee: 1_000_000_000_000_000,
            force_surcharge_step: 100_000_000_000_000,
            promise_signers: vec![operator],
        }
    }

    /// Coins that arrive when `coins` are deposited, or `None` when the fee leaves none.
    pub fn coins_after_deposit(&self, coins: u64) -> Option<u64> {
        let share = (u128::from(coins) * u128::from(self.deposit_fee_bps)).div_ceil(10_000);
        let fee = share.max(u128::from(self.deposit_fee_floor));
        let rest = u128::from(coins).checked_sub(fee)?;
        u64::try_from(rest).ok().filter(|&rest| rest > 0)
    }

    /// Coins credited when `coins` leave: `coins - min(coins, max(floor, coins * bps / 10^4))`.
    pub fn coins_after_exit(&self, coins: u64) -> u64 {
        let share = u128::from(coins) * u128::from(self.exit_fee_bps) / 10_000;
        let fee = share.max(u128::from(self.exit_fee_floor));
        u64::try_from(u128::from(coins).saturating_sub(fee)).unwrap_or(0)
    }
}

/// A circuit that the contract is deployed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitKey {
    /// The circuit's number, the first word of D.
    pub number: u32,
    /// Spend slots N.
    pub slots: u32,
    /// Mint places M; N + M is a power of 4.
    pub mint_places: u32,
    /// Whether the key comes from a public seed; such a key is refused on any chain id but 31337 and 1337.
    pub dev_key: bool,
    /// Digest of the circuit's matrices.
    pub digest: Word,
    /// The Groth16 key for the inputs (h, c, e).
    pub key: VerifyingKey,
}

/// A deposit, as its hash on chain binds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MintEntry {
    /// P2(owner, keyHash).
    pub account: Fr,
    /// First coin.
    pub low: u64,
    /// Last coin.
    pub high: u64,
    /// Who paid.
    pub depositor: Address,
    /// Unix seconds by which it must be minted.
    pub deadline: u64,
}

/// What a forced request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForcedKind {
    /// The leaf leaves to its owner.
    Exit,
    /// The leaf goes to another account of the same owner.
    Rekey,
}

impl ForcedKind {
    /// The kind's number in D and in the stored hash.
    pub fn number(self) -> u8 {
        match self {
            Self::Exit => 3,
            Self::Rekey => 4,
        }
    }
}

/// A forced request, as its hash on chain binds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForcedEntry {
    /// What is asked.
    pub kind: ForcedKind,
    /// Place of the leaf.
    pub index: u64,
    /// Account the leaf must be of.
    pub account: Fr,
    /// Account after a re-key, 0 for an exit.
    pub new_account: Fr,
    /// Who asked and is credited by an exit.
    pub owner: Address,
    /// Unix seconds by which it must be answered.
    pub deadline: u64,
}

/// What L1 sees of a withdraw or forced slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Coins low..=high leave to `owner`.
    Withdraw {
        /// Who is credited.
        owner: Address,
        /// First coin.
        low: u64,
        /// Last coin.
        high: u64,
    },
    /// A forced exit; `hit` is the range that leaves, or `None` where the leaf was not of that account.
    Exit {
        /// The request.
        entry: ForcedEntry,
        /// Range of the leaf.
        hit: Option<(u64, u64)>,
    },
    /// A forced re-key.
    Rekey {
        /// The request.
        entry: ForcedEntry,
        /// Whether the leaf was of that account.
        hit: bool,
    },
}

impl Record {
    /// The three words of D.
    pub fn words(&self) -> [Fr; 3] {
        let tag = |entry: &ForcedEntry, hit: bool| {
            let low = u64::from(entry.kind.number()) + 16 * u64::from(hit);
            Fr::from(low) + Fr::from(256) * Fr::from(entry.index)
        };
        match self {
            Self::Withdraw { owner, low, high } => {
                [Fr::from(2), address_word(owner), range_word(*low, *high)]
            }
            Self::Exit { entry, hit } => {
                let range = hit.map_or(Fr::from(0), |(low, high)| range_word(low, high));
                [tag(entry, hit.is_some()), entry.account, range]
            }
            Self::Rekey { entry, hit } => [tag(entry, *hit), entry.account, entry.new_account],
        }
    }

    /// The queue entry behind a forced record.
    pub fn forced(&self) -> Option<&ForcedEntry> {
        match self {
            Self::Withdraw { .. } => None,
            Self::Exit { entry, .. } | Self::Rekey { entry, .. } => Some(entry),
        }
    }
}

/// What the operator submits beside the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Number of the circuit.
    pub circuit: u32,
    /// Place of the first output, a multiple of N + M.
    pub start: u64,
    /// Root after appending.
    pub mid_root: Fr,
    /// Root after spending.
    pub new_root: Fr,
    /// The circuit's commitment to D.
    pub h: Fr,
    /// The next deposits, in order; at most M.
    pub mints: Vec<MintEntry>,
    /// One for each withdraw or forced slot, in slot order; at most 256.
    pub records: Vec<Record>,
}

/// Counters and root of the contract, read in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainState {
    /// Number of the last accepted batch.
    pub batch_no: u32,
    /// First place that no batch has passed.
    pub next: u64,
    /// Deposits minted.
    pub minted_up_to: u64,
    /// Forced requests answered.
    pub forced_up_to: u64,
    /// Deposits made.
    pub deposit_count: u64,
    /// Forced requests made.
    pub forced_count: u64,
    /// Current root.
    pub root: Fr,
}

/// `low * 2^64 + high`.
pub fn range_word(low: u64, high: u64) -> Fr {
    Fr::from_u128((u128::from(low) << 64) | u128::from(high))
}

/// An address as a word of D.
pub fn address_word(address: &Address) -> Fr {
    let mut repr = [0u8; 32];
    for (to, from) in repr.iter_mut().zip(address.iter().rev()) {
        *to = *from;
    }
    // 160 bits are below r.
    Option::from(Fr::from_repr(repr.into())).unwrap_or_default()
}
