//! How attackers cheat: a batch with other fields, signed anew by whoever attacks, and variables set by name.

use bn254::Fr;
use ff::Field;
use num_bigint::BigUint;

use super::{Claim, OldRoot, Played, Scene, Stage, coins};
use crate::{
    baby_jubjub::{Point, base8, fr_from_biguint, fr_to_biguint, order, start_scalar},
    batch::Prepared,
    eddsa::{Signature, challenge},
    fixture::{Operation, Wallet},
    leaf::{account, key_hash},
    message::SignedKind,
    slot::{ForcedEntry, HeldLeaf, SignedSpend, SlotInput},
    testing::adversary::Change,
    tree::{ARITY, subtree_root},
};

pub const NOOP: Operation = Operation::Noop;
/// The sites that compare the two sides of a signature's equation.
pub const EQUATION: &[&str] = &["slot/signature/equation/same x", "slot/signature/equation/same y"];

pub fn send(stage: &Stage) -> Scene {
    stage.scene("a send", &[Operation::Send { index: 3, split: 10, recipient: stage.bob.account }], &[])
}

pub fn withdrawal(stage: &Stage) -> Scene {
    stage.scene("a withdrawal", &[Operation::Withdraw { index: 3, split: 10 }], &[])
}

/// A send in the slot that could be a forced one.
pub fn last_send(stage: &Stage) -> Scene {
    let send = Operation::Send { index: 3, split: 10, recipient: stage.bob.account };
    stage.scene("a send in the last slot", &[NOOP, NOOP, send], &[])
}

pub fn exit(stage: &Stage, index: u64, wallet: &Wallet) -> Scene {
    stage.scene("an exit", &[NOOP, NOOP, Operation::Exit { index, account: wallet.account }], &[])
}

pub fn signed(batch: &mut Prepared, slot: usize) -> &mut SignedSpend {
    match &mut batch.input.slots[slot].input {
        SlotInput::Signed(spend) => spend,
        other => panic!("slot {slot} holds {other:?}"),
    }
}

pub fn forced(batch: &mut Prepared) -> &mut ForcedEntry {
    match &mut batch.input.slots[2].input {
        SlotInput::Forced(entry) => entry,
        other => panic!("slot 2 holds {other:?}"),
    }
}

/// Changes a signed slot, and its holder signs what it now says.
pub fn signed_anew(
    scene: &Scene,
    slot: usize,
    wallet: &Wallet,
    change: impl FnOnce(&mut SignedSpend),
) -> Scene {
    scene.with(|batch| {
        let domain = batch.public_data.head.domain;
        let spend = signed(batch, slot);
        change(spend);
        spend.signature = wallet.private.sign(&spend.message(&domain));
    })
}

pub fn played(scene: &Scene) -> Played {
    scene.play(&[], OldRoot::Pinned)
}

/// Sets variables of a slot, by the first of their name.
pub fn set(scene: &Scene, slot: usize, values: &[(&str, Fr)]) -> Vec<Change> {
    let piece = scene.layout.slot(slot);
    values
        .iter()
        .map(|(name, value)| (scene.layout.named(piece, &format!("slot/{name}"))[0], *value))
        .collect()
}

pub fn cheat(scene: &Scene, slot: usize, values: &[(&str, Fr)]) -> Played {
    scene.play(&set(scene, slot, values), OldRoot::Pinned)
}

pub fn two_to_64() -> Fr {
    crate::leaf::two_to_64()
}

/// A holder who knows the scalar of his key: A = secret·Base8.
pub struct Scalar {
    secret: BigUint,
    key: Point,
}

impl Scalar {
    fn new(secret: u64) -> Self {
        let secret = BigUint::from(secret);
        Self { key: base8().mul(&secret), secret }
    }

    /// S for a nonce of which R8 = nonce·Base8 + torsion, where h is what the ladder takes it for.
    fn respond(&self, nonce: u64, h: &BigUint) -> BigUint {
        (BigUint::from(nonce) + h * 8u32 * &self.secret) % order()
    }
}

/// A send from a leaf that a known scalar holds, signed by `sign` over the message.
pub fn send_of_scalar(stage: &Stage, scalar: &Scalar, sign: impl FnOnce(&Fr) -> Signature) -> Scene {
    let owner = [9; 20];
    let mut fixture = stage.fixture.clone();
    let held = HeldLeaf { account: account(&owner, &key_hash(&scalar.key)), range: coins(500, 600) };
    fixture.set_leaf(23, held.hash());
    let domain = fixture.domain;
    let mut spend = SignedSpend {
        kind: SignedKind::Send,
        index: 23,
        owner,
        key: scalar.key,
        range: held.range,
        split: 550,
        recipient: stage.bob.account,
        valid_until: 99,
        signature: Signature { r8: Point::IDENTITY, s: Fr::ZERO },
    };
    spend.signature = sign(&spend.message(&domain));
    let mut batch = send(stage).batch;
    batch.input.slots[0].input = SlotInput::Signed(Box::new(spend));
    batch.public_data.head.old_root = fixture.root();
    Scene::evil("a send of a known scalar", &stage.layout, &fixture, batch)
}

/// 2·2^253·T0 as a scalar of Base8: what turns a point of the circuit's sums into the opposite of another.
pub fn twice_the_offset() -> BigUint {
    (start_scalar() << 254u32) % order()
}

pub fn minus(x: BigUint) -> BigUint {
    (order() - x % order()) % order()
}

/// A signature whose two sides are mirror images: the same y if R8 is in the subgroup, the same x with a torsion point.
pub fn mirrored(stage: &Stage, torsion: Point) -> Played {
    let scalar = Scalar::new(1234);
    let nonce = 77;
    played(&send_of_scalar(stage, &scalar, |message| {
        let r8 = base8().mul(&BigUint::from(nonce)).add(&torsion);
        let h = fr_to_biguint(&challenge(&r8, &scalar.key, message));
        let s = minus(scalar.respond(nonce, &h) + twice_the_offset());
        Signature { r8, s: fr_from_biguint(&s) }
    }))
}

/// The bits of S or h set to those of another integer of the same residue.
pub fn other_bits(scene: &Scene, what: &str, integer: &BigUint) -> Vec<Change> {
    let piece = scene.layout.slot(0);
    let listing = &scene.layout.listing;
    let is_bit = |v: &usize| {
        let name = &*listing.variables[*v];
        name == format!("slot/signature/{what}/free bit")
            || name == format!("slot/signature/{what}/bounded bit")
    };
    // Allocated from the top.
    let bits: Vec<usize> = scene.layout.variables(piece).filter(is_bit).collect();
    assert!(integer.bits() <= bits.len() as u64, "{integer} has too many bits");
    let value = |i: usize| Fr::from(u64::from(integer.bit((bits.len() - 1 - i) as u64)));
    bits.iter().enumerate().map(|(i, bit)| (*bit, value(i))).collect()
}

/// h + r instead of h as the challenge, with an S that fits it.
pub fn challenge_plus_r(stage: &Stage) -> Played {
    let scalar = Scalar::new(1234);
    let modulus = fr_to_biguint(&-Fr::ONE) + 1u32;
    let room = (BigUint::from(1u32) << 254u32) - &modulus;
    let mut raised = BigUint::ZERO;
    let scene = send_of_scalar(stage, &scalar, |message| {
        let nonce = (1u64..)
            .find(|nonce| {
                let r8 = base8().mul(&BigUint::from(*nonce));
                fr_to_biguint(&challenge(&r8, &scalar.key, message)) < room
            })
            .unwrap();
        let r8 = base8().mul(&BigUint::from(nonce));
        raised = fr_to_biguint(&challenge(&r8, &scalar.key, message)) + &modulus;
        Signature { r8, s: fr_from_biguint(&scalar.respond(nonce, &raised)) }
    });
    scene.play(&other_bits(&scene, "h", &raised), OldRoot::Pinned)
}

/// S + l instead of S.
pub fn scalar_plus_l(stage: &Stage) -> Played {
    let scalar = Scalar::new(1234);
    let room = (BigUint::from(1u32) << 251u32) - order();
    played(&send_of_scalar(stage, &scalar, |message| {
        let respond = |nonce: u64| {
            let r8 = base8().mul(&BigUint::from(nonce));
            let h = fr_to_biguint(&challenge(&r8, &scalar.key, message));
            (r8, scalar.respond(nonce, &h))
        };
        let (r8, s) = (1u64..).map(respond).find(|(_, s)| *s < room).unwrap();
        Signature { r8, s: fr_from_biguint(&(s + order())) }
    }))
}

/// Carried nodes of the attacker's choice under a midRoot that is theirs.
pub fn another_tree(stage: &Stage) -> Played {
    let scene = send(stage);
    let layout = &scene.layout;
    let nodes: Vec<usize> = layout.named(layout.append(), "append/carried node");
    let mut values: Vec<Fr> = nodes.iter().map(|node| scene.value(*node)).collect();
    values[3] += Fr::ONE;
    let mut changes: Vec<Change> = nodes.into_iter().zip(values.iter().copied()).collect();
    assert_eq!(values.len(), ARITY);
    changes.push((layout.named(0, "frame/midRoot")[0], subtree_root(&values)));
    scene.play(&changes, OldRoot::Pinned)
}

pub fn with_root(stage: &Stage, name: &str) -> Played {
    let scene = send(stage);
    let root = scene.layout.named(0, name)[0];
    scene.play(&[(root, scene.value(root) + Fr::ONE)], OldRoot::Pinned)
}

pub fn with_claim(stage: &Stage, claim: impl FnOnce(&Played) -> Claim) -> Played {
    let mut scene = send(stage);
    scene.claim = claim(scene.honest());
    scene.play(&[], OldRoot::Pinned)
}
