//! Blocks, transactions and receipts as the chain keeps them.

use std::sync::Arc;

use alloy_rlp::Encodable;
use revm::primitives::alloy_primitives::{B64, Bloom};
use revm::primitives::{Address, B256, Bytes, Log, U256, b256, keccak256};

use crate::rlp::list;

/// keccak256 of the RLP of an empty list: the hash of "no uncles".
pub const EMPTY_UNCLES: B256 = b256!("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347");
/// Root of an empty trie: the withdrawals of every block here.
pub const EMPTY_ROOT: B256 = b256!("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");
/// sha256 of nothing: the EIP-7685 requests of every block here.
pub const EMPTY_REQUESTS: B256 = b256!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

/// A signed transaction whose signature was checked.
#[derive(Debug)]
pub struct SignedTx {
    /// keccak256 of the raw bytes.
    pub hash: B256,
    /// Recovered signer.
    pub sender: Address,
    /// EIP-2718 type: 0, 1 or 2.
    pub tx_type: u8,
    /// Chain it was signed for.
    pub chain_id: u64,
    /// Sender's transaction count before it.
    pub nonce: u64,
    /// Gas limit.
    pub gas_limit: u64,
    /// Maximum wei per gas (the gas price for types 0 and 1).
    pub max_fee: u128,
    /// Maximum tip in wei per gas (the gas price for types 0 and 1).
    pub max_tip: u128,
    /// Callee, `None` to create a contract.
    pub to: Option<Address>,
    /// Wei sent along.
    pub value: U256,
    /// Call data or creation code.
    pub input: Bytes,
    /// EIP-2930 access list.
    pub access_list: Vec<(Address, Vec<B256>)>,
    /// Signature: v or y-parity as signed.
    pub v: u64,
    /// Signature: r.
    pub r: U256,
    /// Signature: s, in the lower half (EIP-2).
    pub s: U256,
    /// The bytes as sent.
    pub raw: Bytes,
}

impl SignedTx {
    /// Tip in wei per gas at a base fee, `None` if the maximum fee is below it (EIP-1559).
    #[must_use]
    pub fn effective_tip(&self, base_fee: u64) -> Option<u128> {
        self.max_fee.checked_sub(u128::from(base_fee)).map(|room| room.min(self.max_tip))
    }

    /// Most wei that the transaction can take from its sender.
    #[must_use]
    pub fn max_cost(&self) -> U256 {
        U256::from(self.max_fee).saturating_mul(U256::from(self.gas_limit)).saturating_add(self.value)
    }
}

/// Block header with the fields of the Prague hardfork.
#[derive(Clone, Debug)]
pub struct Header {
    /// Hash of the block before.
    pub parent_hash: B256,
    /// Receiver of the tips.
    pub beneficiary: Address,
    /// Chain of state changes: keccak256(parent's value ‖ sorted changes). Not a trie root, see [`crate::chain`].
    pub state_root: B256,
    /// keccak256 of the transaction hashes. Not a trie root.
    pub transactions_root: B256,
    /// keccak256 of the receipts' content. Not a trie root.
    pub receipts_root: B256,
    /// Bloom filter over the logs, as in the yellow paper.
    pub logs_bloom: Bloom,
    /// Height.
    pub number: u64,
    /// Gas that fits.
    pub gas_limit: u64,
    /// Gas used.
    pub gas_used: u64,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Number of the reorganisation the block was made in (8 bytes, big endian), empty before the first.
    pub extra_data: Bytes,
    /// EIP-4399 randomness.
    pub prev_randao: B256,
    /// Wei per gas (EIP-1559).
    pub base_fee: u64,
}

impl Header {
    /// RLP of the 21 Prague header fields.
    #[must_use]
    pub fn rlp(&self) -> Vec<u8> {
        list(|out| {
            self.parent_hash.encode(out);
            EMPTY_UNCLES.encode(out);
            self.beneficiary.encode(out);
            self.state_root.encode(out);
            self.transactions_root.encode(out);
            self.receipts_root.encode(out);
            self.logs_bloom.encode(out);
            // Difficulty is 0 since the merge.
            for number in [0, self.number, self.gas_limit, self.gas_used, self.timestamp] {
                number.encode(out);
            }
            self.extra_data.encode(out);
            self.prev_randao.encode(out);
            B64::ZERO.encode(out);
            self.base_fee.encode(out);
            EMPTY_ROOT.encode(out);
            // Blob gas used, excess blob gas, parent beacon block root, requests.
            0u64.encode(out);
            0u64.encode(out);
            B256::ZERO.encode(out);
            EMPTY_REQUESTS.encode(out);
        })
    }
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Whether it went through.
    pub success: bool,
    /// Gas it used.
    pub gas_used: u64,
    /// Gas used in the block up to and with it.
    pub cumulative_gas_used: u64,
    /// Wei per gas it paid.
    pub effective_gas_price: u128,
    /// Contract it created.
    pub contract_address: Option<Address>,
    /// Logs it left.
    pub logs: Vec<Log>,
    /// Number in the block of its first log.
    pub first_log: u64,
    /// Bloom filter over its logs.
    pub logs_bloom: Bloom,
}

/// A block with its content.
#[derive(Debug)]
pub struct Block {
    /// Header.
    pub header: Header,
    /// keccak256 of the header's RLP.
    pub hash: B256,
    /// Bytes of header and transactions.
    pub size: u64,
    /// Transactions in order.
    pub transactions: Vec<Arc<SignedTx>>,
    /// Receipts, one for each transaction.
    pub receipts: Vec<Receipt>,
}

impl Block {
    /// Seals a block: computes its hash.
    #[must_use]
    pub fn new(header: Header, transactions: Vec<Arc<SignedTx>>, receipts: Vec<Receipt>) -> Self {
        let rlp = header.rlp();
        let size = rlp.len() + transactions.iter().map(|tx| tx.raw.len()).sum::<usize>();
        Self { hash: keccak256(&rlp), size: size as u64, header, transactions, receipts }
    }
}

/// Bloom filter over logs: each log's address and topics.
#[must_use]
pub fn bloom_of(logs: &[Log]) -> Bloom {
    let mut bloom = Bloom::ZERO;
    bloom.accrue_logs(logs);
    bloom
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_written_as_by_earlier_versions() {
        let header = Header {
            parent_hash: B256::repeat_byte(1),
            beneficiary: Address::repeat_byte(2),
            state_root: B256::repeat_byte(3),
            transactions_root: B256::repeat_byte(4),
            receipts_root: B256::repeat_byte(5),
            logs_bloom: Bloom::repeat_byte(6),
            number: 7,
            gas_limit: 30_000_000,
            gas_used: 21_000,
            timestamp: 1 << 40,
            extra_data: Bytes::copy_from_slice(&9u64.to_be_bytes()),
            prev_randao: B256::repeat_byte(10),
            base_fee: 1_000_000_000,
        };
        let rlp = header.rlp();
        assert_eq!(rlp.len(), 622);
        let hash = b256!("a224c1b8ef2a3ef9f27660a5aec50ac2b8f0a7f1f9421f3ece2137845afb1ed5");
        assert_eq!(keccak256(rlp), hash);
    }
}
