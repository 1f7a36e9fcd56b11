//! The three messages that Ethereum keys sign (EIP-712): `SpendKey` and `DirectoryEntry` by a coin's owner, `Promise`
//! by the operator.
//!
//! Each has its own type hash and all share the domain of one deployment, so that no signature means anything under
//! another type, chain or contract. `docs/vectors/eip712.json` holds vectors made by an independent implementation.

use bn254::{Fr, fr_to_be_bytes};
use circuits::{baby_jubjub::Point, leaf::CoinRange};

use crate::{
    Address,
    ecdsa::{self, EcdsaError, OperatorKey, Signature65, keccak256},
};

/// What a wallet shows before it makes a spend key.
pub const SPEND_KEY_WARNING: &str = "This signature is the key to your proofmill coins. Sign it only in a wallet or on a site you trust, and never give it to anybody.";

const DOMAIN_TYPE: &[u8] =
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const NAME: &[u8] = b"proofmill";
const VERSION: &[u8] = b"1";

/// The EIP-712 domain of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningDomain {
    pub chain_id: u64,
    pub contract: Address,
}

impl SigningDomain {
    pub fn separator(&self) -> [u8; 32] {
        hash_words(&[
            keccak256(DOMAIN_TYPE),
            keccak256(NAME),
            keccak256(VERSION),
            number(self.chain_id),
            address(&self.contract),
        ])
    }
}

/// A message of one of the three types.
pub trait TypedMessage {
    /// The type as EIP-712 encodes it.
    const TYPE: &'static str;

    /// `keccak256(typeHash ‖ encodeData)`.
    fn struct_hash(&self) -> [u8; 32];

    /// What is signed: `keccak256(0x1901 ‖ separator ‖ structHash)`.
    fn digest(&self, domain: &SigningDomain) -> [u8; 32] {
        let mut bytes = vec![0x19, 0x01];
        bytes.extend(domain.separator());
        bytes.extend(self.struct_hash());
        keccak256(&bytes)
    }

    fn sign(&self, domain: &SigningDomain, key: &OperatorKey) -> Signature65 {
        ecdsa::sign(&self.digest(domain), key)
    }

    /// Who signed it.
    ///
    /// # Errors
    /// `EcdsaError` if the bytes are not a signature.
    fn recover(&self, domain: &SigningDomain, signature: &[u8]) -> Result<Address, EcdsaError> {
        ecdsa::recover(&self.digest(domain), signature)
    }
}

/// Its signature is the secret from which a wallet derives its Baby Jubjub key (`spend_key`). The warning is always
/// `SPEND_KEY_WARNING`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpendKey {
    pub owner: Address,
    pub key_epoch: u32,
}

impl TypedMessage for SpendKey {
    const TYPE: &'static str = "SpendKey(string warning,address owner,uint32 keyEpoch)";

    fn struct_hash(&self) -> [u8; 32] {
        hash_words(&[
            keccak256(Self::TYPE.as_bytes()),
            keccak256(SPEND_KEY_WARNING.as_bytes()),
            address(&self.owner),
            number(self.key_epoch.into()),
        ])
    }
}

/// Says which Baby Jubjub key an address wants to be paid to, valid while its key epoch on L1 is this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    pub owner: Address,
    pub key: Point,
    pub key_epoch: u32,
}

impl TypedMessage for DirectoryEntry {
    const TYPE: &'static str = "DirectoryEntry(address owner,uint256 ax,uint256 ay,uint32 keyEpoch)";

    fn struct_hash(&self) -> [u8; 32] {
        hash_words(&[
            keccak256(Self::TYPE.as_bytes()),
            address(&self.owner),
            fr_to_be_bytes(&self.key.x),
            fr_to_be_bytes(&self.key.y),
            number(self.key_epoch.into()),
        ])
    }
}

/// The operator's promise for one slot. Send (kind 1): this leaf will be at this index of midRoot of this batch.
/// Withdrawal (kind 2): the batch will record (owner, low, high); `account` is the owner as a number, `index` is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    pub operation_id: [u8; 32],
    pub kind: u8,
    pub batch_no: u32,
    pub index: u64,
    pub account: Fr,
    pub range: CoinRange,
    /// Unix seconds by which the batch is final on L1.
    pub deadline: u64,
}

impl TypedMessage for Promise {
    const TYPE: &'static str = "Promise(bytes32 operationId,uint8 kind,uint32 batchNo,uint64 index,uint256 account,uint64 low,uint64 high,uint64 deadline)";

    fn struct_hash(&self) -> [u8; 32] {
        hash_words(&[
            keccak256(Self::TYPE.as_bytes()),
            self.operation_id,
            number(self.kind.into()),
            number(self.batch_no.into()),
            number(self.index),
            fr_to_be_bytes(&self.account),
            number(self.range.low()),
            number(self.range.high()),
            number(self.deadline),
        ])
    }
}

fn hash_words(words: &[[u8; 32]]) -> [u8; 32] {
    keccak256(words.as_flattened())
}

fn number(value: u64) -> [u8; 32] {
    let mut word = [0u8; 32];
    word[24..].copy_from_slice(&value.to_be_bytes());
    word
}

fn address(address: &Address) -> [u8; 32] {
    let mut word = [0u8; 32];
    word[12..].copy_from_slice(address);
    word
}
