//! What became of promises whose batch is final on L1.
//!
//! Invariant: a promise leaves its shelf only if L1 shows that it was kept: the leaf at its place under a root of L1, or the
//! coins in the record of what left. One that L1 shows to be broken becomes evidence. That the coordinator shows nothing is no
//! proof of either (the leaf may be spent), so the promise stays.

use circuits::leaf::{self, CoinRange};
use client::api::{ClientError, OwnershipProof, Promise};
use eyre::Result;
use serde_json::json;

use crate::{
    error::WalletError,
    folder::Shelf,
    promise::{Kept, PromiseError},
    proofs,
    session::{Session, now},
};

/// What L1 shows of one promise.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Kept,
    Broken(PromiseError),
    /// The coordinator says that its place is empty after the last final batch.
    Empty,
    /// Nothing yet.
    Later,
}

impl Session {
    /// Drops promises that were kept, keeps evidence of broken ones. With `again`, also asks for those of which nothing was shown
    /// before.
    ///
    /// # Errors
    /// If one cannot be read or removed, or the node does not answer.
    pub async fn prune_promises(&self, again: bool) -> Result<()> {
        let last = self.l1.contract().final_batch().await?.unwrap_or(0);
        for mut kept in self.folder.all::<Kept>(Shelf::Promises)? {
            if kept.batch > last || kept.unshown && !again {
                continue;
            }
            let name = hex::encode(kept.signed.operation);
            match self.shown(&kept, last).await {
                Ok(Shown::Kept) => self.folder.remove(Shelf::Promises, &name)?,
                Ok(Shown::Broken(reason)) => {
                    let evidence = json!({
                        "reason": reason.to_string(),
                        "at": now(),
                        "coordinator": self.client.url(),
                        "promise": kept,
                    });
                    let evidence =
                        self.folder.put(Shelf::Evidence, &format!("{}-{}", now(), &name[..16]), &evidence)?;
                    self.folder.remove(Shelf::Promises, &name)?;
                    (self.tell)(&format!("{reason}; the evidence is in {}", evidence.display()));
                }
                Ok(Shown::Empty) if !kept.unshown => {
                    kept.unshown = true;
                    self.folder.put(Shelf::Promises, &name, &kept)?;
                }
                Ok(Shown::Empty | Shown::Later) => {}
                // Housekeeping holds up no payment; the next command asks again.
                Err(error) => (self.tell)(&format!("promise of operation {}: {error:#}", kept.operation)),
            }
        }
        Ok(())
    }

    async fn shown(&self, kept: &Kept, last_final: u32) -> Result<Shown> {
        if kept.signed.withdraw {
            return self.let_out(kept).await;
        }
        let mut shown = Shown::Kept;
        for promise in &kept.promises {
            match self.made(promise, last_final).await? {
                Shown::Kept => {}
                broken @ Shown::Broken(_) => return Ok(broken),
                empty_or_later => shown = empty_or_later,
            }
        }
        Ok(shown)
    }

    /// Whether the leaf of a promise is at its place.
    async fn made(&self, promise: &Promise, last_final: u32) -> Result<Shown> {
        let refused =
            |error: &ClientError, code: &str| matches!(error, ClientError::Refused(one) if one.code == code);
        let mut answer = self.client.ownership_proof(promise.index, Some(last_final)).await;
        if answer.as_ref().is_err_and(|error| refused(error, "BATCH_NOT_AVAILABLE")) {
            // Its last final batch is another one than the node's.
            answer = self.client.ownership_proof(promise.index, None).await;
            if answer.as_ref().is_err_and(|error| matches!(error, ClientError::Refused(_))) {
                return Ok(Shown::Later);
            }
        }
        let proof = match answer {
            Ok(proof) => proof,
            Err(error) if refused(&error, "LEAF_EMPTY") => return Ok(Shown::Empty),
            Err(ClientError::Refused(_)) => return Ok(Shown::Later),
            Err(error) => return Err(error.into()),
        };
        if proof.batch_number < promise.batch_number {
            return Ok(Shown::Later);
        }
        let answer =
            |what: &str| WalletError::Answer(format!("the proof of leaf {} {what}", promise.index)).into();
        if proof.index != promise.index || !proofs::leads(&proof) {
            return Err(answer("does not lead to its root"));
        }
        match self.root_on_l1(proof.batch_number).await? {
            Some(root) if root == proof.root => Ok(judge(promise, &proof)),
            Some(_) => Err(answer("is under a root that L1 does not have")),
            None => Ok(Shown::Later),
        }
    }

    /// Whether the coins of a withdrawal left with its batch.
    async fn let_out(&self, kept: &Kept) -> Result<Shown> {
        let block = self.client.batch(kept.batch).await?.and_then(|batch| batch.l1_block);
        let Some(block) = block else { return Ok(Shown::Later) };
        let Some(credits) = self.l1.contract().credits_of(kept.batch, block).await? else {
            let what = format!("batch {} is not in block {block} of L1", kept.batch);
            return Err(WalletError::Answer(what).into());
        };
        let missing = |promise: &&Promise| {
            let credited = (kept.signed.sender, promise.low, promise.high);
            !credits.contains(&credited)
        };
        Ok(match kept.promises.iter().find(missing) {
            None => Shown::Kept,
            Some(&Promise { low, high, .. }) => {
                Shown::Broken(PromiseError::NotLetOut { batch: kept.batch, low, high })
            }
        })
    }
}

/// A place is written once and its leaf only shrinks from below: it holds the promised leaf, or what is left of it.
fn judge(promise: &Promise, proof: &OwnershipProof) -> Shown {
    let account = leaf::account(&proof.owner, &proof.key_hash);
    let inside = CoinRange::new(proof.low, proof.high).is_ok()
        && promise.low <= proof.low
        && proof.high == promise.high;
    if account == promise.account && inside {
        return Shown::Kept;
    }
    Shown::Broken(PromiseError::OtherLeaf { batch: proof.batch_number, index: promise.index })
}

#[cfg(test)]
mod tests {
    use bn254::Fr;

    use super::*;

    #[test]
    fn a_promise_is_kept_by_its_leaf_or_by_what_is_left_of_it() {
        let (owner, key_hash) = ([1; 20], Fr::from(7));
        let promise = Promise {
            operation_id: [4; 32],
            kind: 1,
            batch_number: 3,
            index: 64,
            account: leaf::account(&owner, &key_hash),
            low: 5,
            high: 9,
            deadline: 1,
            signer: [0; 20],
            signature: Vec::new(),
        };
        let proof = |owner, key_hash, low, high| OwnershipProof {
            batch_number: 4,
            root: Fr::from(0),
            index: 64,
            owner,
            key_hash,
            low,
            high,
            amount: 1,
            leaf: Fr::from(0),
            siblings: Vec::new(),
            final_on_l1: true,
        };
        for low in [5, 9] {
            assert_eq!(judge(&promise, &proof(owner, key_hash, low, 9)), Shown::Kept);
        }
        let broken = Shown::Broken(PromiseError::OtherLeaf { batch: 4, index: 64 });
        for (owner, key_hash, low, high) in [
            ([2; 20], key_hash, 5, 9),
            (owner, Fr::from(8), 5, 9),
            (owner, key_hash, 4, 9),
            (owner, key_hash, 5, 8),
            (owner, key_hash, 5, 10),
            (owner, key_hash, 10, 9),
        ] {
            assert_eq!(judge(&promise, &proof(owner, key_hash, low, high)), broken, "{low}..={high}");
        }
    }
}
