//! The small language the gadgets are written in: numbers that carry both their value and their linear combination.
//!
//! Invariant: the value of a `Num` is its linear combination evaluated at the values of its variables, unless the builder is
//! `Values`, whose numbers have no terms. Gadgets are generic over `Builder`; `Bellman` turns them into bellman constraints,
//! `Values` into a witness, and the builders of the tests let an adversary choose a variable's value and see what the
//! constraints say.
//!
//! `enforce` takes a closure so that `Values` never builds the linear combinations of a constraint. Every variable and
//! constraint has a name (`site`), by which the tests know it.

mod site;

use bellman::{ConstraintSystem, LinearCombination, SynthesisError, Variable};
use bn254::Fr;
use ff::{Field, PrimeField};

pub use site::Site;
pub(crate) use site::site;

/// An allocated variable and its value.
#[derive(Clone, Copy, Debug)]
pub struct Var {
    pub value: Fr,
    /// None where only values count.
    pub variable: Option<Variable>,
}

/// A linear combination `constant + Σ coefficient·variable` and its value.
#[derive(Clone, Debug)]
pub struct Num {
    pub value: Fr,
    pub constant: Fr,
    pub terms: Vec<(Variable, Fr)>,
}

/// What a gadget needs from a constraint system.
pub trait Builder {
    /// Whether a variable may get another value than it was allocated with, as an adversary of the tests does. A gadget that
    /// knows all its values beforehand then computes each from those before it.
    const ADVERSARIAL: bool = false;

    /// Allocates a variable that a constraint of the form `product = variable` fixes at once.
    fn alloc(&mut self, site: Site, value: Fr) -> Var;

    /// Allocates a variable that the prover is free to choose as far as the constraints let him. The value returned
    /// differs from `value` only in adversarial tests.
    fn hint(&mut self, site: Site, value: Fr) -> Var {
        self.alloc(site, value)
    }

    /// Adds the constraint a·b = c.
    fn enforce(&mut self, site: Site, constraint: impl FnOnce() -> [Num; 3]);

    /// What follows, up to `leave`, is a part of `site`.
    fn enter(&mut self, _site: Site) {}

    fn leave(&mut self) {}
}

/// A gadget's part under a name.
pub fn within<B: Builder, T>(b: &mut B, site: Site, part: impl FnOnce(&mut B) -> T) -> T {
    b.enter(site);
    let out = part(b);
    b.leave();
    out
}

/// A builder over any bellman constraint system; keeps its first error.
pub struct Bellman<'a, CS> {
    cs: &'a mut CS,
    error: Option<SynthesisError>,
}

impl<'a, CS: ConstraintSystem<Fr>> Bellman<'a, CS> {
    pub fn new(cs: &'a mut CS) -> Self {
        Self { cs, error: None }
    }

    /// Allocates a public input.
    pub fn alloc_input(&mut self, value: Fr) -> Var {
        let result = self.cs.alloc_input(|| "", || Ok(value));
        self.keep(value, result)
    }

    /// # Errors
    /// The first error of the constraint system below.
    pub fn finish(self) -> Result<(), SynthesisError> {
        self.error.map_or(Ok(()), Err)
    }

    fn keep(&mut self, value: Fr, result: Result<Variable, SynthesisError>) -> Var {
        let variable = result.unwrap_or_else(|error| {
            self.error.get_or_insert(error);
            CS::one()
        });
        Var { value, variable: Some(variable) }
    }
}

impl<CS: ConstraintSystem<Fr>> Builder for Bellman<'_, CS> {
    fn alloc(&mut self, _site: Site, value: Fr) -> Var {
        let result = self.cs.alloc(|| "", || Ok(value));
        self.keep(value, result)
    }

    fn enforce(&mut self, _site: Site, constraint: impl FnOnce() -> [Num; 3]) {
        // bellman asks for the three sides separately: build once, hand out one by one.
        let mut sides = None;
        let mut constraint = Some(constraint);
        let mut side = |i: usize| {
            if let Some(build) = constraint.take() {
                sides = Some(build().map(Some));
            }
            sides.as_mut().and_then(|s| s[i].take())
        };
        let cell = std::cell::RefCell::new(&mut side);
        let lc = |i: usize, zero: LinearCombination<Fr>| match (cell.borrow_mut())(i) {
            Some(num) => num.terms.iter().fold(
                if num.constant == Fr::ZERO { zero } else { zero + (num.constant, CS::one()) },
                |lc, (variable, coefficient)| lc + (*coefficient, *variable),
            ),
            None => zero,
        };
        self.cs.enforce(|| "", |zero| lc(0, zero), |zero| lc(1, zero), |zero| lc(2, zero));
    }
}

/// A builder that keeps the values of the auxiliary variables, in order of allocation, and nothing else.
#[derive(Default)]
pub struct Values(pub Vec<Fr>);

impl Builder for Values {
    fn alloc(&mut self, _site: Site, value: Fr) -> Var {
        self.0.push(value);
        Var { value, variable: None }
    }

    fn enforce(&mut self, _site: Site, _constraint: impl FnOnce() -> [Num; 3]) {}
}

impl Num {
    pub fn constant(value: Fr) -> Self {
        Self { value, constant: value, terms: Vec::new() }
    }

    pub fn zero() -> Self {
        Self::constant(Fr::ZERO)
    }

    pub fn one() -> Self {
        Self::constant(Fr::ONE)
    }

    pub fn add(&self, other: &Num) -> Num {
        let mut sum = self.clone();
        sum.value += other.value;
        sum.constant += other.constant;
        sum.terms.extend(&other.terms);
        sum
    }

    pub fn sub(&self, other: &Num) -> Num {
        let mut difference = self.clone();
        difference.value -= other.value;
        difference.constant -= other.constant;
        difference.terms.extend(other.terms.iter().map(|(v, c)| (*v, -*c)));
        difference
    }

    pub fn scale(&self, factor: Fr) -> Num {
        Num {
            value: self.value * factor,
            constant: self.constant * factor,
            terms: self.terms.iter().map(|(v, c)| (*v, *c * factor)).collect(),
        }
    }

    /// self + factor·other.
    pub fn add_scaled(&self, other: &Num, factor: Fr) -> Num {
        let mut sum = self.clone();
        sum.add_assign_scaled(other, factor);
        sum
    }

    pub fn add_assign_scaled(&mut self, other: &Num, factor: Fr) {
        self.value += other.value * factor;
        if other.constant != Fr::ZERO {
            self.constant += other.constant * factor;
        }
        self.terms.extend(other.terms.iter().map(|(v, c)| (*v, *c * factor)));
    }

    pub fn add_constant(&self, constant: Fr) -> Num {
        let mut sum = self.clone();
        sum.value += constant;
        sum.constant += constant;
        sum
    }

    /// 1 − self.
    pub fn not(&self) -> Num {
        Num::one().sub(self)
    }
}

impl From<Var> for Num {
    fn from(var: Var) -> Self {
        let terms = var.variable.map(|variable| (variable, Fr::ONE)).into_iter().collect();
        Self { value: var.value, constant: Fr::ZERO, terms }
    }
}

impl From<&Var> for Num {
    fn from(var: &Var) -> Self {
        Self::from(*var)
    }
}

/// A prover-chosen number.
pub fn hint<B: Builder>(b: &mut B, site: Site, value: Fr) -> Num {
    b.hint(site, value).into()
}

/// x·y, one constraint.
pub fn mul<B: Builder>(b: &mut B, site: Site, x: &Num, y: &Num) -> Num {
    let product: Num = b.alloc(site, x.value * y.value).into();
    b.enforce(site, || [x.clone(), y.clone(), product.clone()]);
    product
}

/// x·y = z, one constraint.
pub fn enforce_product<B: Builder>(b: &mut B, site: Site, x: &Num, y: &Num, z: &Num) {
    b.enforce(site, || [x.clone(), y.clone(), z.clone()]);
}

/// x = y, one constraint.
pub fn enforce_equal<B: Builder>(b: &mut B, site: Site, x: &Num, y: &Num) {
    b.enforce(site, || [x.sub(y), Num::one(), Num::zero()]);
}

/// x = y wherever `gate` is not zero, one constraint.
pub fn enforce_equal_if<B: Builder>(b: &mut B, site: Site, gate: &Num, x: &Num, y: &Num) {
    b.enforce(site, || [gate.clone(), x.sub(y), Num::zero()]);
}

/// numerator / denominator, one constraint `quotient·denominator = numerator`. Where the denominator can be 0 the caller
/// has to make sure that the numerator is not 0 with it, or the quotient is free.
pub fn divide<B: Builder>(b: &mut B, site: Site, numerator: &Num, denominator: &Num) -> Num {
    let quotient = hint(b, site, numerator.value * inverse(denominator.value));
    enforce_product(b, site, &quotient, denominator, numerator);
    quotient
}

/// As [`divide`], with the inverse that the denominator has unless a test chose some value before it.
pub fn divide_with<B: Builder>(
    b: &mut B,
    site: Site,
    numerator: &Num,
    denominator: &Num,
    expected: Fr,
) -> Num {
    let fits = denominator.value * expected == Fr::ONE;
    let quotient = hint(b, site, numerator.value * if fits { expected } else { inverse(denominator.value) });
    enforce_product(b, site, &quotient, denominator, numerator);
    quotient
}

/// The inverse, 0 for 0.
pub fn inverse(x: Fr) -> Fr {
    x.invert().unwrap_or(Fr::ZERO)
}

/// The inverses of both, 0 for 0, by one inversion (Montgomery's trick).
pub fn inverses(x: Fr, y: Fr) -> [Fr; 2] {
    let of_product = inverse(x * y);
    if of_product == Fr::ZERO { [x, y].map(inverse) } else { [y * of_product, x * of_product] }
}

/// A bit, one constraint.
pub fn boolean<B: Builder>(b: &mut B, site: Site, value: bool) -> Num {
    let bit = hint(b, site, Fr::from(u64::from(value)));
    enforce_boolean(b, site, &bit);
    bit
}

pub fn enforce_boolean<B: Builder>(b: &mut B, site: Site, bit: &Num) {
    b.enforce(site, || [bit.clone(), bit.not(), Num::zero()]);
}

/// Whether x is 0, as a computed bit, two constraints.
pub fn is_zero<B: Builder>(b: &mut B, site: Site, x: &Num) -> Num {
    within(b, site, |b| {
        let inverse = hint(b, site!("inverse"), inverse(x.value));
        let zero = hint(b, site!("zero"), Fr::from(u64::from(x.value == Fr::ZERO)));
        b.enforce(site!("one of them"), || [x.clone(), inverse.clone(), zero.not()]);
        b.enforce(site!("not both"), || [x.clone(), zero.clone(), Num::zero()]);
        zero
    })
}

/// The bits of the canonical value, least significant first.
fn bits_of(value: &Fr) -> impl Fn(usize) -> bool {
    let repr = value.to_repr();
    move |i| {
        let bytes: &[u8] = repr.as_ref();
        bytes[i / 8] >> (i % 8) & 1 == 1
    }
}

/// Σ 2^i·bit_i.
pub fn recompose(bits: &[Num]) -> Num {
    let mut sum = Num::zero();
    let mut weight = Fr::ONE;
    for bit in bits {
        sum.add_assign_scaled(bit, weight);
        weight = weight.double();
    }
    sum
}

/// The `n` low bits of x, which is forced below 2^n: n + 1 constraints, n < 254.
pub fn to_bits<B: Builder>(b: &mut B, site: Site, x: &Num, n: usize) -> Vec<Num> {
    within(b, site, |b| {
        let bit_of_x = bits_of(&x.value);
        let bits: Vec<Num> = (0..n).map(|i| boolean(b, site!("bit"), bit_of_x(i))).collect();
        b.enforce(site!("sum"), || [recompose(&bits), Num::one(), x.clone()]);
        bits
    })
}

/// The bits of x, least significant first, which as an integer are forced to be at most `max` (given least significant
/// bit first, its top bit set). With `max = r − 1` the decomposition is the canonical one.
///
/// A zero bit of `max` below a prefix in which x equals `max` must be zero (method of bellman's
/// `into_bits_le_strict`): one constraint a bit and one AND a one-bit of `max`.
pub fn to_bits_at_most<B: Builder>(b: &mut B, site: Site, x: &Num, max: &[bool]) -> Vec<Num> {
    b.enter(site);
    let mut bits = Vec::with_capacity(max.len());
    // 1 while all one-bits of `max` so far are set in x, that is while the prefixes are equal.
    let mut equal_so_far: Option<Num> = None;
    let mut run: Vec<Num> = Vec::new();
    let bit_of_x = bits_of(&x.value);
    for (i, max_bit) in max.iter().enumerate().rev() {
        let value = Fr::from(u64::from(bit_of_x(i)));
        let bit;
        if *max_bit {
            bit = hint(b, site!("free bit"), value);
            enforce_boolean(b, site!("free bit"), &bit);
            run.push(bit.clone());
        } else {
            bit = hint(b, site!("bounded bit"), value);
            for member in run.drain(..) {
                equal_so_far = Some(match equal_so_far {
                    Some(prefix) => mul(b, site!("equal so far"), &prefix, &member),
                    None => member,
                });
            }
            // (1 − equal − bit)·bit = 0: boolean, and zero where the prefix is equal.
            let equal = equal_so_far.clone().unwrap_or_else(Num::one);
            b.enforce(site!("bounded bit"), || [equal.not().sub(&bit), bit.clone(), Num::zero()]);
        }
        bits.push(bit);
    }
    bits.reverse();
    b.enforce(site!("sum"), || [recompose(&bits), Num::one(), x.clone()]);
    b.leave();
    bits
}
