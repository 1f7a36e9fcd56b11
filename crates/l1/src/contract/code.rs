//! Whether the code at an address is the contract of this version.
//!
//! The contract's settings are immutables, words inside its code that differ between deployments. Everything else must be
//! the compiled code, and each immutable the same word wherever it stands. Code says nothing of what a constructor other
//! than ours put into storage: circuits and promise signers are read and compared by whoever asks.

use serde::Deserialize;

/// What `build.mjs` writes of a contract.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Compiled {
    deployed_bytecode: String,
    immutables: Vec<Vec<usize>>,
}

const WORD: usize = 32;

/// Whether this is the code of the Proofmill contract, with whatever settings.
pub fn is_proofmill(code: &[u8]) -> bool {
    matches(contracts::PROOFMILL, code)
}

/// Whether this is the code of the hash function that the contract deploys beside itself.
pub fn is_poseidon(code: &[u8]) -> bool {
    matches(contracts::POSEIDON_T3, code)
}

fn matches(compiled: &str, code: &[u8]) -> bool {
    let Ok(compiled) = serde_json::from_str::<Compiled>(compiled) else { return false };
    let digits = compiled.deployed_bytecode.trim_start_matches("0x");
    let Ok(mut expected) = hex::decode(digits) else { return false };
    if expected.len() != code.len() {
        return false;
    }
    for places in &compiled.immutables {
        let Some(word) = places.first().and_then(|&first| code.get(first..first + WORD)) else {
            return false;
        };
        for &place in places {
            let Some(here) = expected.get_mut(place..place + WORD) else { return false };
            here.copy_from_slice(word);
        }
    }
    expected == code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str) -> (Vec<u8>, Vec<Vec<usize>>) {
        let compiled: Compiled = serde_json::from_str(text).unwrap();
        (hex::decode(compiled.deployed_bytecode.trim_start_matches("0x")).unwrap(), compiled.immutables)
    }

    #[test]
    fn other_settings_are_the_same_contract_and_any_other_byte_is_not() {
        let (mut code, immutables) = compiled(contracts::PROOFMILL);
        assert!(is_proofmill(&code) && !is_poseidon(&code));
        for (place, byte) in immutables.iter().flatten().zip(1..) {
            let mut odd = code.clone();
            odd[place + 31] = byte;
            let alone = immutables.iter().any(|places| places == &vec![*place]);
            assert_eq!(is_proofmill(&odd), alone, "one of several words of an immutable differs");
        }
        for (places, byte) in immutables.iter().zip(1..) {
            for place in places {
                code[place + 31] = byte;
            }
        }
        assert!(is_proofmill(&code));
        let inside =
            |at: usize| immutables.iter().flatten().any(|&place| (place..place + WORD).contains(&at));
        for at in (0..code.len()).filter(|at| !inside(*at)).step_by(97) {
            code[at] ^= 1;
            assert!(!is_proofmill(&code), "byte {at}");
            code[at] ^= 1;
        }
        code.pop();
        assert!(!is_proofmill(&code) && !is_proofmill(&[]) && !is_poseidon(&[]));
    }
}
