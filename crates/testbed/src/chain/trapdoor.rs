//! Verifying keys whose secrets are known, and the proofs those secrets give for any public inputs.
//!
//! With A = aG, B = bH and the secrets alpha, beta, gamma, delta, ic, the equation of Groth16 holds for
//! C = (ab - alpha beta - ic(x) gamma) / delta. So the contract is tested with valid proofs of any statement, without a circuit.

use bn254::{Curve, Field, Fr, G1, G2};
use l1::contract::{CircuitKey, VerifyingKey, Word, proof_words};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

/// The secrets of one key.
#[derive(Clone, Debug)]
pub struct Trapdoor {
    pub alpha: Fr,
    pub beta: Fr,
    pub gamma: Fr,
    pub delta: Fr,
    pub ic: [Fr; 4],
}

impl Trapdoor {
    /// The key of circuit `number` of the protocol, as the contract pins it.
    pub fn circuit(number: u32, slots: u32, mint_places: u32) -> CircuitKey {
        CircuitKey {
            number,
            slots,
            mint_places,
            dev_key: true,
            digest: [number as u8; 32],
            key: Self::new(number.into()).key(),
        }
    }

    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = || Fr::random(&mut rng);
        Self {
            alpha: draw(),
            beta: draw(),
            gamma: draw(),
            delta: draw(),
            ic: [draw(), draw(), draw(), draw()],
        }
    }

    pub fn key(&self) -> VerifyingKey {
        let (g1, g2) = (G1::generator(), G2::generator());
        VerifyingKey {
            alpha: (g1 * self.alpha).to_affine(),
            beta: (g2 * self.beta).to_affine(),
            gamma: (g2 * self.gamma).to_affine(),
            delta: (g2 * self.delta).to_affine(),
            ic: self.ic.map(|x| (g1 * x).to_affine()),
        }
    }

    /// A proof of the inputs (h, c, e).
    pub fn prove(&self, inputs: &[Fr; 3]) -> [Word; 8] {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let (a, b) = (Fr::random(&mut rng), Fr::random(&mut rng));
        let ic: Fr = self.ic[0] + (0..3).map(|i| self.ic[i + 1] * inputs[i]).sum::<Fr>();
        let delta: Option<Fr> = self.delta.invert().into();
        let c = (a * b - self.alpha * self.beta - ic * self.gamma) * delta.expect("delta is not zero");
        let (g1, g2) = (G1::generator(), G2::generator());
        proof_words(&(g1 * a).to_affine(), &(g2 * b).to_affine(), &(g1 * c).to_affine())
    }
}
