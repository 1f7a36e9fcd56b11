// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Groth16} from "./Groth16.sol";
import {PoseidonT3} from "./PoseidonT3.sol";
import "./Types.sol";

/// @title What Proofmill remembers and tells: settings, state, events and views. The rules are in Proofmill.sol
abstract contract ProofmillState {
    /// @notice Places of the tree: 4^18.
    uint64 public constant CAPACITY = 1 << 36;
    /// @notice Records in one batch, so that every provable batch fits a transaction of 16.7M gas (EIP-7825).
    uint256 public constant MAX_RECORDS = 256;
    /// @notice How far a batch may leave places empty.
    uint64 public constant START_WINDOW = 1024;
    /// @notice Upper bounds of the fee settings: 1 %, 0.01 ETH at least, 0.1 ETH for a forced request and per step of its surcharge.
    uint16 public constant MAX_FEE_BPS = 100;
    uint256 public constant MAX_FEE_FLOOR = 0.01 ether;
    uint256 public constant MAX_FORCE_FEE = 0.1 ether;
    /// @notice Upper bounds of a coin, of the time an entry may wait, and of the spacing of deadlines.
    uint64 public constant MAX_QUANTUM = 0.001 ether;
    uint32 public constant MAX_QUEUE_DELAY = 30 days;
    uint32 public constant MAX_QUEUE_SPACING = 1 hours;
    /// @notice Root of the empty tree: Z0 = 0, Z(k+1) = P4(Zk, Zk, Zk, Zk), k = 18. Printed by poseidon.mjs.
    uint256 public constant EMPTY_ROOT = 10324093790923573694809336500321329393818462535542594560181580445522306007833;

    struct CircuitSlot {
        address key;
        uint32 slots;
        uint32 mintPlaces;
    }

    address public immutable operator;
    uint64 public immutable quantum;
    uint16 public immutable depositFeeBps;
    uint64 public immutable depositFeeFloor;
    uint16 public immutable exitFeeBps;
    uint64 public immutable exitFeeFloor;
    uint32 public immutable queueDelay;
    uint32 public immutable queueSpacing;
    uint256 public immutable forceBaseFee;
    uint256 public immutable forceSurchargeStep;
    /// @notice keccak256(abi.encode(keccak256("proofmill.domain.v1"), chain id, this contract)) mod r: part of every message and of D.
    uint256 public immutable domain;
    PoseidonT3 public immutable poseidon;

    /// @notice Number of the last accepted batch; 0 before the first.
    uint32 public batchNo;
    /// @notice First place of the tree that no batch has passed.
    uint64 public next;
    /// @notice Deposits minted and forced requests answered: each a prefix of its queue, ids start at 0.
    uint64 public mintedUpTo;
    uint64 public forcedUpTo;

    uint64 public depositCount;
    uint64 public lastDepositDeadline;
    /// @notice Coins ever deposited; they carry the numbers 1..=depositedCoins.
    uint64 public depositedCoins;

    uint64 public forcedCount;
    uint64 public lastForcedDeadline;

    /// @notice Coins ever minted (the numbers 1..=mintedCoins) and coins that left by withdrawal or forced exit.
    uint64 public mintedCoins;
    uint64 public exitedCoins;
    uint128 public feesTotal;

    uint128 public pendingTotal;
    uint128 public stakeTotal;

    uint256 public root = EMPTY_ROOT;

    /// @notice keccak256(abi.encode(account, low * 2^64 + high, depositor, deadline)); kept after minting as a proof of ownership.
    mapping(uint64 id => bytes32) public depositHash;
    /// @notice keccak256(abi.encode(kind, index, account, newAccount, owner, deadline)).
    mapping(uint64 id => bytes32) public forcedHash;
    /// @notice keccak256(abi.encode(midRoot, newRoot, start, mintedUpTo, keccak256(record words))).
    mapping(uint32 batch => bytes32) public history;
    /// @notice Wei that an owner can collect.
    mapping(address owner => uint256) public pending;
    /// @notice Directory entries of another epoch are void.
    mapping(address owner => uint32) public keyEpoch;
    mapping(address signer => bool) public isPromiseSigner;
    mapping(uint32 number => CircuitSlot) internal circuits;

    event CircuitAdded(uint32 indexed number, uint32 slots, uint32 mintPlaces, bool devKey, bytes32 digest);
    event PromiseSignerAdded(address indexed signer);
    event Deposited(
        uint256 indexed id,
        address indexed owner,
        uint256 keyHash,
        uint256 account,
        uint64 low,
        uint64 high,
        address depositor,
        uint64 deadline
    );
    event ForcedRequested(
        uint256 indexed id,
        uint8 kind,
        uint64 index,
        uint256 account,
        uint256 newAccount,
        address indexed owner,
        uint64 deadline
    );
    event BatchAccepted(
        uint32 indexed batchNo,
        uint32 circuit,
        uint256 midRoot,
        uint256 newRoot,
        uint64 start,
        uint64 next,
        uint64 mintedUpTo,
        uint64 forcedUpTo
    );
    event Credited(
        address indexed owner, uint32 indexed batchNo, uint256 amountWei, uint64 low, uint64 high, uint8 kind
    );
    event ExcessCredited(address indexed owner, uint256 amountWei);
    event Collected(address indexed owner, uint256 amountWei);
    event FeesCollected(address indexed to, uint256 amountWei);
    event StakeAdded(address indexed from, uint256 amountWei);
    event KeyEpochBumped(address indexed owner, uint32 keyEpoch);

    // -------------------------------------------------------------------------------------------------------------------------- views

    /// @notice What a coordinator compares before it sends a batch, read in one call.
    function state() external view returns (ChainState memory) {
        return ChainState(batchNo, next, mintedUpTo, forcedUpTo, depositCount, forcedCount, root);
    }

    /// @notice A circuit with its key and digest as the contract uses them.
    function circuitInfo(uint32 number)
        external
        view
        returns (uint32 slots, uint32 mintPlaces, bytes32 digest, VerifyingKey memory key)
    {
        CircuitSlot memory slot = circuits[number];
        if (slot.slots == 0) revert UnknownCircuit(number);
        (key, digest) = Groth16.load(slot.key);
        return (slot.slots, slot.mintPlaces, digest, key);
    }

    /// @notice Coins in the tree, and coins deposited that no batch has minted.
    function coinCounts() external view returns (uint64 outstanding, uint64 unminted) {
        return (mintedCoins - exitedCoins, depositedCoins - mintedCoins);
    }

    /// @notice Wei the contract owes: coins, credited withdrawals, fees and stake.
    function liabilities() external view returns (uint256) {
        return uint256(quantum) * (depositedCoins - exitedCoins) + pendingTotal + feesTotal + stakeTotal;
    }

    /// @notice Whether the head of the deposit queue is past its deadline. The entry must be that head.
    function depositOverdue(MintEntry calldata entry) external view returns (bool) {
        if (depositHash[mintedUpTo] != _hashDeposit(entry)) revert DepositMismatch(mintedUpTo);
        return block.timestamp > entry.deadline;
    }

    /// @notice Whether the head of the forced queue is past its deadline. The entry must be that head.
    function forcedOverdue(ForcedEntry calldata entry) external view returns (bool) {
        if (forcedHash[forcedUpTo] != _hashForced(entry)) revert ForcedMismatch(forcedUpTo);
        return block.timestamp > entry.deadline;
    }

    function _hashDeposit(MintEntry memory entry) internal pure returns (bytes32) {
        return keccak256(abi.encode(entry.account, _range(entry.low, entry.high), entry.depositor, entry.deadline));
    }

    function _hashForced(ForcedEntry memory entry) internal pure returns (bytes32) {
        return keccak256(abi.encode(entry));
    }

    function _range(uint64 low, uint64 high) internal pure returns (uint256) {
        return (uint256(low) << 64) | high;
    }
}
