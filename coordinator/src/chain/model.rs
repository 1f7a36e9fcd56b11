//! The contract's bookkeeping for stand-ins of a chain, in memory and in the simulator: numbers, places of the tree, queues.
//!
//! It checks no proof and moves no money. Whether a batch names the right entries of the queues is for the stand-in to say, which has
//! the blocks; the simulator checks every field and the proof, the chain in memory the numbers.

use bn254::Fr;
use circuits::{
    leaf::CoinRange,
    slot::ForcedKind,
    tree::{DEPTH, empty_root},
};
use protocol::{
    Address,
    l1::{BatchAccepted, ContractState, Deposit, ForcedRequest, Hash32, SubmitBatch},
};

/// The deadline of queue entries where nobody looks at the clock.
pub const DEADLINE: u64 = u64::MAX >> 1;
/// Leaves that a batch may leave out before its first one.
const MOST_SKIPPED: u64 = 1024;
/// Deposits and requests have no transactions here.
const NO_TX: Hash32 = [0; 32];

/// The contract after a block.
#[derive(Clone, Copy, Debug)]
pub struct ContractModel {
    pub state: ContractState,
    /// The last coin that a deposit made.
    pub coins: u64,
}

impl Default for ContractModel {
    fn default() -> Self {
        let state = ContractState {
            root: empty_root(DEPTH),
            batch_no: 0,
            next: 0,
            minted_up_to: 0,
            forced_up_to: 0,
            deposit_count: 0,
            forced_count: 0,
        };
        Self { state, coins: 0 }
    }
}

impl ContractModel {
    /// Queues a deposit; nothing where the coins do not fit.
    pub fn deposit(
        &mut self,
        owner: Address,
        key_hash: Fr,
        account: Fr,
        coins: u64,
        deadline: u64,
        block: u64,
    ) -> Option<Deposit> {
        let range = CoinRange::new(self.coins + 1, self.coins + coins).ok()?;
        self.coins += coins;
        let id = self.state.deposit_count;
        self.state.deposit_count += 1;
        Some(Deposit { id, owner, key_hash, account, range, depositor: owner, deadline, block, tx: NO_TX })
    }

    /// Queues a forced request.
    pub fn force(
        &mut self,
        kind: ForcedKind,
        index: u64,
        account: Fr,
        new_account: Fr,
        owner: Address,
        block: u64,
    ) -> ForcedRequest {
        let id = self.state.forced_count;
        self.state.forced_count += 1;
        let deadline = DEADLINE;
        ForcedRequest { id, kind, index, account, new_account, owner, deadline, block, tx: NO_TX }
    }
}

/// The contract after a batch whose queue entries and proof are right.
///
/// # Errors
/// The name of the rule that the batch breaks.
pub fn after(contract: &ContractState, batch: &SubmitBatch) -> Result<ContractState, String> {
    let leaves = batch.shape.places() as u64;
    if batch.batch_no != contract.batch_no + 1 {
        return Err(format!("WrongBatch({}, {})", batch.batch_no, contract.batch_no + 1));
    }
    let aligned = batch.start.is_multiple_of(leaves);
    if batch.start < contract.next || !aligned || batch.start >= contract.next + MOST_SKIPPED {
        return Err(format!("WrongStart({})", batch.start));
    }
    Ok(ContractState {
        root: batch.new_root,
        batch_no: batch.batch_no,
        next: batch.start + leaves,
        minted_up_to: contract.minted_up_to + batch.mints.len() as u64,
        forced_up_to: contract.forced_up_to + batch.forced.len() as u64,
        ..*contract
    })
}

/// The event of a batch that brought the contract to this state.
pub fn accepted(batch: &SubmitBatch, contract: &ContractState, block: u64, tx: Hash32) -> BatchAccepted {
    BatchAccepted {
        batch_no: batch.batch_no,
        shape: batch.shape,
        mid_root: batch.mid_root,
        new_root: batch.new_root,
        start: batch.start,
        next: contract.next,
        minted_up_to: contract.minted_up_to,
        forced_up_to: contract.forced_up_to,
        block,
        tx,
    }
}
