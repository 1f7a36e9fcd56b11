//! Which slots of a batch cannot be proved: what the circuit enforces, checked natively and one slot at a time.
//!
//! Pure. A slot that fails here fails in every prover; if none does, the fault is not in the batch but in a prover, its key
//! or its card.

use api::service::Suspect;
use bn254::Fr;
use circuits::{
    batch::{BatchError, BatchInput, Prepared},
    slot::{SlotContext, SlotInput},
};
use wire::job::{decode_batch_input, input_hash};

fn whole(reason: impl Into<String>) -> Vec<Suspect> {
    vec![Suspect { slot: None, reason: reason.into() }]
}

/// What of a batch cannot be proved, in the order of its slots; empty if all of it can.
///
/// `hash` and `public_inputs` are those that were recorded when it was sealed.
pub fn bisect(encoded: &[u8], hash: &[u8; 32], public_inputs: &[Fr; 3]) -> Vec<Suspect> {
    if input_hash(encoded) != *hash {
        return whole("its input is not the one that was sealed; restore the store from a backup");
    }
    let input = match decode_batch_input(encoded) {
        Ok(input) => input,
        Err(error) => return whole(format!("its input cannot be read: {error}")),
    };
    let suspects: Vec<Suspect> = (0..input.slots.len())
        .filter_map(|slot| alone(&input, slot).err().map(|reason| Suspect { slot: Some(slot), reason }))
        .collect();
    if !suspects.is_empty() {
        return suspects;
    }
    match Prepared::new(input) {
        Ok(prepared) if prepared.public_inputs() == *public_inputs => Vec::new(),
        Ok(_) => whole("its public data is not what was sealed; restore the store from a backup"),
        Err(error) => {
            let slot = match error {
                BatchError::Slot { slot, .. }
                | BatchError::ForcedTooEarly { slot, .. }
                | BatchError::Path { slot } => Some(slot),
                _ => None,
            };
            vec![Suspect { slot, reason: error.to_string() }]
        }
    }
}

/// All rules of one slot that do not depend on the tree.
fn alone(input: &BatchInput, slot: usize) -> Result<(), String> {
    let at = SlotContext {
        domain: input.domain,
        batch_no: input.batch_no,
        place: input.start.saturating_add(slot as u64),
    };
    let placed = &input.slots[slot].input;
    placed.effect(&at).map_err(|error| error.to_string())?;
    match placed {
        SlotInput::Signed(spend) => spend.verify_signature(&input.domain).map_err(|error| error.to_string()),
        SlotInput::Noop | SlotInput::Forced(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use circuits::shape::Shape;
    use wire::job::encode_batch_input;

    use super::*;
    use sequencer::testkit::{Bench, Holder, rules};

    /// A sealed batch with two sends: its number, input and public inputs.
    fn sealed() -> (u32, BatchInput, [Fr; 3]) {
        let (alice, bob) = (Holder::new(1), Holder::new(2));
        let mut bench = Bench::new(rules(&[Shape::S3M1]));
        bench.register(&alice);
        bench.register(&bob);
        bench.deposit(&alice, 1_000);
        bench.wait();
        bench.send(&alice, &bob, 100).unwrap();
        bench.send(&alice, &bob, 200).unwrap();
        bench.wait();
        let batch = bench.state.batch(bench.state.tree().state_batch()).unwrap();
        let input = decode_batch_input(batch.input.as_ref().unwrap()).unwrap();
        assert_eq!(bisect(batch.input.as_ref().unwrap(), &batch.input_hash, &batch.public_inputs), []);
        (batch.batch_no, input, batch.public_inputs)
    }

    fn suspects(input: &BatchInput, public_inputs: &[Fr; 3]) -> Vec<Suspect> {
        let encoded = encode_batch_input(input).unwrap();
        bisect(&encoded, &input_hash(&encoded), public_inputs)
    }

    #[test]
    fn each_slot_that_cannot_be_proved_is_named_with_its_reason() {
        let (_, mut input, public_inputs) = sealed();
        let SlotInput::Signed(spend) = &mut input.slots[1].input else { panic!("a send") };
        spend.signature.s += Fr::from(1);
        let found = suspects(&input, &public_inputs);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].slot, Some(1));
        assert!(found[0].reason.contains("PM-EDDSA-005"), "{}", found[0].reason);
        let SlotInput::Signed(spend) = &mut input.slots[0].input else { panic!("a send") };
        spend.valid_until = 0;
        let slots: Vec<_> = suspects(&input, &public_inputs).into_iter().map(|found| found.slot).collect();
        assert_eq!(slots, [Some(0), Some(1)]);
    }

    #[test]
    fn a_wrong_path_is_found_by_its_slot() {
        let (_, mut input, public_inputs) = sealed();
        input.slots[1].siblings[0][2] += Fr::from(1);
        let found = suspects(&input, &public_inputs);
        assert_eq!((found.len(), found[0].slot), (1, Some(1)));
    }

    #[test]
    fn a_fault_of_no_single_slot_is_told_as_such() {
        let (_, input, public_inputs) = sealed();
        let encoded = encode_batch_input(&input).unwrap();
        let other = [public_inputs[0] + Fr::from(1), public_inputs[1], public_inputs[2]];
        for found in [bisect(&encoded, &[0; 32], &public_inputs), suspects(&input, &other)] {
            assert_eq!((found.len(), found[0].slot), (1, None));
        }
        let cut = &encoded[..encoded.len() / 2];
        assert!(bisect(cut, &input_hash(cut), &public_inputs)[0].reason.contains("cannot be read"));
    }
}
