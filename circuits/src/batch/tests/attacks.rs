//! The attacks of the design that concern circuits, by name. Everything behind the cheat is done again honestly: signatures of
//! whoever is the attacker, the tree, roots, D, h, c and e. So each attack meets the constraints against it and no other.

mod cheats;

use std::collections::BTreeSet;

use bn254::Fr;
use ff::Field;

use super::{
    scene::{Claim, OldRoot, Played, Scene},
    stage::{START, Stage, coins},
};
use crate::{
    baby_jubjub::Point,
    batch::Prepared,
    fixture::Operation,
    message::SignedKind,
    shape::Shape,
    slot::{ForcedEntry, ForcedKind, HeldLeaf},
};
use cheats::*;

pub struct Attack {
    pub name: &'static str,
    pub play: fn(&Stage) -> Played,
    pub refused_by: &'static [&'static str],
}

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "the same message twice in one batch",
        play: |stage| played(&send(stage).with(|b| b.input.slots[1].input = b.input.slots[0].input.clone())),
        refused_by: &["spend/the leaf is in the tree"],
    },
    Attack {
        name: "a message again in a later batch, when its leaf is gone",
        play: |stage| {
            let first = send(stage);
            let mut fixture = stage.fixture.clone();
            let spend = Operation::Send { index: 3, split: 10, recipient: stage.bob.account };
            fixture.batch(Shape::S3M1, &[spend], &[]);
            let mut batch = Prepared::new(fixture.clone().batch(Shape::S3M1, &[], &[])).unwrap();
            batch.input.slots[0] = first.batch.input.slots[0].clone();
            played(&Scene::evil("a later batch", &stage.layout, &fixture, batch))
        },
        refused_by: &["spend/the leaf is in the tree"],
    },
    Attack {
        name: "a message for another chain or contract",
        play: |stage| played(&send(stage).with(|b| b.public_data.head.domain = Fr::from(78))),
        refused_by: EQUATION,
    },
    Attack {
        name: "an expired message",
        play: |stage| {
            let last = send(stage).with(|b| b.public_data.head.batch_no += 5);
            assert_eq!(played(&last).sites(), BTreeSet::new(), "the last batch that may run it");
            played(&last.with(|b| b.public_data.head.batch_no += 1))
        },
        refused_by: &["slot/valid in this batch/sum"],
    },
    Attack {
        name: "a validUntil of 33 bits",
        play: |stage| {
            let scene = withdrawal(stage);
            let far = Fr::from((1u64 << 32) + 2);
            cheat(&scene, 1, &[("validUntil", far)])
        },
        refused_by: &["slot/validUntil/sum"],
    },
    Attack {
        name: "a forged S",
        play: |stage| played(&send(stage).with(|b| signed(b, 0).signature.s += Fr::ONE)),
        refused_by: EQUATION,
    },
    Attack {
        name: "another recipient than signed",
        play: |stage| played(&send(stage).with(|b| signed(b, 0).recipient = stage.alice.account)),
        refused_by: EQUATION,
    },
    Attack {
        name: "another split than signed",
        play: |stage| played(&send(stage).with(|b| signed(b, 0).split = 11)),
        refused_by: EQUATION,
    },
    Attack {
        name: "another kind than signed",
        play: |stage| played(&withdrawal(stage).with(|b| signed(b, 0).kind = SignedKind::Send)),
        refused_by: EQUATION,
    },
    Attack {
        name: "another validUntil than signed",
        play: |stage| played(&send(stage).with(|b| signed(b, 0).valid_until += 1)),
        refused_by: EQUATION,
    },
    Attack {
        name: "a signature whose two sides differ in x only",
        play: |stage| mirrored(stage, Point::IDENTITY),
        refused_by: &["slot/signature/equation/same x"],
    },
    Attack {
        name: "a signature whose two sides differ in y only",
        play: |stage| mirrored(stage, Point { x: Fr::ZERO, y: -Fr::ONE }),
        refused_by: &["slot/signature/equation/same y"],
    },
    Attack {
        name: "S + l as a second signature",
        play: scalar_plus_l,
        refused_by: &["slot/signature/S/bounded bit"],
    },
    Attack {
        name: "h + r as a second challenge",
        play: challenge_plus_r,
        refused_by: &["slot/signature/h/bounded bit"],
    },
    Attack {
        name: "the other root of the curve's equation as R8, -x for x",
        play: |stage| {
            played(&send(stage).with(|b| {
                let r8 = &mut signed(b, 0).signature.r8;
                *r8 = r8.neg();
            }))
        },
        refused_by: EQUATION,
    },
    Attack {
        name: "a key of small order, for which anybody can sign",
        play: |stage| cheat(&stage.scene("no-ops", &[], &[]), 0, &[("key/x", Fr::ZERO), ("key/y", Fr::ONE)]),
        refused_by: &["slot/signature/h·8A/key/u"],
    },
    Attack {
        name: "a key of another curve",
        play: |stage| {
            let scene = stage.scene("no-ops", &[], &[]);
            let x = scene.layout.named(scene.layout.slot(0), "slot/key/x")[0];
            cheat(&scene, 0, &[("key/x", scene.value(x) + Fr::ONE)])
        },
        refused_by: &["slot/key/on the curve"],
    },
    Attack {
        name: "an R8 of another curve",
        play: |stage| cheat(&stage.scene("no-ops", &[], &[]), 0, &[("signature/R8/x", Fr::ONE)]),
        refused_by: &["slot/signature/R8/on the curve"],
    },
    Attack {
        name: "somebody else's leaf under one's own key and signature",
        play: |stage| {
            // Bob's leaf at 7; Alice signs over its hash.
            let leaf = HeldLeaf { account: stage.bob.account, range: coins(101, 150) };
            let scene = last_send(stage).with(|b| {
                let domain = b.public_data.head.domain;
                let spend = signed(b, 2);
                (spend.index, spend.range, spend.split) = (7, leaf.range, 150);
                let message = crate::message::Message {
                    domain,
                    leaf: leaf.hash(),
                    index: 7,
                    split: 150,
                    kind: SignedKind::Send,
                    valid_until: spend.valid_until,
                    recipient: spend.recipient,
                };
                spend.signature = stage.alice.private.sign(&message.hash());
            });
            cheat(&scene, 2, &[("account", stage.bob.account)])
        },
        refused_by: &["slot/a signer opens the account of his key"],
    },
    Attack {
        name: "a signed spend of coins at an empty place",
        play: |stage| {
            let scene = last_send(stage).with(|b| {
                let domain = b.public_data.head.domain;
                let spend = signed(b, 2);
                spend.index = 20;
                let message = crate::message::Message {
                    domain,
                    leaf: Fr::ZERO,
                    index: 20,
                    split: spend.split,
                    kind: SignedKind::Send,
                    valid_until: spend.valid_until,
                    recipient: spend.recipient,
                };
                spend.signature = stage.alice.private.sign(&message.hash());
            });
            cheat(&scene, 2, &[("empty", Fr::ONE)])
        },
        refused_by: &["slot/a signed leaf is not empty"],
    },
    Attack {
        name: "a signed withdrawal with a recipient",
        play: |stage| {
            let bob = stage.bob.account;
            played(&signed_anew(&withdrawal(stage), 0, &stage.alice, |spend| spend.recipient = bob))
        },
        refused_by: &["slot/a withdrawal has no recipient"],
    },
    Attack {
        name: "a leaf that nobody has, opened and signed by its inventor",
        play: |stage| {
            played(&signed_anew(&send(stage), 0, &stage.alice, |spend| {
                spend.range = coins(1, 1_000);
                spend.split = 1_000;
            }))
        },
        refused_by: &["spend/the leaf is in the tree"],
    },
    Attack {
        name: "a leaf that nobody has, beside the path of one that is there",
        play: |stage| {
            let scene = signed_anew(&send(stage), 0, &stage.alice, |spend| {
                spend.range = coins(1, 1_000);
                spend.split = 1_000;
            });
            let nodes = scene.layout.named(scene.layout.spend(0), "spend/path/node");
            scene.play(&[(nodes[3], stage.fixture.node(0, 3))], OldRoot::Pinned)
        },
        refused_by: &["spend/path/named child"],
    },
    Attack {
        name: "outputs put over leaves that are there, beside their path",
        play: |stage| {
            let scene = stage.scene("a mint", &[], &[stage.mint()]);
            let scene = scene.with(|b| b.public_data.head.start = 4);
            let nodes = scene.layout.named(scene.layout.append(), "append/path/node");
            scene.play(&[(nodes[1], stage.fixture.node(1, 1))], OldRoot::Pinned)
        },
        refused_by: &["append/path/named child"],
    },
    Attack {
        name: "a leaf opened as the range (low - 1, high + 2^64), which packs to the same word",
        play: |stage| cheat(&send(stage), 0, &[("low", Fr::ZERO), ("high", Fr::from(100) + two_to_64())]),
        refused_by: &["slot/high/sum", "slot/split up to high/sum"],
    },
    Attack {
        name: "a split below the leaf, signed",
        play: |stage| played(&signed_anew(&send(stage), 0, &stage.alice, |spend| spend.split = 0)),
        refused_by: &["slot/split from low on/sum"],
    },
    Attack {
        name: "a split above the leaf, signed",
        play: |stage| played(&signed_anew(&send(stage), 0, &stage.alice, |spend| spend.split = 101)),
        refused_by: &["slot/split up to high/sum"],
    },
    Attack {
        name: "a slot that spends its own output",
        play: |stage| {
            let alice = stage.alice.account;
            played(&signed_anew(&send(stage), 0, &stage.alice, |spend| {
                (spend.index, spend.split, spend.recipient) = (START, 100, alice);
            }))
        },
        refused_by: &["slot/index before the place/sum"],
    },
    Attack {
        name: "a mint spent in its own batch",
        play: |stage| {
            let send = Operation::Send { index: 3, split: 10, recipient: stage.bob.account };
            let scene = stage.scene("a send and a mint", &[send], &[stage.mint()]);
            played(&signed_anew(&scene, 0, &stage.alice, |spend| {
                (spend.index, spend.range, spend.split) = (START + 3, stage.mint().range, 350);
            }))
        },
        refused_by: &["slot/index before the place/sum"],
    },
    Attack {
        name: "outputs put over leaves that are there",
        play: |stage| played(&send(stage).with(|b| b.public_data.head.start = 4)),
        refused_by: &["append/oldRoot"],
    },
    Attack {
        name: "a batch on another tree than the contract's",
        play: |stage| with_root(stage, "frame/oldRoot"),
        refused_by: &["append/oldRoot"],
    },
    Attack { name: "another tree after the append", play: another_tree, refused_by: &["append/midRoot"] },
    Attack {
        name: "spends on other nodes than those of midRoot",
        play: |stage| {
            let scene = send(stage);
            let nodes = scene.layout.named(scene.layout.append(), "append/carried node");
            scene.play(&[(nodes[3], Fr::from(5))], OldRoot::Pinned)
        },
        refused_by: &["append/carried nodes are those of midRoot"],
    },
    Attack {
        name: "another tree after the batch",
        play: |stage| with_root(stage, "frame/newRoot"),
        refused_by: &["close/newRoot"],
    },
    Attack {
        name: "a commitment to other data",
        play: |stage| with_claim(stage, |honest| Claim { h: Some(honest.inputs[0] + Fr::ONE), e: None }),
        refused_by: &["close/h"],
    },
    Attack {
        name: "a record shown to L1 that no slot made",
        play: |stage| {
            with_claim(stage, |honest| {
                let mut words = honest.words.clone();
                words.extend([Fr::from(2), Fr::ONE, crate::leaf::pack(1, 10)]);
                let c = crate::public_data::challenge(&honest.inputs[0], &honest.words);
                Claim { h: None, e: Some(crate::public_data::evaluate(&c, &words)) }
            })
        },
        refused_by: &["close/e"],
    },
    Attack {
        name: "a deposit that makes no leaf",
        play: |stage| {
            let scene = stage.scene("a mint", &[], &[stage.mint()]);
            let set = |name: &str, value| {
                (scene.layout.named(0, &format!("frame/mint is unused/{name}"))[0], value)
            };
            scene.play(&[set("inverse", Fr::ZERO), set("zero", Fr::ONE)], OldRoot::Pinned)
        },
        refused_by: &["frame/mint is unused/not both"],
    },
    Attack {
        name: "a leaf of coin 0 from a mint place that is not used",
        play: |stage| {
            let scene = stage.scene("no mint", &[], &[]);
            let zero = scene.layout.named(0, "frame/mint is unused/zero")[0];
            scene.play(&[(zero, Fr::ZERO)], OldRoot::Pinned)
        },
        refused_by: &["frame/mint is unused/one of them"],
    },
    Attack {
        name: "a forced exit skipped by showing an empty leaf",
        play: |stage| played(&exit(stage, 3, &stage.alice).with(|b| forced(b).held = None)),
        refused_by: &["spend/the leaf is in the tree"],
    },
    Attack {
        name: "a forced exit skipped by showing another account's leaf",
        play: |stage| {
            let held = Some(HeldLeaf { account: stage.bob.account, range: coins(1, 100) });
            played(&exit(stage, 3, &stage.alice).with(|b| forced(b).held = held))
        },
        refused_by: &["spend/the leaf is in the tree"],
    },
    Attack {
        name: "a forced exit that hits and is called a miss",
        play: |stage| {
            cheat(&exit(stage, 3, &stage.alice), 2, &[("requested account holds it/zero", Fr::ZERO)])
        },
        refused_by: &["slot/requested account holds it/one of them"],
    },
    Attack {
        name: "a forced exit of somebody else's leaf that is called a hit",
        play: |stage| {
            let miss = exit(stage, 7, &stage.alice);
            let name = "requested account holds it";
            let both = [(format!("{name}/inverse"), Fr::ZERO), (format!("{name}/zero"), Fr::ONE)];
            cheat(&miss, 2, &both.each_ref().map(|(name, value)| (name.as_str(), *value)))
        },
        refused_by: &["slot/requested account holds it/not both"],
    },
    Attack {
        name: "the whole leaf taken for a part, so that a leaf of an empty range stays",
        play: |stage| {
            let scene = stage.scene("all", &[Operation::Withdraw { index: 7, split: 150 }], &[]);
            cheat(&scene, 0, &[("nothing is left/zero", Fr::ZERO)])
        },
        refused_by: &["slot/nothing is left/one of them"],
    },
    Attack {
        name: "a part taken for the whole leaf, so that the change is lost",
        play: |stage| {
            cheat(
                &withdrawal(stage),
                0,
                &[("nothing is left/inverse", Fr::ZERO), ("nothing is left/zero", Fr::ONE)],
            )
        },
        refused_by: &["slot/nothing is left/not both"],
    },
    Attack {
        name: "an exit that is also a re-key",
        play: |stage| cheat(&exit(stage, 3, &stage.alice), 2, &[("re-key", Fr::ONE)]),
        refused_by: &["slot/one kind or none"],
    },
    Attack {
        name: "a withdrawal of coins that nobody holds: a send of -1 makes it no spend at all",
        play: |stage| {
            cheat(&stage.scene("no-ops", &[], &[]), 0, &[("send", -Fr::ONE), ("withdraw", Fr::ONE)])
        },
        refused_by: &["slot/send"],
    },
    Attack {
        name: "an output of coins that nobody holds: a withdrawal of -1 makes it no spend at all",
        play: |stage| {
            cheat(&stage.scene("no-ops", &[], &[]), 0, &[("send", Fr::ONE), ("withdraw", -Fr::ONE)])
        },
        refused_by: &["slot/withdraw"],
    },
    Attack {
        name: "a re-key of a leaf that is not in the tree, with an exit of -1",
        play: |stage| cheat(&stage.scene("no-ops", &[], &[]), 2, &[("exit", -Fr::ONE), ("re-key", Fr::ONE)]),
        refused_by: &["slot/exit"],
    },
    Attack {
        name: "an exit of a leaf that is not in the tree, with a re-key of -1",
        play: |stage| cheat(&stage.scene("no-ops", &[], &[]), 2, &[("exit", Fr::ONE), ("re-key", -Fr::ONE)]),
        refused_by: &["slot/re-key"],
    },
    Attack {
        name: "a node passed off as a leaf",
        play: |stage| {
            let scene = send(stage);
            let mut path = scene.batch.siblings[0].clone();
            path.rotate_left(1);
            let mut scene = scene.with(|_| {});
            scene.shown_paths[0] = Some(path);
            played(&scene)
        },
        refused_by: &["spend/the leaf is in the tree"],
    },
];

#[test]
fn every_attack_is_refused_by_the_constraint_against_it_and_by_no_other() {
    let stage = Stage::new();
    let mut wrong = Vec::new();
    for attack in ATTACKS {
        let sites = (attack.play)(&stage).sites();
        let expected: BTreeSet<String> = attack.refused_by.iter().map(|site| (*site).to_owned()).collect();
        if sites != expected {
            wrong.push(format!("{}: refused by {sites:?}, not by {expected:?}", attack.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The circuit proves what a forced slot did, whatever was asked; that it is what L1 asked, L1 sees in the record.
#[test]
fn a_forced_entry_that_l1_did_not_name_shows_in_its_record() {
    let stage = Stage::new();
    let bob = stage.bob.account;
    let scene = exit(&stage, 3, &stage.alice);
    let leaf_of_bob = HeldLeaf { account: bob, range: coins(101, 150) };
    let others: [(&str, &dyn Fn(&mut ForcedEntry)); 4] = [
        ("another index", &|entry| (entry.index, entry.held) = (7, Some(leaf_of_bob))),
        ("another kind", &|entry| entry.kind = ForcedKind::Rekey),
        ("another account", &|entry| entry.account = bob),
        ("a new account", &|entry| (entry.kind, entry.new_account) = (ForcedKind::Rekey, bob)),
    ];
    let head = 9;
    for (name, change) in others {
        let other = played(&scene.with(|batch| change(forced(batch))));
        assert_eq!(other.sites(), BTreeSet::new(), "{name}");
        assert_eq!(other.words.len(), head + 3, "{name}");
        assert_ne!(other.words[head..head + 2], scene.honest().words[head..head + 2], "{name}");
    }
}
