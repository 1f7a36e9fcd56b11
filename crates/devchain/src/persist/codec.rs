//! Operations and the genesis as RLP lists. Decoding is strict: a list of another length is an error.

use alloy_rlp::{Decodable, Encodable, Error};
use revm::primitives::{Address, B256, Bytes, U256};

use crate::{
    chain::{Clock, Dropped, Genesis, Op},
    rlp::{ended, items, list},
};

const SUBMIT: u8 = 1;
const MINE: u8 = 2;
const REORG: u8 = 3;
const SNAPSHOT: u8 = 4;
const REVERT: u8 = 5;
const SET_BALANCE: u8 = 6;
const SET_CLOCK: u8 = 7;

/// `[chain id, block gas limit, timestamp, [address, balance, address, balance, …]]`; a balance has 32 bytes.
pub fn encode_genesis(genesis: &Genesis) -> Vec<u8> {
    list(|out| {
        genesis.chain_id.encode(out);
        genesis.block_gas_limit.encode(out);
        genesis.timestamp.encode(out);
        out.extend(list(|out| {
            for (address, balance) in &genesis.accounts {
                encode_balance(address, balance, out);
            }
        }));
    })
}

/// Reads [`encode_genesis`]'s output.
pub fn decode_genesis(bytes: &[u8]) -> Result<Genesis, Error> {
    let mut rest = items(bytes)?;
    let rest = &mut rest;
    let (chain_id, block_gas_limit, timestamp) = (u64::decode(rest)?, u64::decode(rest)?, u64::decode(rest)?);
    let mut listed = items(rest)?;
    let mut accounts = Vec::new();
    while !listed.is_empty() {
        accounts.push(decode_balance(&mut listed)?);
    }
    Ok(Genesis { chain_id, block_gas_limit, timestamp, accounts })
}

/// `[tag, head hash after it, fields of the operation …]`.
pub fn encode_op(op: &Op, head: B256) -> Vec<u8> {
    list(|out| {
        let mut begin = |tag: u8| {
            tag.encode(out);
            head.encode(out);
        };
        match op {
            Op::Submit(raw) => {
                begin(SUBMIT);
                raw.encode(out);
            }
            Op::Mine { timestamp } => {
                begin(MINE);
                timestamp.encode(out);
            }
            Op::Reorg { depth, dropped } => {
                begin(REORG);
                depth.encode(out);
                (*dropped == Dropped::Requeue).encode(out);
            }
            Op::Snapshot => begin(SNAPSHOT),
            Op::Revert(id) => {
                begin(REVERT);
                id.encode(out);
            }
            Op::SetBalance(address, balance) => {
                begin(SET_BALANCE);
                encode_balance(address, balance, out);
            }
            Op::SetClock(Clock { offset, next }) => {
                begin(SET_CLOCK);
                offset.cast_unsigned().encode(out);
                next.is_some().encode(out);
                next.unwrap_or_default().encode(out);
            }
        }
    })
}

/// Reads [`encode_op`]'s output: the operation and the head's hash after it.
pub fn decode_op(bytes: &[u8]) -> Result<(Op, B256), Error> {
    let mut rest = items(bytes)?;
    let rest = &mut rest;
    let (tag, head) = (u8::decode(rest)?, B256::decode(rest)?);
    let op = match tag {
        SUBMIT => Op::Submit(Bytes::decode(rest)?),
        MINE => Op::Mine { timestamp: u64::decode(rest)? },
        REORG => {
            let depth = u64::decode(rest)?;
            let dropped = if bool::decode(rest)? { Dropped::Requeue } else { Dropped::Forget };
            Op::Reorg { depth, dropped }
        }
        SNAPSHOT => Op::Snapshot,
        REVERT => Op::Revert(u64::decode(rest)?),
        SET_BALANCE => {
            let (address, balance) = decode_balance(rest)?;
            Op::SetBalance(address, balance)
        }
        SET_CLOCK => {
            let offset = u64::decode(rest)?.cast_signed();
            let (is_set, next) = (bool::decode(rest)?, u64::decode(rest)?);
            Op::SetClock(Clock { offset, next: is_set.then_some(next) })
        }
        _ => return Err(Error::Custom("unknown operation")),
    };
    ended(rest)?;
    Ok((op, head))
}

fn encode_balance(address: &Address, balance: &U256, out: &mut Vec<u8>) {
    address.encode(out);
    B256::from(*balance).encode(out);
}

fn decode_balance(rest: &mut &[u8]) -> Result<(Address, U256), Error> {
    Ok((Address::decode(rest)?, B256::decode(rest)?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "a00707070707070707070707070707070707070707070707070707070707070707";
    const WORD_OF_ONES: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    #[test]
    fn operations_are_written_as_by_earlier_versions_and_read_back() {
        let head = B256::repeat_byte(7);
        let balance = format!("f85806{HEAD}940303030303030303030303030303030303030303a0{WORD_OF_ONES}");
        let ops = [
            (Op::Submit(Bytes::from_static(&[1, 2, 3])), format!("e601{HEAD}83010203")),
            (Op::Mine { timestamp: u64::MAX }, format!("eb02{HEAD}88ffffffffffffffff")),
            (Op::Reorg { depth: 3, dropped: Dropped::Requeue }, format!("e403{HEAD}0301")),
            (Op::Reorg { depth: 0, dropped: Dropped::Forget }, format!("e403{HEAD}8080")),
            (Op::Snapshot, format!("e204{HEAD}")),
            (Op::Revert(9), format!("e305{HEAD}09")),
            (Op::SetBalance(Address::repeat_byte(3), U256::MAX), balance),
            (Op::SetClock(Clock { offset: -5, next: Some(0) }), format!("ed07{HEAD}88fffffffffffffffb0180")),
            (Op::SetClock(Clock { offset: 5, next: None }), format!("e507{HEAD}058080")),
        ];
        for (op, written) in ops {
            let bytes = encode_op(&op, head);
            assert_eq!(Bytes::from(bytes.clone()).to_string(), format!("0x{written}"));
            assert_eq!(decode_op(&bytes), Ok((op, head)));
        }
    }

    #[test]
    fn a_list_of_another_length_is_refused() {
        let mut longer = list(|out| {
            SNAPSHOT.encode(out);
            B256::ZERO.encode(out);
            1u8.encode(out);
        });
        assert!(decode_op(&longer).is_err());
        longer = encode_op(&Op::Snapshot, B256::ZERO);
        longer.push(0);
        assert!(decode_op(&longer).is_err());
        let odd = list(|out| {
            for _ in 0..3 {
                1u8.encode(out);
            }
            out.extend(list(|out| Address::ZERO.encode(out)));
        });
        assert!(decode_genesis(&odd).is_err());
    }

    #[test]
    fn the_genesis_is_written_as_by_earlier_versions_and_reads_back() {
        let accounts =
            vec![(Address::repeat_byte(1), U256::from(5u64)), (Address::repeat_byte(2), U256::ZERO)];
        let genesis = Genesis { chain_id: 1, block_gas_limit: 2, timestamp: 3, accounts };
        let bytes = encode_genesis(&genesis);
        let written = "0xf871010203f86c940101010101010101010101010101010101010101\
                       a00000000000000000000000000000000000000000000000000000000000000005\
                       940202020202020202020202020202020202020202\
                       a00000000000000000000000000000000000000000000000000000000000000000";
        assert_eq!(Bytes::from(bytes.clone()).to_string(), written);
        assert_eq!(decode_genesis(&bytes), Ok(genesis));
    }
}
