//! Ownership proofs: with them nobody is needed to show what one owns, so nothing goes into the file that L1 does not confirm.
//!
//! Invariant: a file that is there is replaced only by one of the same wallet and contract that is not older; leaves that are
//! no longer in the new one stay in `NAME.previous`.

use std::path::{Path, PathBuf};

use bn254::Fr;
use circuits::{
    leaf::{self, CoinRange},
    tree,
};
use client::api::{Coin, OwnershipProof};
use protocol::checksummed;
use serde::{Deserialize, Serialize};

use crate::{
    error::WalletError,
    folder::write_atomically,
    session::{Session, now},
    text,
};

/// A file of proofs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Export {
    version: u32,
    chain_id: u64,
    contract: String,
    owner: String,
    /// Unix seconds.
    exported_at: u64,
    proofs: Vec<Proof>,
}

/// The way from a leaf to a root that L1 has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// The batch after which L1 has that root.
    pub batch: u32,
    root: String,
    index: u64,
    #[serde(with = "text::bytes")]
    owner: [u8; 20],
    key_hash: String,
    /// The leaf's first coin.
    pub low: u64,
    /// The leaf's last coin.
    pub high: u64,
    leaf: String,
    siblings: Vec<[String; 3]>,
    /// Whether that batch is final.
    #[serde(rename = "finalOnL1")]
    pub final_on_l1: bool,
}

impl Session {
    /// Writes the proofs of all leaves that are on L1; returns how many, and what was left out.
    ///
    /// # Errors
    /// `Answer` for a proof that is not true, `NotExported` where nothing better than what is there can be written.
    pub async fn export_proofs(&self, out: &Path) -> eyre::Result<(usize, Vec<String>)> {
        let kept = |reason: String| WalletError::NotExported { reason, out: out.to_owned() };
        let previous = read(out).map_err(kept)?;
        let account = self.checked_account().await?;
        let last_final = self.l1.contract().final_batch().await?.unwrap_or(0);
        let (mut proofs, mut left_out) = (Vec::new(), Vec::new());
        for coin in &account.coins {
            match self.proof_of(coin, last_final).await? {
                Ok(proof) => proofs.push(proof),
                Err(why) => left_out.push(format!("leaf {}: {why}", coin.index)),
            }
        }
        if proofs.is_empty() {
            let reason = match left_out.first() {
                None => "the coordinator shows no leaf of this wallet".to_owned(),
                Some(first) => format!("no leaf is on L1 yet ({first})"),
            };
            return Err(kept(reason).into());
        }
        let domain = self.holder.deployment();
        let export = Export {
            version: 2,
            chain_id: domain.chain_id,
            contract: checksummed(&domain.contract),
            owner: checksummed(&self.holder.address()),
            exported_at: now(),
            proofs,
        };
        if let Some(mut previous) = previous {
            let gone = export.replaces(&previous).map_err(kept)?;
            if gone > 0 {
                let mut name = out.file_name().unwrap_or_default().to_owned();
                name.push(".previous");
                let place = out.with_file_name(name);
                // What an export before kept there stays.
                if let Ok(Some(older)) = read(&place)
                    && previous.replaces(&older).is_ok()
                {
                    let missing =
                        |proof: &Proof| previous.proofs.iter().all(|kept| kept.index != proof.index);
                    let (older, _): (Vec<_>, Vec<_>) = older.proofs.into_iter().partition(missing);
                    previous.proofs.extend(older);
                }
                write_atomically(&place, &serde_json::to_vec_pretty(&previous)?)?;
                left_out.push(format!("{gone} leaves of the older file are kept in {}", place.display()));
            }
        }
        write_atomically(out, &serde_json::to_vec_pretty(&export)?)?;
        Ok((export.proofs.len(), left_out))
    }

    /// The proof of a leaf; the inner error is why there is none yet.
    ///
    /// # Errors
    /// `Answer` for a proof that is not true; if the coordinator or the node does not answer.
    pub async fn proof_of(&self, coin: &Coin, last_final: u32) -> eyre::Result<Result<Proof, String>> {
        use client::api::ClientError::Refused;
        // Under the last final root if the leaf is there, else under the contract's present one.
        let mut answer = self.client.ownership_proof(coin.index, None).await;
        if matches!(answer, Err(Refused(_))) {
            let on_l1 = self.l1.contract().state().await?.batch_no;
            answer = self.client.ownership_proof(coin.index, Some(on_l1)).await;
        }
        let proof = match answer {
            Ok(proof) => proof,
            Err(Refused(refused)) => return Ok(Err(format!("{} ({})", refused.message, refused.code))),
            Err(error) => return Err(error.into()),
        };
        check(&proof, coin.index, &self.holder.address(), &self.holder.key_hashes())
            .map_err(WalletError::Answer)?;
        match self.root_on_l1(proof.batch_number).await? {
            None => Ok(Err(format!("batch {} is not on L1 yet", proof.batch_number))),
            Some(root) if root != proof.root => Err(WalletError::Answer(format!(
                "the proof of leaf {} is under a root that L1 does not have for batch {}",
                proof.index, proof.batch_number
            ))
            .into()),
            Some(_) => Ok(Ok(Proof {
                batch: proof.batch_number,
                root: bn254::fr_to_hex(&proof.root),
                index: proof.index,
                owner: proof.owner,
                key_hash: bn254::fr_to_hex(&proof.key_hash),
                low: proof.low,
                high: proof.high,
                leaf: bn254::fr_to_hex(&proof.leaf),
                final_on_l1: proof.batch_number <= last_final,
                siblings: proof.siblings,
            })),
        }
    }
}

impl Export {
    /// Whether this may stand where that stood; returns how many of its leaves are gone.
    fn replaces(&self, old: &Self) -> Result<usize, String> {
        for (what, ours, theirs) in [
            ("chain", self.chain_id.to_string(), old.chain_id.to_string()),
            ("contract", self.contract.clone(), old.contract.clone()),
            ("owner", self.owner.clone(), old.owner.clone()),
        ] {
            if !ours.eq_ignore_ascii_case(&theirs) {
                return Err(format!(
                    "the file that is there is for another {what} ({theirs}); name another --out"
                ));
            }
        }
        let newest = |export: &Self| export.proofs.iter().map(|proof| proof.batch).max().unwrap_or(0);
        if newest(self) < newest(old) {
            return Err(format!(
                "the proofs that are there are of batch {}, the new ones of batch {}: older",
                newest(old),
                newest(self)
            ));
        }
        let there = |index: u64| self.proofs.iter().any(|proof| proof.index == index);
        Ok(old.proofs.iter().filter(|proof| !there(proof.index)).count())
    }
}

/// The export that is there; nothing where no file is. Anything else is somebody's file.
fn read(out: &Path) -> Result<Option<Export>, String> {
    let text = match std::fs::read(out) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("the file that is there cannot be read ({error})")),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|_| "the file that is there is no export of this version; name another --out".to_owned())
}

/// A proof is worth keeping if it opens this wallet's leaf and its path leads to its root.
fn check(proof: &OwnershipProof, index: u64, owner: &[u8; 20], key_hashes: &[Fr]) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("the proof of leaf {index} {what}"));
    if proof.index != index {
        return wrong("is of another leaf");
    }
    if proof.owner != *owner {
        return wrong("is of another owner");
    }
    if !key_hashes.contains(&proof.key_hash) {
        return wrong("is of a key that is not this wallet's");
    }
    if CoinRange::new(proof.low, proof.high).is_err() {
        return wrong("holds no range of coins");
    }
    if leads(proof) { Ok(()) } else { wrong("does not lead to its root") }
}

/// Whether a proof is whole in itself: its leaf is that of its owner, key and coins, and its path leads to its root.
pub fn leads(proof: &OwnershipProof) -> bool {
    let Ok(range) = CoinRange::new(proof.low, proof.high) else { return false };
    let leaf = leaf::leaf(&leaf::account(&proof.owner, &proof.key_hash), &range);
    let siblings: Result<Vec<tree::Siblings>, _> = proof
        .siblings
        .iter()
        .map(|[a, b, c]| Ok([bn254::fr_from_hex(a)?, bn254::fr_from_hex(b)?, bn254::fr_from_hex(c)?]))
        .collect::<Result<_, bn254::EncodingError>>();
    leaf == proof.leaf
        && siblings.is_ok_and(|siblings| {
            siblings.len() == tree::DEPTH && tree::root_from(leaf, 0, proof.index, &siblings) == proof.root
        })
}

/// Where proofs go when nobody says.
pub fn default_out() -> PathBuf {
    PathBuf::from("proofmill-ownership.json")
}

#[cfg(test)]
mod tests {
    use client::api::codec::hex_text;

    use super::*;

    const INDEX: u64 = 5;

    fn proof(key_hash: Fr) -> OwnershipProof {
        let (owner, range) = ([1; 20], CoinRange::new(3, 9).unwrap());
        let leaf = leaf::leaf(&leaf::account(&owner, &key_hash), &range);
        let siblings: Vec<tree::Siblings> =
            (0..tree::DEPTH as u64).map(|level| [level, 1, 2].map(Fr::from)).collect();
        OwnershipProof {
            batch_number: 1,
            root: tree::root_from(leaf, 0, INDEX, &siblings),
            index: INDEX,
            owner,
            key_hash,
            low: 3,
            high: 9,
            amount: 7,
            leaf,
            siblings: siblings.iter().map(|level| level.map(|word| bn254::fr_to_hex(&word))).collect(),
            final_on_l1: true,
        }
    }

    #[test]
    fn a_proof_of_anything_but_this_wallets_leaf_is_refused() {
        let keys = [Fr::default(), Fr::from(7)];
        for key in keys {
            assert_eq!(check(&proof(key), INDEX, &[1; 20], &keys), Ok(()));
        }
        type Lie = (&'static str, fn(&mut OwnershipProof));
        let lies: [Lie; 8] = [
            ("another leaf", |p| p.index += 1),
            ("another owner", |p| p.owner = [2; 20]),
            ("not this wallet's", |p| *p = proof(Fr::from(8))),
            ("no range", |p| p.low = 10),
            ("does not lead", |p| p.high += 1),
            ("does not lead", |p| p.root += Fr::from(1)),
            ("does not lead", |p| drop(p.siblings.pop())),
            ("does not lead", |p| p.siblings[0][0] = "0xzz".into()),
        ];
        for (words, lie) in lies {
            let mut proof = proof(keys[1]);
            lie(&mut proof);
            let refusal = check(&proof, INDEX, &[1; 20], &keys).unwrap_err();
            assert!(refusal.contains(words), "{words}: {refusal}");
        }
    }

    #[test]
    fn a_file_gives_way_only_to_a_newer_one_of_the_same_wallet() {
        let one = |batch: u32, index: u64| Proof {
            batch,
            root: String::new(),
            index,
            owner: [1; 20],
            key_hash: String::new(),
            low: 1,
            high: 2,
            leaf: String::new(),
            siblings: Vec::new(),
            final_on_l1: true,
        };
        let export = |proofs: Vec<Proof>| Export {
            version: 2,
            chain_id: 1,
            contract: hex_text(&[2; 20]),
            owner: hex_text(&[1; 20]),
            exported_at: 0,
            proofs,
        };
        let old = export(vec![one(4, 7), one(5, 8)]);
        assert_eq!(export(vec![one(5, 7), one(5, 8)]).replaces(&old), Ok(0));
        assert_eq!(export(vec![one(6, 8)]).replaces(&old), Ok(1));
        assert!(export(vec![one(4, 7), one(4, 8)]).replaces(&old).unwrap_err().contains("older"));
        let other = Export { chain_id: 2, ..export(vec![one(9, 7)]) };
        assert!(other.replaces(&old).unwrap_err().contains("another chain"));
    }
}
