//! Every constraint site switched off in turn: some attack must then pass.
//!
//! A site is switched off by not looking at its constraints, which changes no value of the witness. So an attack is played
//! once, with all constraints looked at, and passes without a site exactly if it breaks constraints of that site only. Sites
//! come from the circuit itself (`site!`), so a new one joins by itself.
//!
//! Attacks are those by name (`attacks`), and for what they leave: variables that the site's own constraints or those beside
//! it should fix, set wrong one by one; bits that are no bits and still add up; the two hints of an is-zero together; a hint
//! set wrong under a product that is kept; two wrong values that cancel.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use bn254::Fr;
use ff::Field;

use super::{
    attacks::ATTACKS,
    scene::{Layout, OldRoot, Scene},
    stage::Stage,
};
use crate::{shape::Shape, testing::adversary::Change};

/// Sites that no attack needs, each with the reason why the circuit would be as sound without.
const REDUNDANT: &[(&str, &str)] = &[];

/// Sites that s3m1 does not have.
const ONLY_IN_S14M2: &[&str] = &["spend/selector"];

/// Tries for a site in one scene.
const TRIES: usize = 24;

/// How a site is caught.
struct Catch {
    constraints: usize,
    by: Option<String>,
}

/// Some of many: the first, the last and some between.
fn some<T: Clone>(all: &[T]) -> Vec<T> {
    let n = all.len();
    if n <= TRIES {
        all.to_vec()
    } else {
        (0..TRIES).map(|i| all[i * (n - 1) / (TRIES - 1)].clone()).collect()
    }
}

/// What a variable is set to instead: the other bit, or something else.
fn wrong(value: Fr) -> Fr {
    if value == Fr::ONE { Fr::ZERO } else { value + Fr::ONE }
}

/// Cheats that a site may be there against, the likely ones first.
fn cheats(layout: &Layout, scene: &Scene, site: &str) -> Vec<(String, Vec<Change>)> {
    let names = &layout.listing.variables;
    let (parent, _) = site.rsplit_once('/').unwrap_or_default();
    let own: Vec<usize> = (0..names.len()).filter(|v| &*names[*v] == site).collect();
    let beside: Vec<usize> = (0..names.len())
        .filter(|v| names[*v].rsplit_once('/').unwrap_or_default().0 == parent && &*names[*v] != site)
        .collect();
    let mut cheats = Vec::new();
    if site.ends_with("bit") {
        for bit in some(&own) {
            let two = Fr::from(2);
            // Lower bits come first, except where the bits are compared with a bound from the top.
            let higher = if site.ends_with("/bit") { bit + 1 } else { bit.wrapping_sub(1) };
            if own.contains(&higher) {
                let changes = vec![(bit, scene.value(bit) + two), (higher, scene.value(higher) - Fr::ONE)];
                cheats.push((format!("`{site}` raised by 2, the one above lowered by 1"), changes));
            }
            cheats.push((format!("`{site}` set to 2"), vec![(bit, two)]));
        }
    }
    for variable in some(&own) {
        let value = scene.value(variable);
        cheats.push((format!("`{site}` set wrong"), vec![(variable, wrong(value))]));
        if value == Fr::ZERO || value == Fr::ONE {
            cheats.push((format!("`{site}` set to 2"), vec![(variable, Fr::from(2))]));
        } else if site.ends_with('²') {
            // Its square stays.
            cheats.push((format!("`{site}` with the other sign"), vec![(variable, -value)]));
        }
    }
    if let [.., first, second] = own[..]
        && site.contains('/')
    {
        cheats.extend(two_that_cancel(scene, site, [first, second]));
    }
    for hint in some(&beside).into_iter().filter(|v| layout.listing.hints.contains(v)) {
        for kept in some(&own).into_iter().filter(|own| layout.piece_of(*own) == layout.piece_of(hint)) {
            let changes = vec![(hint, wrong(scene.value(hint))), (kept, scene.value(kept))];
            cheats.push((format!("`{}` set wrong, `{site}` kept", names[hint]), changes));
        }
    }
    let flags = beside.iter().filter(|v| names[**v].ends_with("/zero"));
    for zero in flags {
        let inverse = zero - 1;
        cheats.push((
            format!("`{}` and its inverse set wrong", names[*zero]),
            vec![(inverse, Fr::ZERO), (*zero, Fr::ONE - scene.value(*zero))],
        ));
    }
    for variable in some(&beside) {
        let changes = vec![(variable, wrong(scene.value(variable)))];
        cheats.push((format!("`{}` set wrong", names[variable]), changes));
    }
    cheats
}

/// Two variables moved so that the one other constraint that each of them breaks holds again.
fn two_that_cancel(scene: &Scene, site: &str, pair: [usize; 2]) -> Option<(String, Vec<Change>)> {
    let moved = pair.map(|variable| (variable, scene.value(variable) + Fr::ONE));
    let excess = moved.map(|change| {
        let played = scene.play(&[change], OldRoot::Any);
        let mut others = played.violations().filter(|violation| &*violation.site != site);
        let excess = others.next().map(|violation| violation.excess);
        if others.next().is_some() { None } else { excess }
    });
    let [Some(first), Some(second)] = excess else { return None };
    let balance = -first * second.invert().unwrap();
    let changes = vec![moved[0], (pair[1], scene.value(pair[1]) + balance)];
    Some((format!("two of `{site}` set wrong so that they cancel"), changes))
}

fn caught_in(layout: &Layout, scenes: &[Scene], site: &str) -> Option<String> {
    scenes.iter().find_map(|scene| {
        let (what, _) = cheats(layout, scene, site)
            .into_iter()
            .find(|(_, changes)| scene.play(changes, OldRoot::Any).passes_only_without(site))?;
        Some(format!("{what}, in “{}”", scene.name))
    })
}

/// Every site of s3m1, and those of s14m2 that it does not have, with the attack that catches it.
fn run() -> BTreeMap<Arc<str>, Catch> {
    let stage = Stage::new();
    let scenes = stage.scenes();
    let named: Vec<_> = ATTACKS.iter().map(|attack| (attack.name, (attack.play)(&stage))).collect();
    let mut catches: BTreeMap<Arc<str>, Catch> = BTreeMap::new();
    for (site, constraints) in stage.layout.listing.sites() {
        let by_name = named.iter().find(|(_, played)| played.passes_only_without(&site));
        let by = by_name.map(|(name, _)| (*name).to_owned());
        let by = by.or_else(|| caught_in(&stage.layout, &scenes, &site));
        catches.insert(site, Catch { constraints: constraints.len(), by });
    }
    let larger = Stage::of(Shape::S14M2);
    let scene = [larger.scene("no-ops of s14m2", &[], &[])];
    let mut further = larger.layout.listing.sites();
    further.retain(|site, _| !catches.contains_key(site));
    for (site, constraints) in further {
        assert!(ONLY_IN_S14M2.contains(&&*site), "s3m1 has no {site}");
        let by = caught_in(&larger.layout, &scene, &site);
        catches.insert(site, Catch { constraints: constraints.len(), by });
    }
    catches
}

fn table(catches: &BTreeMap<Arc<str>, Catch>) -> String {
    let mut text = String::from(HEAD);
    for (site, catch) in catches {
        let by = catch.by.as_deref().unwrap_or("**nothing**");
        writeln!(text, "| `{site}` | {} | {by} |", catch.constraints).unwrap();
    }
    for (site, reason) in REDUNDANT {
        writeln!(text, "\n`{site}` is not needed: {reason}").unwrap();
    }
    text
}

const HEAD: &str = "\
# Constraints switched off

Written by `./scripts/mutate-circuits`; a test of the gate compares it. Each constraint site of the batch circuit (a place in the
source on one path through the gadgets, all its constraints together) is switched off in turn, and some attack must pass that
the whole circuit refuses. After the cheat everything is computed honestly: signatures, tree, roots, D, h, c and e. So *caught by*
names an attack that breaks this site's constraints and none besides. The sites are those of s3m1; `spend/selector` exists in
circuits that carry more than one level and is tried in s14m2. How it works: `circuits/src/batch/tests/mutation.rs`.

| site | constraints | caught by |
|---|---|---|
";

#[test]
fn every_site_switched_off_lets_an_attack_pass() {
    let catches = run();
    let free: Vec<_> =
        catches.iter().filter(|(_, catch)| catch.by.is_none()).map(|(site, _)| &**site).collect();
    let redundant: Vec<_> = REDUNDANT.iter().map(|(site, _)| *site).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/circuit-mutation.md");
    let text = table(&catches);
    if std::env::var_os("PROOFMILL_WRITE_MUTATIONS").is_some() {
        std::fs::write(path, &text).unwrap();
        println!("{text}\n{} sites, not caught: {free:?}", catches.len());
    }
    assert_eq!(free, redundant, "no attack needs these sites");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let differing = text.lines().zip(written.lines()).find(|(now, then)| now != then);
    // A site that is gone, or a new one, shows here.
    assert!(
        written == text,
        "docs/circuit-mutation.md differs, first in {differing:?}; run ./scripts/mutate-circuits"
    );
}
