//! Between plain types and the words of `ethers`. Big-endian on the EVM's side, little-endian in `Fr::to_repr`.

use bn254::{Fr, PrimeField};
use ethers::types::{H160, U256};

use crate::contract::{
    errors::DecodeError,
    types::{Address, Word},
};

pub(crate) fn fr_word(x: &Fr) -> Word {
    let mut word = [0u8; 32];
    for (to, from) in word.iter_mut().rev().zip(x.to_repr().as_ref()) {
        *to = *from;
    }
    word
}

pub(crate) fn fr_u256(x: &Fr) -> U256 {
    U256::from_big_endian(&fr_word(x))
}

pub(crate) fn word_fr(word: &Word) -> Option<Fr> {
    let mut repr = *word;
    repr.reverse();
    Option::from(Fr::from_repr(repr.into()))
}

pub(crate) fn u256_word(x: U256) -> Word {
    let mut word = [0u8; 32];
    x.to_big_endian(&mut word);
    word
}

pub(crate) fn u256_fr(field: &'static str, x: U256) -> Result<Fr, DecodeError> {
    word_fr(&u256_word(x)).ok_or(DecodeError::OutOfRange { field })
}

pub(crate) fn u256_u64(field: &'static str, x: U256) -> Result<u64, DecodeError> {
    u64::try_from(x).map_err(|_| DecodeError::OutOfRange { field })
}

pub(crate) fn u256_u128(field: &'static str, x: U256) -> Result<u128, DecodeError> {
    u128::try_from(x).map_err(|_| DecodeError::OutOfRange { field })
}

pub(crate) fn h160(address: &Address) -> H160 {
    H160(*address)
}
