//! Every hint of whole batches set wrong, alone, with everything after it computed honestly: the circuit refuses, or L1 does,
//! or it is one of the few that are harmless.

use std::collections::BTreeMap;

use bn254::Fr;
use ff::Field;
use rayon::prelude::*;

use super::{
    scene::{OldRoot, Played, Scene},
    stage::Stage,
};
use crate::slot::{ForcedKind, SlotInput};

/// What came of a wrong hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// By a constraint.
    Refused,
    /// D differs in a word that the contract knows: domain, batch number, oldRoot, a deposit, a forced request.
    RefusedByL1,
    /// D is the same, word by word: nobody can see a difference, in the tree neither.
    Invisible,
    /// A valid batch with another effect.
    OtherBatch,
}

fn judge(scene: &Scene, played: &Played) -> Verdict {
    let (now, then) = (&played.words, &scene.honest().words);
    if played.violations().next().is_some() {
        Verdict::Refused
    } else if now == then {
        Verdict::Invisible
    } else if now.len() == then.len() && known_to_l1(scene, now) != known_to_l1(scene, then) {
        Verdict::RefusedByL1
    } else {
        Verdict::OtherBatch
    }
}

/// The words of D that the contract has itself: its deployment, its count, its root, its two queues. The outcome of a forced
/// request is none of them.
fn known_to_l1(scene: &Scene, words: &[Fr]) -> Vec<Fr> {
    let (head, mints) = (7, 2 * scene.layout.shape.mint_places());
    let mut known = words[..4].to_vec();
    known.extend(&words[head..head + mints]);
    if let Some(SlotInput::Forced(entry)) = scene.batch.input.slots.last().map(|slot| &slot.input)
        && let Some([tag, account, detail]) = words[head + mints..].last_chunk()
    {
        let request = |hit: u64| {
            let kind = if entry.kind == ForcedKind::Exit { 3 } else { 4 };
            Fr::from(kind + 16 * hit) + Fr::from(256) * Fr::from(entry.index)
        };
        let outcome = if [0, 1].map(request).contains(tag) { Fr::ZERO } else { *tag };
        known.extend([outcome, *account]);
        known.extend((entry.kind == ForcedKind::Rekey).then_some(*detail));
    }
    known
}

/// What stands in a slot, or where else a hint is.
fn kind(scene: &Scene, variable: usize) -> &'static str {
    let Some(slot) = scene.layout.slot_of(scene.layout.piece_of(variable)) else { return "batch" };
    match &scene.batch.input.slots[slot].input {
        SlotInput::Noop => "no-op",
        SlotInput::Signed(spend) if spend.output().is_some() => "send",
        SlotInput::Signed(_) => "withdrawal",
        SlotInput::Forced(entry) => match (entry.kind, entry.hit(), entry.held.is_some()) {
            (ForcedKind::Exit, true, _) => "exit, hit",
            (ForcedKind::Exit, false, true) => "exit, miss",
            (ForcedKind::Exit, false, false) => "exit, empty",
            (ForcedKind::Rekey, true, _) => "re-key, hit",
            (ForcedKind::Rekey, false, true) => "re-key, miss",
            (ForcedKind::Rekey, false, false) => "re-key, empty",
        },
    }
}

/// Hints that may be set otherwise: kinds of slots (by their beginning; empty is all), hints, what comes of it, and why it
/// is harmless.
const HARMLESS: &[(&[&str], &[&str], Verdict, &str)] = &[
    (
        &["no-op"],
        &[
            "slot/index bit",
            "slot/low",
            "slot/high",
            "slot/split",
            "slot/owner",
            "slot/account",
            "slot/empty",
            "slot/recipient",
            "slot/validUntil",
            "slot/signature/S",
            "spend/path/node",
        ],
        Verdict::Invisible,
        "a no-op may name any leaf: it leaves it as it is and shows nothing",
    ),
    (
        &["no-op", "send", "withdrawal"],
        &["slot/requested account", "slot/new account"],
        Verdict::Invisible,
        "L1 asked nothing of this slot",
    ),
    (&["exit"], &["slot/new account"], Verdict::Invisible, "an exit has no new account"),
    (
        &["exit", "re-key"],
        &["slot/owner", "slot/recipient", "slot/validUntil", "slot/signature/S"],
        Verdict::Invisible,
        "nobody signs a forced slot",
    ),
    (
        &["exit, empty", "re-key, empty"],
        &["slot/account", "slot/low", "slot/high", "slot/split"],
        Verdict::Invisible,
        "there is no leaf, so no account and no coins",
    ),
    (
        &[""],
        &[
            "frame/mint is unused/inverse",
            "slot/nothing is left/inverse",
            "slot/requested account holds it/inverse",
        ],
        Verdict::Invisible,
        "0 has no inverse, so any number does; the flag beside it is fixed all the same",
    ),
    (
        &["send", "withdrawal", "exit", "re-key"],
        &["slot/send", "slot/withdraw", "slot/exit", "slot/re-key"],
        Verdict::OtherBatch,
        "the slot becomes a no-op, which an operator may always put in its place; promises and deadlines are against that",
    ),
    (
        &["batch"],
        &["frame/start bit"],
        Verdict::OtherBatch,
        "the operator chooses where a batch starts; the contract bounds it",
    ),
];

fn is_harmless(kind: &str, hint: &str, verdict: Verdict) -> bool {
    HARMLESS.iter().any(|(kinds, hints, allowed, _)| {
        *allowed == verdict && kinds.iter().any(|k| kind.starts_with(k)) && hints.contains(&hint)
    })
}

/// Sets each hint that `chosen` names wrong and returns what was neither refused nor harmless.
fn not_refused(scenes: &[Scene], chosen: impl Fn(&Scene) -> Vec<usize>) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut tried = 0;
    for scene in scenes {
        let hints = chosen(scene);
        tried += hints.len();
        let verdicts: Vec<(usize, Verdict)> = hints
            .into_par_iter()
            .map(|hint| {
                let value = scene.value(hint);
                // Bits are flipped, everything else moves by one.
                let wrong = if value == Fr::ONE { Fr::ZERO } else { value + Fr::ONE };
                (hint, judge(scene, &scene.play(&[(hint, wrong)], OldRoot::Pinned)))
            })
            .collect();
        for (hint, verdict) in verdicts {
            let (kind, name) = (kind(scene, hint), &*scene.layout.listing.variables[hint]);
            let refused = matches!(verdict, Verdict::Refused | Verdict::RefusedByL1);
            if !refused && !is_harmless(kind, name, verdict) {
                *found.entry(format!("{kind}: {name}: {verdict:?}")).or_default() += 1;
            }
        }
    }
    println!("{tried} hints set wrong");
    found
}

/// One hint of each name in each piece of a batch, another one in each scene.
#[test]
fn a_wrong_hint_of_each_name_is_refused_in_every_kind_of_batch() {
    let stage = Stage::new();
    let scenes = stage.scenes();
    let found = not_refused(&scenes, |scene| {
        let layout = &scene.layout;
        let turn = scenes.iter().position(|other| other.name == scene.name).unwrap();
        let mut by_name: BTreeMap<(usize, &str), Vec<usize>> = BTreeMap::new();
        for hint in &layout.listing.hints {
            let name = &*layout.listing.variables[*hint];
            by_name.entry((layout.piece_of(*hint), name)).or_default().push(*hint);
        }
        by_name.into_values().map(|hints| hints[turn * 7 % hints.len()]).collect()
    });
    assert_eq!(found, BTreeMap::new());
}

#[test]
#[ignore = "all hints of all batches: minutes; scripts/mutate-circuits runs it"]
fn every_wrong_hint_is_refused_in_every_kind_of_batch() {
    let stage = Stage::new();
    let found = not_refused(&stage.scenes(), |scene| scene.layout.listing.hints.clone());
    assert_eq!(found, BTreeMap::new());
}
