//! Operations and the genesis as RLP lists. Decoding is strict: a list of another length is an error.

use ethers_core::utils::rlp::{DecoderError, Rlp, RlpStream};
use revm::primitives::{Address, B256, Bytes, U256};

use crate::chain::{Clock, Dropped, Genesis, Op};

const SUBMIT: u8 = 1;
const MINE: u8 = 2;
const REORG: u8 = 3;
const SNAPSHOT: u8 = 4;
const REVERT: u8 = 5;
const SET_BALANCE: u8 = 6;
const SET_CLOCK: u8 = 7;

/// `[chain id, block gas limit, timestamp, [address, balance, address, balance, …]]`.
pub fn encode_genesis(genesis: &Genesis) -> Vec<u8> {
    let mut list = RlpStream::new_list(4);
    list.append(&genesis.chain_id).append(&genesis.block_gas_limit).append(&genesis.timestamp);
    list.begin_list(2 * genesis.accounts.len());
    for (address, balance) in &genesis.accounts {
        list.append(&address.as_slice()).append(&balance.to_be_bytes::<32>().as_slice());
    }
    list.out().to_vec()
}

/// Reads [`encode_genesis`]'s output.
pub fn decode_genesis(bytes: &[u8]) -> Result<Genesis, DecoderError> {
    let list = fields(bytes, 4)?;
    let accounts = list.at(3)?;
    let count = accounts.item_count()?;
    let account = |index| Ok((address(&accounts, index)?, word(&accounts, index + 1)?));
    Ok(Genesis {
        chain_id: list.val_at(0)?,
        block_gas_limit: list.val_at(1)?,
        timestamp: list.val_at(2)?,
        accounts: (0..count).step_by(2).map(account).collect::<Result<_, DecoderError>>()?,
    })
}

/// `[tag, head hash after it, fields of the operation …]`.
pub fn encode_op(op: &Op, head: B256) -> Vec<u8> {
    let mut list = RlpStream::new();
    list.begin_unbounded_list();
    let mut begin = |tag: u8| {
        list.append(&tag).append(&head.as_slice());
    };
    match op {
        Op::Submit(raw) => {
            begin(SUBMIT);
            list.append(&raw.as_ref());
        }
        Op::Mine { timestamp } => {
            begin(MINE);
            list.append(timestamp);
        }
        Op::Reorg { depth, dropped } => {
            begin(REORG);
            list.append(depth).append(&(*dropped == Dropped::Requeue));
        }
        Op::Snapshot => begin(SNAPSHOT),
        Op::Revert(id) => {
            begin(REVERT);
            list.append(id);
        }
        Op::SetBalance(address, balance) => {
            begin(SET_BALANCE);
            list.append(&address.as_slice()).append(&balance.to_be_bytes::<32>().as_slice());
        }
        Op::SetClock(Clock { offset, next }) => {
            begin(SET_CLOCK);
            list.append(&offset.cast_unsigned()).append(&next.is_some()).append(&next.unwrap_or_default());
        }
    }
    list.finalize_unbounded_list();
    list.out().to_vec()
}

/// Reads [`encode_op`]'s output: the operation and the head's hash after it.
pub fn decode_op(bytes: &[u8]) -> Result<(Op, B256), DecoderError> {
    let list = Rlp::new(bytes);
    let tag: u8 = list.val_at(0)?;
    let (count, op) = match tag {
        SUBMIT => (1, Op::Submit(Bytes::copy_from_slice(list.at(2)?.data()?))),
        MINE => (1, Op::Mine { timestamp: list.val_at(2)? }),
        REORG => {
            let dropped = if list.val_at(3)? { Dropped::Requeue } else { Dropped::Forget };
            (2, Op::Reorg { depth: list.val_at(2)?, dropped })
        }
        SNAPSHOT => (0, Op::Snapshot),
        REVERT => (1, Op::Revert(list.val_at(2)?)),
        SET_BALANCE => (2, Op::SetBalance(address(&list, 2)?, word(&list, 3)?)),
        SET_CLOCK => {
            let next: u64 = list.val_at(4)?;
            let offset = list.val_at::<u64>(2)?.cast_signed();
            (3, Op::SetClock(Clock { offset, next: list.val_at::<bool>(3)?.then_some(next) }))
        }
        _ => return Err(DecoderError::Custom("unknown operation")),
    };
    fields(bytes, 2 + count)?;
    Ok((op, fixed::<32>(&list, 1)?.into()))
}

fn fields(bytes: &[u8], count: usize) -> Result<Rlp<'_>, DecoderError> {
    let list = Rlp::new(bytes);
    if list.item_count()? != count || list.payload_info()?.total() != bytes.len() {
        return Err(DecoderError::RlpIncorrectListLen);
    }
    Ok(list)
}

fn fixed<const N: usize>(list: &Rlp<'_>, index: usize) -> Result<[u8; N], DecoderError> {
    list.at(index)?.data()?.try_into().map_err(|_| DecoderError::RlpInvalidLength)
}

fn address(list: &Rlp<'_>, index: usize) -> Result<Address, DecoderError> {
    Ok(Address::from(fixed::<20>(list, index)?))
}

fn word(list: &Rlp<'_>, index: usize) -> Result<U256, DecoderError> {
    Ok(U256::from_be_bytes(fixed::<32>(list, index)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_reads_back_as_written() {
        let head = B256::repeat_byte(7);
        let ops = [
            Op::Submit(Bytes::from_static(&[1, 2, 3])),
            Op::Mine { timestamp: u64::MAX },
            Op::Reorg { depth: 3, dropped: Dropped::Requeue },
            Op::Reorg { depth: 0, dropped: Dropped::Forget },
            Op::Snapshot,
            Op::Revert(9),
            Op::SetBalance(Address::repeat_byte(3), U256::MAX),
            Op::SetClock(Clock { offset: -5, next: Some(0) }),
            Op::SetClock(Clock { offset: 5, next: None }),
        ];
        for op in ops {
            assert_eq!(decode_op(&encode_op(&op, head)).expect("own bytes"), (op, head));
        }
    }

    #[test]
    fn the_genesis_reads_back_as_written() {
        let accounts =
            vec![(Address::repeat_byte(1), U256::from(5u64)), (Address::repeat_byte(2), U256::ZERO)];
        let genesis = Genesis { chain_id: 1, block_gas_limit: 2, timestamp: 3, accounts };
        assert_eq!(decode_genesis(&encode_genesis(&genesis)).expect("own bytes"), genesis);
    }
}
