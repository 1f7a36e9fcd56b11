//! D, everything L1 must see of a batch, and the three public inputs (h, c, e) that bind the circuit's copy to it.
//!
//! D = head (7 words) ‖ mints (M × 2 words) ‖ records (3 words each, in slot order). The circuit commits to its copy in
//! `h`, a P12 chain over head, mints and one record per slot; the contract takes `c = keccak256(h ‖ D) mod r` over the
//! array it built itself and `e = Σ Dᵢ·cⁱ`. The copy is fixed by h before c exists, so a copy that differs from D passes
//! with probability at most |D|/r.

use bn254::Fr;
use ff::{Field, PrimeField};
use num_bigint::BigUint;
use sha3::{Digest, Keccak256};

use crate::{baby_jubjub::fr_from_biguint, poseidon, shape::Shape};

pub mod gadget;

/// Words of D before the mints.
pub const HEAD_WORDS: usize = 7;
/// Words of a mint: account, packed range.
pub const MINT_WORDS: usize = 2;
/// Words of a record.
pub const RECORD_WORDS: usize = 3;
/// Words absorbed by one step of the chain.
pub(crate) const CHUNK: usize = 11;

/// The tag of a record without its outcome bit and index.
pub(crate) const TAG_WITHDRAW: u64 = 2;
pub(crate) const TAG_EXIT: u64 = 3;
pub(crate) const TAG_REKEY: u64 = 4;
pub(crate) const TAG_HIT: u64 = 16;
pub(crate) const TAG_INDEX: u64 = 256;

/// What L1 sees of a withdrawal or a forced entry.
pub type Record = [Fr; RECORD_WORDS];

/// The seven first words of D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub shape: Shape,
    pub domain: Fr,
    pub batch_no: u32,
    pub old_root: Fr,
    pub mid_root: Fr,
    pub new_root: Fr,
    /// First place of the appended subtree.
    pub start: u64,
}

/// The circuit's view of D: with a place for each mint and each slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicData {
    pub head: Head,
    /// M pairs, zeros where a place is unused.
    pub mints: Vec<[Fr; MINT_WORDS]>,
    /// N entries.
    pub records: Vec<Option<Record>>,
}

impl Head {
    pub fn words(&self) -> [Fr; HEAD_WORDS] {
        [
            Fr::from(u64::from(self.shape.number())),
            self.domain,
            Fr::from(u64::from(self.batch_no)),
            self.old_root,
            self.mid_root,
            self.new_root,
            Fr::from(self.start),
        ]
    }
}

impl PublicData {
    /// D as the contract lays it out: only real records.
    pub fn words(&self) -> Vec<Fr> {
        let mut words = self.head.words().to_vec();
        words.extend(self.mints.iter().flatten());
        words.extend(self.records.iter().flatten().flatten());
        words
    }

    /// h, over a fixed number of words: slots that show nothing count as three zeros.
    pub fn commitment(&self) -> Fr {
        let mut words = self.head.words().to_vec();
        words.extend(self.mints.iter().flatten());
        words.extend(self.records.iter().flat_map(|record| record.unwrap_or([Fr::ZERO; RECORD_WORDS])));
        words.chunks(CHUNK).fold(Fr::ZERO, |state, chunk| {
            let mut input = [Fr::ZERO; CHUNK + 1];
            input[0] = state;
            input[1..=chunk.len()].copy_from_slice(chunk);
            poseidon::hash12(input)
        })
    }

    /// (h, c, e).
    pub fn public_inputs(&self) -> [Fr; 3] {
        let words = self.words();
        let h = self.commitment();
        let c = challenge(&h, &words);
        [h, c, evaluate(&c, &words)]
    }
}

/// c = keccak256(h ‖ D) mod r, every word as 32 bytes big-endian.
pub fn challenge(h: &Fr, words: &[Fr]) -> Fr {
    let mut keccak = Keccak256::new();
    for word in std::iter::once(h).chain(words) {
        let mut bytes = word.to_repr();
        let bytes: &mut [u8] = bytes.as_mut();
        bytes.reverse();
        keccak.update(bytes);
    }
    fr_from_biguint(&BigUint::from_bytes_be(&keccak.finalize()))
}

/// e = Σ Dᵢ·cⁱ.
pub fn evaluate(c: &Fr, words: &[Fr]) -> Fr {
    words.iter().rev().fold(Fr::ZERO, |sum, word| sum * c + word)
}

/// The domain of a deployment: `keccak256(abi.encode(keccak256("proofmill.domain.v1"), chainId, contract)) mod r`, or 1
/// in place of 0.
pub fn domain(chain_id: u64, contract: &[u8; 20]) -> Fr {
    let mut keccak = Keccak256::new();
    keccak.update(Keccak256::digest(b"proofmill.domain.v1"));
    keccak.update([0u8; 24]);
    keccak.update(chain_id.to_be_bytes());
    keccak.update([0u8; 12]);
    keccak.update(contract);
    let domain = fr_from_biguint(&BigUint::from_bytes_be(&keccak.finalize()));
    if domain == Fr::ZERO { Fr::ONE } else { domain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random_fr;

    fn sample() -> PublicData {
        let x = random_fr(1, 16);
        PublicData {
            head: Head {
                shape: Shape::S3M1,
                domain: x[0],
                batch_no: 7,
                old_root: x[1],
                mid_root: x[2],
                new_root: x[3],
                start: 16,
            },
            mints: vec![[x[4], x[5]]],
            records: vec![None, Some([x[6], x[7], x[8]]), None],
        }
    }

    #[test]
    fn every_word_of_d_moves_h_and_c() {
        let base = sample();
        let [h, c, _] = base.public_inputs();
        let mut changed = base.clone();
        changed.records[1] = Some([Fr::ONE; 3]);
        let mut moved = base.clone();
        moved.records.swap(1, 2);
        let mut minted = base.clone();
        minted.mints[0][1] = Fr::ZERO;
        for other in [&changed, &minted] {
            assert_ne!(other.public_inputs()[0], h);
            assert_ne!(other.public_inputs()[1], c);
        }
        // L1 sees the same list when a record moves to another slot; the circuit's copy does not.
        assert_eq!(moved.words(), base.words());
        assert_ne!(moved.commitment(), h);
    }

    #[test]
    fn the_evaluation_is_the_plain_power_sum() {
        let words = sample().words();
        let c = Fr::from(12345);
        let plain: Fr = words.iter().enumerate().map(|(i, w)| *w * c.pow_vartime([i as u64])).sum();
        assert_eq!(evaluate(&c, &words), plain);
    }

    #[test]
    fn domains_differ_by_chain_and_contract() {
        let a = domain(1, &[1; 20]);
        assert_ne!(a, domain(2, &[1; 20]));
        assert_ne!(a, domain(1, &[2; 20]));
    }
}
