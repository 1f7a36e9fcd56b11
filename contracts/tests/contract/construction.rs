//! Deployment: settings within bounds, circuits with sound keys, fixed for ever.

use bn254::{Curve, CurveAffine, Field, Fq, Fq2, Fr, G1Affine, G2, G2Affine, Group, PrimeCurveAffine};
use l1::contract::{CircuitKey, Config, Event, calls, decode_log};
use l1::testing::{AbiDecode, bindings, verifying_key};
use testbed::chain::{Backend, DEV_CHAIN};

use crate::{
    mill::{Mill, SHAPES, circuits, stranger, trapdoor},
    rpc::Rpc,
};

fn refusal(rpc: &Rpc, config: &Config, circuits: &[CircuitKey]) -> (&'static str, String) {
    let code = calls::deploy_bytecode(config, circuits);
    let error = rpc.call(&stranger(0), None, 0, &code).expect_err("the constructor must refuse this");
    (error.name, error.sentence)
}

on_both_chains!(circuits_are_stored_with_key_and_digest_and_announced);
fn circuits_are_stored_with_key_and_digest_and_announced(backend: Backend) {
    let rpc = Rpc::start(backend, DEV_CHAIN);
    let code = calls::deploy_bytecode(&Config::new(stranger(1)), &circuits());
    let receipt = rpc.transact(0, None, 0, &code).unwrap();
    let address = receipt.contract.unwrap();
    for (circuit, log) in circuits().iter().zip(&receipt.logs) {
        let &CircuitKey { number, slots, mint_places, dev_key, digest, .. } = circuit;
        let expected = Event::CircuitAdded { number, slots, mint_places, dev_key, digest };
        assert_eq!(decode_log(&log.topics, &log.data), Ok(expected));
        let info = rpc.call(&stranger(0), Some(&address), 0, &calls::circuit_info(number)).unwrap();
        let info_here = calls::decode_circuit_info(&info).unwrap();
        assert_eq!((info_here.slots, info_here.mint_places, info_here.digest), (slots, mint_places, digest));
        assert_eq!(
            (info_here.key.len(), info_here.key[0]),
            (22, l1::contract::key::g1_words(&circuit.key.alpha)[0])
        );
        assert_eq!(info_here.key[20..], l1::contract::key::g1_words(&circuit.key.ic[3]));
        let key: bindings::CircuitInfoReturn = AbiDecode::decode(&info).unwrap();
        assert_eq!(key.key, verifying_key(&circuit.key));
    }
    let error = rpc.call(&stranger(0), Some(&address), 0, &calls::circuit_info(99)).unwrap_err();
    assert_eq!(error.name, "UnknownCircuit");
}

on_both_chains!(settings_out_of_bounds_are_refused_by_name);
fn settings_out_of_bounds_are_refused_by_name(backend: Backend) {
    let rpc = Rpc::start(backend, DEV_CHAIN);
    let changes: [(&str, fn(&mut Config)); 13] = [
        ("operator", |config| config.operator = [0; 20]),
        ("quantum", |config| config.quantum = 0),
        ("quantum", |config| config.quantum = 1_000_000_000_000_001),
        ("depositFeeBps", |config| config.deposit_fee_bps = 101),
        ("exitFeeBps", |config| config.exit_fee_bps = 101),
        ("depositFeeFloor", |config| config.deposit_fee_floor = 10_000_001),
        ("exitFeeFloor", |config| config.exit_fee_floor = 10_000_001),
        ("queueDelay", |config| config.queue_delay = 0),
        ("queueDelay", |config| config.queue_delay = 30 * 24 * 3600 + 1),
        ("queueSpacing", |config| config.queue_spacing = 3601),
        ("forceBaseFee", |config| config.force_base_fee = 100_000_000_000_000_001),
        ("forceSurchargeStep", |config| config.force_surcharge_step = 100_000_000_000_000_001),
        ("circuits", |_| {}),
    ];
    for (field, change) in changes {
        let mut config = Config::new(stranger(1));
        change(&mut config);
        let list = if field == "circuits" { vec![] } else { circuits() };
        let (name, sentence) = refusal(&rpc, &config, &list);
        assert_eq!(name, "ConfigOutOfBounds");
        assert!(sentence.contains(field), "{sentence}");
    }
    let mut config = Config::new(stranger(1));
    config.promise_signers.push([0; 20]);
    assert_eq!(refusal(&rpc, &config, &circuits()).0, "ZeroAddress");
}

on_both_chains!(slots_and_mint_places_must_make_a_power_of_four);
fn slots_and_mint_places_must_make_a_power_of_four(backend: Backend) {
    let rpc = Rpc::start(backend, DEV_CHAIN);
    let shapes =
        [(0, 4), (4, 0), (0, 0), (1, 1), (6, 2), (31, 1), (2, 1), (4, 1), (15, 2), (4095, 1), (u32::MAX, 1)];
    for (slots, mint_places) in shapes {
        let mut list = circuits();
        (list[2].slots, list[2].mint_places) = (slots, mint_places);
        assert_eq!(
            refusal(&rpc, &Config::new(stranger(1)), &list).0,
            "CircuitShape",
            "{slots} + {mint_places}"
        );
    }
    let mut list = circuits();
    list[1].number = list[0].number;
    assert_eq!(refusal(&rpc, &Config::new(stranger(1)), &list).0, "CircuitTwice");
}

on_both_chains!(a_development_key_is_refused_on_a_real_chain);
fn a_development_key_is_refused_on_a_real_chain(backend: Backend) {
    for (chain_id, allowed) in [(1, false), (11_155_111, false), (1337, true)] {
        let rpc = Rpc::start(backend, chain_id);
        let code = calls::deploy_bytecode(&Config::new(stranger(1)), &circuits());
        let deployed = rpc.call(&stranger(0), None, 0, &code);
        if allowed {
            deployed.unwrap();
        } else {
            assert_eq!(deployed.unwrap_err().name, "DevKeyOnRealChain");
            let mut real = circuits();
            real.iter_mut().for_each(|circuit| circuit.dev_key = false);
            rpc.call(&stranger(0), None, 0, &calls::deploy_bytecode(&Config::new(stranger(1)), &real))
                .unwrap();
        }
    }
}

on_both_chains!(a_key_whose_g2_points_are_related_is_refused_because_it_can_be_forged);
fn a_key_whose_g2_points_are_related_is_refused_because_it_can_be_forged(backend: Backend) {
    let rpc = Rpc::start(backend, DEV_CHAIN);
    let key = trapdoor(1).key();
    let related: [(&str, fn(&mut l1::contract::VerifyingKey)); 6] = [
        ("delta = gamma: no contribution was made", |key| key.delta = key.gamma),
        ("delta = -gamma", |key| key.delta = -key.gamma),
        ("delta = beta", |key| key.delta = key.beta),
        ("delta = -beta", |key| key.delta = -key.beta),
        ("gamma = beta", |key| key.gamma = key.beta),
        ("gamma = -beta", |key| key.gamma = -key.beta),
    ];
    for (what, relate) in related {
        let mut list = circuits();
        list[0].key = key.clone();
        relate(&mut list[0].key);
        assert_eq!(refusal(&rpc, &Config::new(stranger(1)), &list).0, "DegenerateKey", "{what}");
    }
}

/// A point of the twist outside the subgroup of order r, as most points of the twist are.
fn outside_subgroup() -> G2Affine {
    let mut x = Fq2::from(1);
    loop {
        let rhs = x.square() * x + G2Affine::b();
        if let Some(y) = Option::<Fq2>::from(rhs.sqrt()) {
            let point: Option<G2Affine> = G2Affine::from_xy(x, y).into();
            let point = point.expect("on the twist");
            if !bool::from((G2::from(point) * -Fr::ONE + point).is_identity()) {
                return point;
            }
        }
        x += Fq2::ONE;
    }
}

on_both_chains!(key_points_off_the_curve_at_infinity_or_outside_the_subgroup_are_refused);
fn key_points_off_the_curve_at_infinity_or_outside_the_subgroup_are_refused(backend: Backend) {
    let rpc = Rpc::start(backend, DEV_CHAIN);
    let config = Config::new(stranger(1));
    let changes: [(&str, fn(&mut l1::contract::VerifyingKey)); 8] = [
        ("alpha", |key| key.alpha = G1Affine::identity()),
        ("alpha", |key| key.alpha.y += Fq::ONE),
        ("ic", |key| key.ic[0] = G1Affine::identity()),
        ("ic", |key| key.ic[3].x += Fq::ONE),
        ("beta", |key| key.beta = outside_subgroup()),
        ("gamma", |key| key.gamma = G2Affine::identity()),
        ("delta", |key| key.delta.y += Fq2::ONE),
        ("delta", |key| key.delta = outside_subgroup()),
    ];
    for (point, change) in changes {
        let mut list = circuits();
        change(&mut list[5].key);
        let (name, sentence) = refusal(&rpc, &config, &list);
        assert_eq!(name, "BadKeyPoint");
        assert!(sentence.contains(point), "{sentence}");
    }
    // The generator itself is a fine point: the checks above refuse for the right reason.
    let mut list = circuits();
    list[5].key.delta = G2::generator().to_affine();
    rpc.call(&stranger(0), None, 0, &calls::deploy_bytecode(&config, &list)).unwrap();
}

on_both_chains!(settings_and_keys_have_no_function_that_changes_them);
fn settings_and_keys_have_no_function_that_changes_them(backend: Backend) {
    let mill = Mill::deploy(backend);
    let abi: serde_json::Value = serde_json::from_str(include_str!("../../abi/Proofmill.json")).unwrap();
    let mut changing: Vec<&str> = abi["abi"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["type"] == "function")
        .filter(|entry| entry["stateMutability"] == "nonpayable" || entry["stateMutability"] == "payable")
        .map(|entry| entry["name"].as_str().unwrap())
        .collect();
    changing.sort_unstable();
    assert_eq!(
        changing,
        [
            "addPromiseSigner",
            "bumpKeyEpoch",
            "collectFees",
            "deposit",
            "depositStake",
            "forceExit",
            "forceRekey",
            "submitBatch",
            "submitBatches",
            "withdraw",
            "withdrawFor"
        ]
    );
    assert_eq!(SHAPES.len(), circuits().len());
    mill.assert_solvent();
}
