// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Groth16} from "./Groth16.sol";
import {PoseidonT3} from "./PoseidonT3.sol";
import {ProofmillState} from "./ProofmillState.sol";
import "./Types.sol";

/// @title A payment validium: ETH in coins numbered from 1, moved off chain in batches proven by Groth16
/// @notice Deposit, prove, withdraw, and the two queues that let a user in or out when the operator would not.
///
/// The rule of the house: the contract never takes the operator's word for what it can know itself. Every word a proof binds (D)
/// comes from storage or from calldata checked by type, lies in one array, and that array is both hashed and evaluated.
///
/// Invariant: balance >= quantum * (coins outstanding + coins not yet minted) + pending + fees + stake, with equality unless
/// somebody forces ETH on the contract. Nothing but these five moves ETH: `withdraw` and `withdrawFor` pay pending, `collectFees`
/// pays fees, and the surcharge of a forced request is burned as it comes in.
///
/// What has no penalty yet: an overdue queue can be seen (`depositOverdue`, `forcedOverdue`) but freezes nothing; promises cannot be
/// challenged; the stake cannot be slashed nor leave. There is no proxy and no upgrade.
contract Proofmill is ProofmillState {
    using Groth16 for address;

    uint256 private constant R = Groth16.R;
    uint64 private constant COIN_LIMIT = 1 << 63;
    uint8 private constant WITHDRAW = 2;
    uint8 private constant EXIT = 3;
    uint8 private constant REKEY = 4;
    /// Words of D before the mints; D[i] lies at i + 1 of its array, after h.
    uint256 private constant HEAD = 7;

    modifier onlyOperator() {
        if (msg.sender != operator) revert NotOperator(msg.sender);
        _;
    }

    constructor(Config memory config, Circuit[] memory list) {
        if (config.operator == address(0)) revert ConfigOutOfBounds("operator");
        if (config.quantum == 0 || config.quantum > MAX_QUANTUM) revert ConfigOutOfBounds("quantum");
        if (config.depositFeeBps > MAX_FEE_BPS) revert ConfigOutOfBounds("depositFeeBps");
        if (config.exitFeeBps > MAX_FEE_BPS) revert ConfigOutOfBounds("exitFeeBps");
        uint256 floorLimit = MAX_FEE_FLOOR / config.quantum;
        if (config.depositFeeFloor > floorLimit) revert ConfigOutOfBounds("depositFeeFloor");
        if (config.exitFeeFloor > floorLimit) revert ConfigOutOfBounds("exitFeeFloor");
        if (config.queueDelay == 0 || config.queueDelay > MAX_QUEUE_DELAY) revert ConfigOutOfBounds("queueDelay");
        if (config.queueSpacing > MAX_QUEUE_SPACING) revert ConfigOutOfBounds("queueSpacing");
        if (config.forceBaseFee > MAX_FORCE_FEE) revert ConfigOutOfBounds("forceBaseFee");
        if (config.forceSurchargeStep > MAX_FORCE_FEE) revert ConfigOutOfBounds("forceSurchargeStep");
        if (list.length == 0) revert ConfigOutOfBounds("circuits");

        operator = config.operator;
        quantum = config.quantum;
        depositFeeBps = config.depositFeeBps;
        depositFeeFloor = config.depositFeeFloor;
        exitFeeBps = config.exitFeeBps;
        exitFeeFloor = config.exitFeeFloor;
        queueDelay = config.queueDelay;
        queueSpacing = config.queueSpacing;
        forceBaseFee = config.forceBaseFee;
        forceSurchargeStep = config.forceSurchargeStep;
        uint256 separator = uint256(keccak256(abi.encode(keccak256("proofmill.domain.v1"), block.chainid, this))) % R;
        domain = separator == 0 ? 1 : separator;
        poseidon = new PoseidonT3();

        for (uint256 i = 0; i < list.length; i++) _addCircuit(list[i]);
        for (uint256 i = 0; i < config.promiseSigners.length; i++) _addPromiseSigner(config.promiseSigners[i]);
    }

    // ---------------------------------------------------------------------------------------------------------------- into the queues

    /// @notice Deposits `msg.value` for an account of `owner` that spends with the key behind `keyHash` (0: a vault only L1 opens).
    /// @dev Fee: max(floor, value * bps / 10^4) rounded up to whole coins. No deposit can be refused later.
    function deposit(address owner, uint256 keyHash) external payable returns (uint64 id) {
        if (owner == address(0)) revert ZeroAddress();
        if (msg.value % quantum != 0) revert ValueNotWhole(msg.value, quantum);
        uint256 coins = msg.value / quantum;
        uint256 feeCoins = (coins * depositFeeBps + 9_999) / 10_000;
        if (feeCoins < depositFeeFloor) feeCoins = depositFeeFloor;
        if (coins <= feeCoins) revert DepositTooSmall(coins, feeCoins);
        uint256 last = uint256(depositedCoins) + coins - feeCoins;
        if (last >= COIN_LIMIT) revert CoinsExhausted();

        MintEntry memory entry;
        entry.account = _account(owner, keyHash);
        entry.low = depositedCoins + 1;
        entry.high = uint64(last);
        entry.depositor = msg.sender;
        entry.deadline = _deadline(lastDepositDeadline);
        id = depositCount;
        depositHash[id] = _hashDeposit(entry);
        depositCount = id + 1;
        lastDepositDeadline = entry.deadline;
        depositedCoins = entry.high;
        feesTotal += uint128(feeCoins * quantum);
        emit Deposited(id, owner, keyHash, entry.account, entry.low, entry.high, entry.depositor, entry.deadline);
    }

    /// @notice Asks that the leaf at `index`, if it is of the caller's account with this key, leaves to the caller.
    /// @dev Costs `forceFee()`; what is sent beyond it is credited to the caller.
    function forceExit(uint64 index, uint256 keyHash) external payable returns (uint64 id) {
        return _force(EXIT, index, _account(msg.sender, keyHash), 0);
    }

    /// @notice Asks that the leaf at `index`, if it is of the caller's account with this key, goes to the caller's account with
    /// another key. Costs as `forceExit`.
    function forceRekey(uint64 index, uint256 keyHash, uint256 newKeyHash) external payable returns (uint64 id) {
        return _force(REKEY, index, _account(msg.sender, keyHash), _account(msg.sender, newKeyHash));
    }

    /// @notice Wei that a forced request costs now: the base fee, which pays the operator's work, and a surcharge that rises with
    /// the open requests and is burned (sent to the zero address), so that filling the queue costs the operator too.
    function forceFee() public view returns (uint256 base, uint256 surcharge) {
        return (forceBaseFee, forceSurchargeStep * (forcedCount - forcedUpTo));
    }

    function _force(uint8 kind, uint64 index, uint256 account, uint256 newAccount) private returns (uint64 id) {
        // Every batch starts at `next` or after it, so that the request can be proven in each forced slot of every later batch.
        if (index >= next) revert IndexNotAppended(index, next);
        (uint256 base, uint256 surcharge) = forceFee();
        if (msg.value < base + surcharge) revert ForceFeeTooLow(msg.value, base + surcharge);

        ForcedEntry memory entry =
            ForcedEntry(kind, index, account, newAccount, msg.sender, _deadline(lastForcedDeadline));
        id = forcedCount;
        forcedHash[id] = _hashForced(entry);
        forcedCount = id + 1;
        lastForcedDeadline = entry.deadline;
        feesTotal += uint128(base);
        emit ForcedRequested(id, kind, index, account, newAccount, msg.sender, entry.deadline);

        uint256 excess = msg.value - base - surcharge;
        if (excess != 0) {
            pending[msg.sender] += excess;
            pendingTotal += uint128(excess);
            emit ExcessCredited(msg.sender, excess);
        }
        if (surcharge != 0) _pay(address(0), surcharge);
    }

    // ------------------------------------------------------------------------------------------------------------------------ batches

    /// @notice Moves the state by one proven batch: mints a prefix of the deposits, answers a prefix of the forced requests, credits
    /// every coin that leaves.
    /// @param proof A, B, C as (x, y), (x.c1, x.c0, y.c1, y.c0), (x, y).
    function submitBatch(Batch calldata batch, uint256[8] calldata proof) external onlyOperator {
        Statement memory statement = _move(batch);
        if (!statement.key.verify(proof, statement.h, statement.c, statement.e)) revert ProofRejected(batchNo);
    }

    /// @notice Moves the state by several proven batches in their order, each as `submitBatch` would, or not at all.
    /// @dev The proofs are verified last and together, grouped by key: k proofs of one key take k + 3 pairings. Nothing outside this
    /// contract runs in between, so that no one sees a state that is not proven yet.
    function submitBatches(Batch[] calldata batches, uint256[8][] calldata proofs) external onlyOperator {
        uint256 count = batches.length;
        if (count == 0) revert NoBatches();
        if (count != proofs.length) revert ProofsUnequal(count, proofs.length);
        uint32 before = batchNo;
        Statement[] memory statements = new Statement[](count);
        for (uint256 i = 0; i < count; i++) statements[i] = _move(batches[i]);
        (uint256 first, uint256 size) = Groth16.verifyAll(statements, proofs);
        if (size == 1) revert ProofRejected(before + 1 + uint32(first));
        if (size > 1) revert ProofsRejected(batches[first].circuit, before + 1 + uint32(first), size);
    }

    /// @dev Everything a batch does, and the statement that its proof must hold for. The caller verifies it or reverts.
    function _move(Batch calldata batch) private returns (Statement memory statement) {
        CircuitSlot memory circuit = circuits[batch.circuit];
        if (circuit.slots == 0) revert UnknownCircuit(batch.circuit);
        uint64 end = _checkPlace(batch.start, circuit.slots + circuit.mintPlaces);
        uint32 number = batchNo + 1;

        uint256[] memory data = _layHead(batch, circuit, number);
        (uint64 minted, uint64 coins) = _layMints(batch.mints, circuit.mintPlaces, data);
        uint64 answered = _layRecords(batch, circuit, data);
        (uint256 c, uint256 e) = _challenge(data);
        statement = Statement(circuit.key, batch.h, c, e);

        batchNo = number;
        next = end;
        mintedUpTo = minted;
        mintedCoins = coins;
        forcedUpTo = answered;
        root = batch.newRoot;
        history[number] = keccak256(
            abi.encode(batch.midRoot, batch.newRoot, batch.start, minted, _hashRecords(data, batch.records.length))
        );
        emit BatchAccepted(number, batch.circuit, batch.midRoot, batch.newRoot, batch.start, end, minted, answered);
        _credit(batch, data, number);
    }

    /// @dev Places are never used twice: `start >= next` is what stops a replay into a place that was emptied.
    function _checkPlace(uint64 start, uint64 size) private view returns (uint64 end) {
        if (start < next || start - next >= START_WINDOW) revert StartOutOfWindow(start, next);
        if (start % size != 0) revert StartNotAligned(start, size);
        end = start + size;
        if (end > CAPACITY) revert TreeFull(start, size);
    }

    /// @dev The array of D with h before it, so that one keccak covers both. Mint places not filled later stay (0, 0).
    function _layHead(Batch calldata batch, CircuitSlot memory circuit, uint32 number)
        private
        view
        returns (uint256[] memory data)
    {
        uint256 records = batch.records.length;
        uint256 limit = circuit.slots < MAX_RECORDS ? circuit.slots : MAX_RECORDS;
        if (records > limit) revert TooManyRecords(records, limit);
        data = new uint256[](1 + HEAD + 2 * uint256(circuit.mintPlaces) + 3 * records);
        data[0] = _inField(batch.h);
        data[1] = batch.circuit;
        data[2] = domain;
        data[3] = number;
        data[4] = root;
        data[5] = _inField(batch.midRoot);
        data[6] = _inField(batch.newRoot);
        data[7] = batch.start;
    }

    /// @dev Mints are the next deposits in order: each preimage must give the stored hash of its id.
    function _layMints(MintEntry[] calldata mints, uint256 limit, uint256[] memory data)
        private
        view
        returns (uint64 minted, uint64 coins)
    {
        if (mints.length > limit) revert TooManyMints(mints.length, limit);
        (minted, coins) = (mintedUpTo, mintedCoins);
        for (uint256 i = 0; i < mints.length; i++) {
            MintEntry memory entry = mints[i];
            if (depositHash[minted] != _hashDeposit(entry)) revert DepositMismatch(minted);
            data[1 + HEAD + 2 * i] = entry.account;
            data[2 + HEAD + 2 * i] = _range(entry.low, entry.high);
            coins = entry.high;
            minted++;
        }
    }

    /// @dev One record of three words for each withdraw or forced slot. Forced ones are the next requests in order, and only the hit
    /// bit (and with it an exit's range) is the prover's to tell.
    function _layRecords(Batch calldata batch, CircuitSlot memory circuit, uint256[] memory data)
        private
        view
        returns (uint64 answered)
    {
        answered = forcedUpTo;
        ForcedEntry[] calldata forced = batch.forced;
        {
            uint256 limit = circuit.slots < 8 ? 1 : circuit.slots / 8;
            if (forced.length > limit) revert TooManyForced(forced.length, limit);
        }
        uint256[3][] calldata records = batch.records;
        uint256 first = _firstRecord(data, records.length);
        assembly ("memory-safe") {
            calldatacopy(first, records.offset, mul(96, records.length))
        }
        uint256 minted = mintedCoins;
        uint256 used = 0;
        for (uint256 i = 0; i < records.length; i++) {
            (uint256 tag, uint256 second, uint256 third) = _record(first, i);
            if (tag == WITHDRAW) {
                if (second == 0 || second >> 160 != 0) revert BadOwner(i, second);
                _checkRange(i, third, minted);
            } else {
                if (tag & 0xf != EXIT && tag & 0xf != REKEY) revert UnknownRecord(i, tag);
                if (used == forced.length) revert ForcedEntriesUnequal(used + 1, forced.length);
                ForcedEntry memory entry = forced[used];
                if (forcedHash[answered] != _hashForced(entry)) revert ForcedMismatch(answered);
                _checkForced(i, entry, tag, second, third, minted);
                used++;
                answered++;
            }
        }
        if (used != forced.length) revert ForcedEntriesUnequal(used, forced.length);
    }

    /// @dev Where the records begin in memory: they are the last words of D.
    function _firstRecord(uint256[] memory data, uint256 records) private pure returns (uint256 first) {
        assembly ("memory-safe") {
            first := add(add(data, 32), shl(5, sub(mload(data), mul(3, records))))
        }
    }

    function _record(uint256 first, uint256 i) private pure returns (uint256 tag, uint256 second, uint256 third) {
        assembly ("memory-safe") {
            let at := add(first, mul(96, i))
            tag := mload(at)
            second := mload(add(at, 32))
            third := mload(add(at, 64))
        }
    }

    function _checkForced(
        uint256 position,
        ForcedEntry memory entry,
        uint256 tag,
        uint256 second,
        uint256 third,
        uint256 minted
    ) private pure {
        uint256 hit = (tag >> 4) & 1;
        if (tag != entry.kind + 16 * hit + 256 * uint256(entry.index) || second != entry.account) {
            revert ForcedRecordMismatch(position);
        }
        if (entry.kind == EXIT && hit == 1) _checkRange(position, third, minted);
        // No hit: an exit moves nothing. A re-key shows the requested account either way; newAccount of an exit is 0.
        else if (third != entry.newAccount) revert ForcedRecordMismatch(position);
    }

    /// @dev A coin that leaves was minted before this batch, since a mint cannot be spent in its own batch.
    function _checkRange(uint256 position, uint256 range, uint256 minted) private pure {
        (uint256 low, uint256 high) = (range >> 64, uint64(range));
        if (low == 0 || low > high || high > minted) revert BadRange(position, range);
    }

    /// @dev c = keccak256(h, D) mod r and e = sum of D[i] c^i over the same array.
    function _challenge(uint256[] memory data) private pure returns (uint256 c, uint256 e) {
        uint256 r = R;
        assembly ("memory-safe") {
            let first := add(data, 64)
            let word := add(data, shl(5, mload(data)))
            c := mod(keccak256(add(data, 32), shl(5, mload(data))), r)
            for {} iszero(lt(word, first)) { word := sub(word, 32) } { e := addmod(mulmod(e, c, r), mload(word), r) }
        }
    }

    function _hashRecords(uint256[] memory data, uint256 records) private pure returns (bytes32 digest) {
        uint256 first = _firstRecord(data, records);
        assembly ("memory-safe") {
            digest := keccak256(first, mul(96, records))
        }
    }

    /// @dev Fee: min(amount, max(floor, amount * bps / 10^4)), so that no range makes a batch revert.
    function _credit(Batch calldata batch, uint256[] memory data, uint32 number) private {
        uint256 records = batch.records.length;
        uint256 first = _firstRecord(data, records);
        uint256 exited = 0;
        uint256 credited = 0;
        uint256 used = 0;
        for (uint256 i = 0; i < records; i++) {
            (uint256 tag, uint256 second, uint256 range) = _record(first, i);
            address owner = address(uint160(second));
            if (tag != WITHDRAW) {
                owner = batch.forced[used++].owner;
                if (tag & 0x1f != EXIT + 16) continue;
            }
            (uint64 low, uint64 high) = (uint64(range >> 64), uint64(range));
            uint256 amount = uint256(high) - low + 1;
            uint256 net = _lessExitFee(amount) * quantum;
            pending[owner] += net;
            exited += amount;
            credited += net;
            emit Credited(owner, number, net, low, high, uint8(tag & 0xf));
        }
        if (exited != 0) {
            exitedCoins += uint64(exited);
            pendingTotal += uint128(credited);
            feesTotal += uint128(exited * quantum - credited);
        }
    }

    /// @dev An amount is below 2^63 and bps at most 100.
    function _lessExitFee(uint256 amount) private view returns (uint256) {
        unchecked {
            uint256 fee = (amount * exitFeeBps) / 10_000;
            if (fee < exitFeeFloor) fee = exitFeeFloor;
            return fee < amount ? amount - fee : 0;
        }
    }

    // ----------------------------------------------------------------------------------------------------------------------- payments

    /// @notice Pays the caller's credited wei to `to`.
    function withdraw(address payable to) external {
        _collect(msg.sender, to);
    }

    /// @notice Pays an owner's credited wei to that owner; anybody may pay the gas.
    function withdrawFor(address owner) external {
        _collect(owner, owner);
    }

    /// @notice Pays the operator's fees to `to`.
    function collectFees(address payable to) external onlyOperator {
        uint256 amount = feesTotal;
        if (to == address(0)) revert ZeroAddress();
        if (amount == 0) revert NothingPending(to);
        feesTotal = 0;
        emit FeesCollected(to, amount);
        _pay(to, amount);
    }

    /// @notice Adds to the operator's stake. No exit yet: stake stays until the rules of slashing are there.
    function depositStake() external payable {
        stakeTotal += uint128(msg.value);
        emit StakeAdded(msg.sender, msg.value);
    }

    /// @dev All state is written before ETH leaves, so that a payee who calls back finds nothing.
    function _collect(address owner, address to) private {
        uint256 amount = pending[owner];
        if (to == address(0)) revert ZeroAddress();
        if (amount == 0) revert NothingPending(owner);
        pending[owner] = 0;
        pendingTotal -= uint128(amount);
        emit Collected(owner, amount);
        _pay(to, amount);
    }

    function _pay(address to, uint256 amount) private {
        (bool paid,) = to.call{value: amount}("");
        if (!paid) revert PaymentFailed(to);
    }

    // ------------------------------------------------------------------------------------------------------------- keys and signers

    /// @notice Voids every directory entry the caller signed so far.
    function bumpKeyEpoch() external returns (uint32 epoch) {
        epoch = ++keyEpoch[msg.sender];
        emit KeyEpochBumped(msg.sender, epoch);
    }

    /// @notice Adds a signer of promises. The list only grows, so that no promise loses its signer.
    function addPromiseSigner(address signer) external onlyOperator {
        _addPromiseSigner(signer);
    }

    function _addPromiseSigner(address signer) private {
        if (signer == address(0)) revert ZeroAddress();
        isPromiseSigner[signer] = true;
        emit PromiseSignerAdded(signer);
    }

    function _addCircuit(Circuit memory circuit) private {
        uint256 size = uint256(circuit.slots) + circuit.mintPlaces;
        // A power of 4 up to 1024 has one bit, at an even place.
        bool power = size <= START_WINDOW && size & 0x555 == size && (size == 0 || size & (size - 1) == 0);
        if (circuit.slots == 0 || circuit.mintPlaces == 0 || !power) revert CircuitShape(circuit.number);
        if (circuits[circuit.number].slots != 0) revert CircuitTwice(circuit.number);
        if (circuit.devKey && block.chainid != 31337 && block.chainid != 1337) {
            revert DevKeyOnRealChain(circuit.number, block.chainid);
        }
        circuits[circuit.number] = CircuitSlot(Groth16.store(circuit), circuit.slots, circuit.mintPlaces);
        emit CircuitAdded(circuit.number, circuit.slots, circuit.mintPlaces, circuit.devKey, circuit.digest);
    }

    // ------------------------------------------------------------------------------------------------------------------------ helpers

    function _account(address owner, uint256 keyHash) private view returns (uint256) {
        return poseidon.hash(uint160(owner), _inField(keyHash));
    }

    /// @dev max(now + T, previous + spacing): a flood delays the entries behind it and never overloads the farm; deadlines only grow.
    function _deadline(uint64 previous) private view returns (uint64) {
        uint64 own = uint64(block.timestamp) + queueDelay;
        uint64 spaced = previous + queueSpacing;
        return own > spaced ? own : spaced;
    }

    function _inField(uint256 word) private pure returns (uint256) {
        if (word >= R) revert NotInField(word);
        return word;
    }
}
