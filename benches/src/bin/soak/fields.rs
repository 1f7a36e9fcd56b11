//! Field arithmetic of eight elements at a time against halo2curves, lane by lane.

use bn254::simd::coordinate::Coordinate;
use bn254::simd::field52::{Field52, Modulus, Q, R};
use bn254::simd::lanes::Lanes;
use bn254::simd::{InstructionSet, SimdCurve};
use bn254::{Fq, Fq2, Fr, G1Affine, G2Affine, Isa, PrimeField, dispatch};
use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;

use crate::operands::Element;

type Eight<E> = [E; 8];

/// Of one check.
#[derive(Debug)]
struct Operands<E> {
    a: Eight<E>,
    b: Eight<E>,
    c: Eight<E>,
    /// Which lanes are negated or exchanged.
    mask: u8,
}

impl<E: Element> Operands<E> {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let mut eight = || std::array::from_fn(|_| E::draw(rng));
        let (a, mut b, c): (Eight<E>, Eight<E>, _) = (eight(), eight(), eight());
        let mask = rng.next_u32() as u8;
        // Sums and differences that vanish.
        match rng.next_u32() % 8 {
            0 => b = a,
            1 => b = a.map(|a| -a),
            _ => {}
        }
        Self { a, b, c, mask }
    }

    fn lanes(&self, of: impl Fn(E, E, E, bool) -> E) -> Eight<E> {
        std::array::from_fn(|i| of(self.a[i], self.b[i], self.c[i], self.mask >> i & 1 == 1))
    }

    /// Whether an instruction set gives what it should, operation by operation.
    fn compare<const N: usize>(
        &self,
        isa: Isa,
        names: [&str; N],
        expected: &[Eight<E>; N],
        got: &[Eight<E>; N],
    ) -> Result<(), String> {
        match (0..N).find(|i| expected[*i] != got[*i]) {
            None => Ok(()),
            Some(i) => Err(format!(
                "{} on {isa} is {:?} and should be {:?}; {self:?}",
                names[i], got[i], expected[i]
            )),
        }
    }
}

/// The instruction sets that are available.
pub struct Fields {
    instruction_sets: Vec<Isa>,
}

impl Fields {
    pub fn new() -> Self {
        Self { instruction_sets: Isa::available() }
    }

    /// # Errors
    /// What is wrong, and the operands.
    pub fn check_fq(&self, rng: &mut ChaCha8Rng) -> Result<(), String> {
        self.coordinates::<Fq, G1Affine>(rng)?;
        self.elements::<Fq, Q>(rng)
    }

    /// # Errors
    /// What is wrong, and the operands.
    pub fn check_fr(&self, rng: &mut ChaCha8Rng) -> Result<(), String> {
        self.elements::<Fr, R>(rng)
    }

    /// # Errors
    /// What is wrong, and the operands.
    pub fn check_fq2(&self, rng: &mut ChaCha8Rng) -> Result<(), String> {
        self.coordinates::<Fq2, G2Affine>(rng)
    }

    /// The coordinates of a curve, which are what batch-affine addition is made of.
    fn coordinates<E: Element, C: SimdCurve>(&self, rng: &mut ChaCha8Rng) -> Result<(), String> {
        let operands = Operands::<E>::draw(rng);
        let expected = [
            operands.a,
            operands.lanes(|a, b, _, _| a * b),
            operands.lanes(|a, _, c, _| a * c),
            operands.lanes(|a, b, _, _| b * a),
            operands.lanes(|a, _, _, _| a.square()),
            operands.lanes(|_, b, _, _| b.square()),
            operands.lanes(|a, b, c, _| (a - b) * c),
            operands.lanes(|a, b, c, _| (a + b) * c),
            operands.lanes(|a, b, c, minus| (if minus { -a } else { a } - b) * c),
            operands.lanes(|a, _, _, _| a.double() + a),
            operands.lanes(|a, b, c, _| a.square() - b - c),
            operands.lanes(|a, b, c, _| a * b - c),
            operands.lanes(|a, b, _, other| if other { b } else { a }),
            std::array::from_fn(|i| operands.a[i ^ 5]),
        ];
        let equal = (0..8).fold(0, |mask, i| mask | u8::from(operands.a[i] == operands.b[i]) << i);
        for isa in self.instruction_sets.iter().copied() {
            // SAFETY: the instruction sets are available.
            let (got, zeros) = unsafe {
                dispatch!(isa, L => L::run(
                    #[inline(always)]
                    || coordinates::<E, C::Coordinate<L>>(&operands)
                ))
            };
            operands.compare(isa, COORDINATES, &expected, &got)?;
            if zeros != equal {
                return Err(format!("zeros on {isa} are {zeros:#b}, not {equal:#b}; {operands:?}"));
            }
        }
        Ok(())
    }

    /// Radix-2^52 arithmetic of either field, on limbs as they are: products are those of Montgomery forms with 2^260.
    fn elements<E: Element + PrimeField, M: Modulus>(&self, rng: &mut ChaCha8Rng) -> Result<(), String> {
        let operands = Operands::<E>::draw(rng);
        let sixteenth = E::TWO_INV.square().square();
        let expected = [
            operands.lanes(|a, b, _, _| a * b * sixteenth),
            operands.lanes(|a, _, c, _| a * c * sixteenth),
            operands.lanes(|_, b, c, _| b * c * sixteenth),
            operands.lanes(|_, b, _, _| b.square() * sixteenth),
            operands.lanes(|_, _, c, _| c.square() * sixteenth),
            operands.lanes(|a, b, _, _| a + b),
            operands.lanes(|a, b, _, _| a - b),
            operands.lanes(|a, b, c, _| (a - b) * c * sixteenth),
            operands.lanes(|a, b, c, minus| (if minus { -a } else { a } - b) * c * sixteenth),
            operands.lanes(|a, b, c, _| a - b - c.double()),
            operands.lanes(|a, _, _, _| a.double() + a),
            operands.lanes(|a, _, _, minus| if minus { -a } else { a }),
        ];
        for isa in self.instruction_sets.iter().copied() {
            // SAFETY: the instruction sets are available.
            let got = unsafe {
                dispatch!(
                    isa,
                    L => L::run(
                        #[inline(always)]
                        || elements::<E, L, M>(&operands)
                    ),
                    // Its elements are halo2curves' own.
                    Portable => continue
                )
            };
            operands.compare(isa, ELEMENTS, &expected, &got)?;
        }
        Ok(())
    }
}

const COORDINATES: [&str; 14] = [
    "import and export",
    "a product",
    "the first of two products",
    "the second of two products",
    "a square",
    "the second of two squares",
    "a product of a difference",
    "a product of a sum",
    "a product of a signed difference",
    "three times",
    "x of a sum",
    "y of a sum",
    "a blend",
    "an exchange of lanes",
];

/// # Safety
/// The processor has the instructions of `F`.
#[inline(always)]
unsafe fn coordinates<E: Element, F: Coordinate>(operands: &Operands<E>) -> ([Eight<E>; 14], u8) {
    // SAFETY: the caller promises the instructions, here and below.
    let (a, b, c) =
        unsafe { (vector::<E, F>(&operands.a), vector::<E, F>(&operands.b), vector::<E, F>(&operands.c)) };
    let [ac, ba] = F::mul(&[a, b], &[c, a]);
    let [aa, bb] = F::sqr(&[a, b]);
    let difference = a.minus(b);
    let results = [
        a,
        F::mul(&[a], &[b])[0],
        ac,
        ba,
        F::sqr(&[a])[0],
        bb,
        F::mul(&[difference], &[c])[0],
        F::mul(&[a.plus(b)], &[c])[0],
        F::mul(&[a.signed_minus(operands.mask, b)], &[c])[0],
        a.thrice(),
        // The slope is a, and the points have x₁ = c and x₂ = b.
        F::third_x(aa, b.minus(c), c),
        F::third_y(F::mul(&[a], &[b])[0], c),
        a.blend(operands.mask, b),
        a.swap::<1>().swap::<4>(),
    ];
    let mut lanes = [[E::ZERO; 8]; 14];
    for (lanes, result) in lanes.iter_mut().zip(results) {
        // SAFETY: see above.
        *lanes = unsafe { elements_of(result) };
    }
    (lanes, difference.zeros())
}

/// Eight elements as a vector, in the form of the kernels.
///
/// # Safety
/// The processor has the instructions of `F`.
#[inline(always)]
unsafe fn vector<E: Element, F: Coordinate>(elements: &Eight<E>) -> F {
    let mut rows = [[E::ZERO; 2]; 8];
    let mut sources = [std::ptr::null(); 8];
    for ((row, source), element) in rows.iter_mut().zip(&mut sources).zip(elements) {
        row[0] = *element;
        *source = row.as_ptr().cast();
    }
    // SAFETY: a row of two elements has 2 * WORDS words; the caller promises the instructions.
    unsafe { F::gather(&sources).0.import() }
}

/// The other way.
///
/// # Safety
/// The processor has the instructions of `F`.
#[inline(always)]
unsafe fn elements_of<E: Element, F: Coordinate>(vector: F) -> Eight<E> {
    let (mut rows, mut elements) = ([[E::ZERO; 2]; 8], [E::ZERO; 8]);
    let mut targets = [std::ptr::null_mut(); 8];
    for (target, row) in targets.iter_mut().zip(&mut rows) {
        *target = row.as_mut_ptr().cast();
    }
    // SAFETY: a row of two elements has 2 * WORDS words; the caller promises the instructions.
    unsafe { F::scatter(vector.export(), F::zero(), &targets) };
    for (element, row) in elements.iter_mut().zip(&rows) {
        *element = row[0];
    }
    elements
}

const ELEMENTS: [&str; 12] = [
    "a product",
    "the third of four products",
    "the fourth of four products",
    "the first of two squares",
    "the second of two squares",
    "a sum",
    "a difference",
    "a product of a difference",
    "a product of a signed difference",
    "a difference with a double",
    "three times",
    "a negative",
];

/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn elements<E: Element, L: Lanes, M: Modulus>(operands: &Operands<E>) -> [Eight<E>; 12] {
    // SAFETY: the caller promises the instructions.
    let (a, b, c): (Field52<L, M>, _, Field52<L, M>) =
        unsafe { (packed(&operands.a), packed(&operands.b), packed(&operands.c)) };
    let products = Field52::mul(&[c, b, a, b], &[c, a, c, c]);
    let squares = Field52::sqr(&[b, c]);
    let results = [
        Field52::mul(&[a], &[b])[0],
        products[2],
        products[3],
        squares[0],
        squares[1],
        a.add(b),
        a.sub_reduced::<3>(b),
        Field52::mul(&[a.sub::<3>(b)], &[c])[0],
        Field52::mul(&[a.signed_sub::<5>(operands.mask, b)], &[c])[0],
        a.sub_double::<9>(b, c),
        a.thrice(),
        a.negate_where(operands.mask),
    ];
    let mut lanes = [[E::ZERO; 8]; 12];
    for (lanes, result) in lanes.iter_mut().zip(results) {
        *lanes = unpacked(result.canonical());
    }
    lanes
}

/// The limbs of eight elements of four words.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
unsafe fn packed<E: Element, L: Lanes, M: Modulus>(elements: &Eight<E>) -> Field52<L, M> {
    let mut words = [[0; 8]; 4];
    let (rows, _) = bn254::raw::as_bytes(elements).as_chunks::<32>();
    for (lane, row) in rows.iter().enumerate() {
        let (limbs, _) = row.as_chunks::<8>();
        for (word, limb) in words.iter_mut().zip(limbs) {
            word[lane] = u64::from_le_bytes(*limb);
        }
    }
    // SAFETY: the caller promises the instructions.
    unsafe {
        Field52::from_packed([L::load(&words[0]), L::load(&words[1]), L::load(&words[2]), L::load(&words[3])])
    }
}

#[inline(always)]
fn unpacked<E: Element, L: Lanes, M: Modulus>(value: Field52<L, M>) -> Eight<E> {
    let (packed, mut elements) = (value.to_packed(), [E::ZERO; 8]);
    let (rows, _) = bn254::raw::as_bytes_mut(&mut elements).as_chunks_mut::<32>();
    for (word, limbs) in packed.into_iter().enumerate() {
        for (row, limb) in rows.iter_mut().zip(limbs.store()) {
            row[8 * word..8 * word + 8].copy_from_slice(&limb.to_le_bytes());
        }
    }
    elements
}
