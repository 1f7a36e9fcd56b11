// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// @notice What is fixed when the contract is deployed.
struct Config {
    /// The only account that submits batches, names promise signers and collects fees.
    address operator;
    /// Wei in one coin.
    uint64 quantum;
    /// Deposit fee in 1/10^4 of the value and its least amount in coins.
    uint16 depositFeeBps;
    uint64 depositFeeFloor;
    /// Fee of withdrawals and forced exits in 1/10^4 of the amount and its least amount in coins.
    uint16 exitFeeBps;
    uint64 exitFeeFloor;
    /// T: seconds an entry of a queue may wait. Spacing: least seconds between two deadlines of one queue.
    uint32 queueDelay;
    uint32 queueSpacing;
    /// Wei a forced request pays the operator for its work, and the step of the surcharge that is burned: step * open requests.
    uint256 forceBaseFee;
    uint256 forceSurchargeStep;
    /// Accounts that sign promises at the start; the operator may add more, nobody removes one.
    address[] promiseSigners;
}

/// @notice A circuit and its Groth16 key. G1 points are (x, y), G2 points (x.c1, x.c0, y.c1, y.c0) as in EIP-197.
struct Circuit {
    uint32 number;
    /// N spend slots and M mint places; N + M is a power of 4.
    uint32 slots;
    uint32 mintPlaces;
    /// The key comes from a public seed: anybody can forge proofs. Accepted on development chains only.
    bool devKey;
    bytes32 digest;
    VerifyingKey key;
}

struct VerifyingKey {
    uint256[2] alpha;
    uint256[4] beta;
    uint256[4] gamma;
    uint256[4] delta;
    /// The points of the constant 1 and of the public inputs h, c, e.
    uint256[8] ic;
}

/// @notice A deposit as its stored hash binds it.
struct MintEntry {
    uint256 account;
    uint64 low;
    uint64 high;
    address depositor;
    uint64 deadline;
}

/// @notice A forced request as its stored hash binds it.
struct ForcedEntry {
    /// 3 exit, 4 re-key.
    uint8 kind;
    uint64 index;
    uint256 account;
    /// Of a re-key, else 0.
    uint256 newAccount;
    /// Who asked; an exit credits this account.
    address owner;
    uint64 deadline;
}

struct Batch {
    uint32 circuit;
    uint64 start;
    uint256 midRoot;
    uint256 newRoot;
    /// The circuit's commitment to D.
    uint256 h;
    /// The next deposits, in order.
    MintEntry[] mints;
    /// One for each withdraw or forced slot, in slot order, as the three words that stand in D.
    uint256[3][] records;
    /// The next forced requests, in order: one for each forced record.
    ForcedEntry[] forced;
}

/// @notice What a proof must hold for: the public inputs under the key at an address (see Groth16.sol).
struct Statement {
    address key;
    uint256 h;
    uint256 c;
    uint256 e;
}

/// @notice The counters and the root of ProofmillState, together.
struct ChainState {
    uint32 batchNo;
    uint64 next;
    uint64 mintedUpTo;
    uint64 forcedUpTo;
    uint64 depositCount;
    uint64 forcedCount;
    uint256 root;
}

// Constructor
error ConfigOutOfBounds(string field);
error CircuitShape(uint32 number);
error CircuitTwice(uint32 number);
error DevKeyOnRealChain(uint32 number, uint256 chainId);
error DegenerateKey(uint32 number);
error BadKeyPoint(uint32 number, string point);

// Queues
error ZeroAddress();
error NotInField(uint256 word);
error ValueNotWhole(uint256 value, uint256 quantum);
error DepositTooSmall(uint256 coins, uint256 feeCoins);
error CoinsExhausted();
error IndexNotAppended(uint64 index, uint64 next);
error ForceFeeTooLow(uint256 sent, uint256 required);

// Batches
error NotOperator(address caller);
error UnknownCircuit(uint32 circuit);
error StartOutOfWindow(uint64 start, uint64 next);
error StartNotAligned(uint64 start, uint64 size);
error TreeFull(uint64 start, uint64 size);
error TooManyMints(uint256 given, uint256 limit);
error TooManyRecords(uint256 given, uint256 limit);
error TooManyForced(uint256 given, uint256 limit);
error DepositMismatch(uint64 id);
error ForcedMismatch(uint64 id);
error ForcedEntriesUnequal(uint256 records, uint256 entries);
error ForcedRecordMismatch(uint256 position);
error UnknownRecord(uint256 position, uint256 tag);
error BadOwner(uint256 position, uint256 owner);
error BadRange(uint256 position, uint256 range);
error ProofRejected(uint32 batchNo);
error NoBatches();
error ProofsUnequal(uint256 batches, uint256 proofs);
/// Of `count` proofs under the key of `circuit`, the first of which is of `firstBatch`, at least one does not hold.
error ProofsRejected(uint32 circuit, uint32 firstBatch, uint256 count);

// Payments
error NothingPending(address owner);
error PaymentFailed(address to);
