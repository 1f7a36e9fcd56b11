//! What a wallet refuses, and what it says when it does not know. Codes are stable.
//!
//! Invariant: after a request or a transaction may have left the house, no sentence here advises anything that could pay twice.

use std::path::PathBuf;

use protocol::{Address, checksummed};

/// A refusal, or what is not known. The sentence of each says what happened and what to do; its fields are what it names.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    #[error(
        "PM-WALLET-002: {reason}; operation {operation} may have been accepted: do not repeat it. What came back is kept in {}; \
         ask again with `proofmill wallet status {operation}`", .evidence.display()
    )]
    BadPromise { reason: String, operation: String, evidence: PathBuf },
    #[error(
        "PM-WALLET-003: it is unknown whether operation {operation} was accepted ({cause}); do not pay in another way. The same \
         command again, or `proofmill wallet resume`, sends the same signed request, which cannot pay twice; \
         `proofmill wallet status {operation}` only asks"
    )]
    Unknown { operation: String, cause: String },
    #[error(
        "PM-WALLET-004: operation {operation} was accepted, do not repeat it; {cause}; look again with \
         `proofmill wallet status {operation}`"
    )]
    AcceptedBut { operation: String, cause: String },
    #[error(
        "PM-WALLET-005: another command of this wallet is at work ({}); wait for it, or try again", .0.display()
    )]
    Locked(PathBuf),
    #[error(
        "PM-WALLET-006: this wallet used the idempotency key '{key}' for another operation ({what}, {operation}); take a new key \
         for a new operation"
    )]
    KeyReused { key: String, what: String, operation: String },
    #[error(
        "PM-WALLET-007: transaction 0x{hash} (nonce {nonce}: {what}) has no receipt yet ({cause}); it may still be mined. The same \
         command again waits for it and makes no second one. Only if you know that it never will be, because you sent another \
         transaction with nonce {nonce}: `proofmill wallet forget 0x{hash}`"
    )]
    NoReceipt { hash: String, nonce: u64, what: String, cause: String },
    #[error(
        "PM-WALLET-008: PROOFMILL_WALLET_KEY is the key of {}, the wallet file {} is of {}; unset the variable, or name that \
         key's wallet with --wallet", checksummed(.variable), .file.display(), checksummed(.owner)
    )]
    OtherKey { variable: Address, file: PathBuf, owner: Address },
    #[error(
        "PM-WALLET-009: the node is of chain {found}, this wallet of chain {expected}; name another node with --rpc"
    )]
    OtherChain { found: u64, expected: u64 },
    #[error(
        "PM-WALLET-010: the coordinator works for the contract {}, this wallet for {}; name another coordinator with --api",
        checksummed(.found), checksummed(.expected)
    )]
    OtherContract { found: Address, expected: Address },
    #[error(
        "PM-WALLET-011: {reason}; this contract is not to be trusted with money: ask the operator for the right address"
    )]
    Contract { reason: String },
    #[error("PM-WALLET-012: the coordinator's answer is not true: {0}; nothing was done with it, report it")]
    Answer(String),
    #[error("PM-WALLET-013: {reason}; nothing was written, {} is as it was", .out.display())]
    NotExported { reason: String, out: PathBuf },
    #[error("PM-WALLET-014: {0}")]
    Amount(String),
    #[error(
        "PM-WALLET-015: of {gross} only {net} would arrive on L1, the fee takes {fee}; withdraw more at once, or pass --yes-burn \
         if that is wanted"
    )]
    Burnt { gross: String, net: String, fee: String },
    #[error(
        "PM-WALLET-016: leaf {index} is not one of this wallet's: the request would cost {fee} and move nothing; pass --anyway if \
         you know better"
    )]
    ForeignLeaf { index: u64, fee: String },
    #[error("PM-WALLET-017: not yet: {0}")]
    NotYet(String),
    #[error("PM-WALLET-018: {}: {reason}; it says what was signed and sent, so nothing is done until it can be read", .path.display())]
    Stored { path: PathBuf, reason: String },
    #[error("PM-WALLET-019: the coordinator refused ({code}: {message}); nothing was paid")]
    Refused { code: String, message: String },
    #[error(
        "PM-WALLET-024: the coordinator refused operation {operation} {cause}. Its signature is good until batch {valid_until}: do \
         not order the same in other words before; the same command does not pay twice"
    )]
    RefusedSigned { operation: String, valid_until: u32, cause: String },
    #[error(
        "PM-WALLET-020: the coordinator refused {operation} ({cause}), and offers a draft beside which it could still pay, or has \
         paid already; nothing more was signed. Its signature is good until batch {valid_until}: the same command signs again once \
         a final batch shows that nothing was paid. If you know that from the recipient: `proofmill wallet forget {operation} \
         --anyway`"
    )]
    NotExclusive { operation: String, cause: String, valid_until: u32 },
    #[error("PM-WALLET-021: {0}")]
    NoSuch(String),
    #[error(
        "PM-WALLET-025: {} is the folder of another wallet ({owner} in contract {contract} on chain {chain_id}); rename one of \
         the two wallet files, or move the folder away", .folder.display()
    )]
    OtherFolder { folder: PathBuf, owner: String, chain_id: u64, contract: String },
    #[error(
        "PM-WALLET-026: {} holds what an earlier wallet signed and sent; name another --wallet, or move the folder away",
        .0.display()
    )]
    FolderLeft(PathBuf),
    #[error(
        "PM-WALLET-027: an earlier command without --idempotency-key ordered the same ({what}), and it is not known yet whether \
         operation {operation} was accepted; finish that one with `proofmill wallet resume`, then give a key to what is to be paid \
         beside it"
    )]
    OpenWithoutKey { what: String, operation: String },
    #[error(
        "PM-WALLET-028: operation {operation} ({what}) can still be executed until batch {valid_until}, L1 is at batch {batch}; \
         forgotten now, the next command may pay a second time. Wait, or pass --anyway if you know that it will not be"
    )]
    StillGood { operation: String, what: String, valid_until: u32, batch: u32 },
}
