//! Baby Jubjub as constraints.
//!
//! Points that a prover chooses are added with the complete Edwards law only. The two scalar multiplications run on the
//! Montgomery form `v² = u³ + 168698·u² + u`, whose addition is cheaper but has exceptional cases; each place says why
//! none of them leaves a division 0/0, which would hand the prover a free witness:
//!
//! - fixed base, windows 0..83: the multiples of the base are ordered so that equal or opposite points never meet
//!   (`FixedBase`); the last window is added with the Edwards law.
//! - variable base: `acc + U` would be 0/0 only if acc = U. The product of all `u(U) − u(acc)` is forced to be non-zero.
//!   `(acc + U) + acc` divides 2·v(acc) by u(acc) − u(acc + U): v is not 0 on a point of odd order, so a zero
//!   denominator has no solution at all.

use bn254::Fr;
use ff::Field;

use super::{A, D, FixedBase, LADDER_STEPS, Point, WINDOWS, fixed_base};
use crate::r1cs::{
    Builder, Num, Site, divide, divide_with, enforce_equal_if, enforce_product, hint, inverse, inverses, mul,
    site, within,
};

/// An affine Edwards point.
#[derive(Clone, Debug)]
pub struct EdwardsPoint {
    pub x: Num,
    pub y: Num,
}

/// An affine Montgomery point.
#[derive(Clone, Debug)]
struct MontgomeryPoint {
    u: Num,
    v: Num,
}

/// The coefficient A = 2(a + d)/(a − d) of the Montgomery form; B = 4/(a − d) = 1.
const MONTGOMERY_A: u64 = 168_698;

impl EdwardsPoint {
    /// A prover-chosen point, forced onto the curve: three constraints.
    pub fn hint<B: Builder>(b: &mut B, site: Site, point: &Point) -> Self {
        within(b, site, |b| {
            let point = Self { x: hint(b, site!("x"), point.x), y: hint(b, site!("y"), point.y) };
            let x2 = mul(b, site!("x²"), &point.x, &point.x);
            let y2 = mul(b, site!("y²"), &point.y, &point.y);
            let right = x2.scale(Fr::from(A)).add(&y2).add_constant(-Fr::ONE);
            enforce_product(b, site!("on the curve"), &x2.scale(Fr::from(D)), &y2, &right);
            point
        })
    }

    pub fn constant(point: &Point) -> Self {
        Self { x: Num::constant(point.x), y: Num::constant(point.y) }
    }

    fn neg(&self) -> Self {
        Self { x: self.x.scale(-Fr::ONE), y: self.y.clone() }
    }

    /// Complete addition, six constraints. Both points must be on the curve.
    pub fn add<B: Builder>(&self, b: &mut B, site: Site, other: &EdwardsPoint) -> Self {
        within(b, site, |b| {
            let beta = mul(b, site!("β"), &self.x, &other.y);
            let gamma = mul(b, site!("γ"), &self.y, &other.x);
            let turned = self.y.add_scaled(&self.x, -Fr::from(A));
            let delta = mul(b, site!("δ"), &turned, &other.x.add(&other.y));
            let tau = mul(b, site!("τ"), &beta, &gamma).scale(Fr::from(D));
            let below = [tau.add_constant(Fr::ONE), tau.not()];
            let inverse = inverses(below[0].value, below[1].value);
            let above = [beta.add(&gamma), delta.add_scaled(&beta, Fr::from(A)).sub(&gamma)];
            let x = divide_with(b, site!("sum's x"), &above[0], &below[0], inverse[0]);
            let y = divide_with(b, site!("sum's y"), &above[1], &below[1], inverse[1]);
            Self { x, y }
        })
    }

    /// Complete doubling, five constraints. The point must be on the curve.
    pub fn double<B: Builder>(&self, b: &mut B, site: Site) -> Self {
        within(b, site, |b| {
            let ax2 = mul(b, site!("x²"), &self.x, &self.x).scale(Fr::from(A));
            let y2 = mul(b, site!("y²"), &self.y, &self.y);
            let xy = mul(b, site!("xy"), &self.x, &self.y);
            let denominator = ax2.add(&y2);
            let x = divide(b, site!("double's x"), &xy.scale(Fr::from(2)), &denominator);
            let below_y = denominator.scale(-Fr::ONE).add_constant(Fr::from(2));
            let y = divide(b, site!("double's y"), &y2.sub(&ax2), &below_y);
            Self { x, y }
        })
    }

    /// The point in Montgomery form. Unsatisfiable for the identity (1 − y = 0 but 1 + y is not) and for (0, −1), whose
    /// order is 2 (u = 0, so v is free: callers pass points of odd order only).
    fn to_montgomery<B: Builder>(&self, b: &mut B, site: Site) -> MontgomeryPoint {
        within(b, site, |b| {
            let u = divide(b, site!("u"), &self.y.add_constant(Fr::ONE), &self.y.not());
            let v = divide(b, site!("v"), &u, &self.x);
            MontgomeryPoint { u, v }
        })
    }

    /// The two points are equal wherever `gate` is not zero.
    pub fn enforce_equal_if<B: Builder>(&self, b: &mut B, site: Site, gate: &Num, other: &EdwardsPoint) {
        within(b, site, |b| {
            enforce_equal_if(b, site!("same x"), gate, &self.x, &other.x);
            enforce_equal_if(b, site!("same y"), gate, &self.y, &other.y);
        });
    }
}

impl MontgomeryPoint {
    /// Incomplete addition, three constraints: the points must differ in u.
    fn add<B: Builder>(&self, b: &mut B, other: &MontgomeryPoint) -> Self {
        let slope = divide(b, site!("slope"), &other.v.sub(&self.v), &other.u.sub(&self.u));
        self.third_point(b, &slope, &other.u)
    }

    /// The sum of two points that lie with `self` on a line of this slope, two constraints.
    fn third_point<B: Builder>(&self, b: &mut B, slope: &Num, other_u: &Num) -> Self {
        let u = third_u(b, site!("sum's u"), slope, &self.u, other_u);
        let v = mul(b, site!("sum's v"), slope, &self.u.sub(&u)).sub(&self.v);
        Self { u, v }
    }

    /// Back to Edwards form; unsatisfiable where the form has no image, which a point of odd order never meets.
    fn to_edwards<B: Builder>(&self, b: &mut B, site: Site) -> EdwardsPoint {
        within(b, site, |b| {
            let x = divide(b, site!("x"), &self.u, &self.v);
            let y = divide(b, site!("y"), &self.u.add_constant(-Fr::ONE), &self.u.add_constant(Fr::ONE));
            EdwardsPoint { x, y }
        })
    }
}

/// slope² − A − u1 − u2, one constraint.
fn third_u<B: Builder>(b: &mut B, site: Site, slope: &Num, u1: &Num, u2: &Num) -> Num {
    let known = u1.add(u2).add_constant(Fr::from(MONTGOMERY_A));
    let u = hint(b, site, slope.value.square() - known.value);
    enforce_product(b, site, slope, slope, &u.add(&known));
    u
}

/// `S·Base8 + 2^253·T0` from the 251 bits of S.
pub fn fixed_base_mul<B: Builder>(b: &mut B, site: Site, bits: &[Num]) -> EdwardsPoint {
    b.enter(site);
    let FixedBase { windows, montgomery, .. } = fixed_base();
    let (last, first) = (&windows[WINDOWS - 1], &montgomery[..WINDOWS - 1]);
    let mut sum: Option<MontgomeryPoint> = None;
    for (window, bits) in first.iter().zip(bits.chunks(3)) {
        let entry = lookup3(b, bits, window);
        sum = Some(match sum {
            None => entry,
            Some(sum) => sum.add(b, &entry),
        });
    }
    let top = &bits[3 * (WINDOWS - 1)..];
    let both = mul(b, site!("last window"), &top[0], &top[1]);
    let select = |values: [Fr; 4]| lookup2(&top[0], &top[1], &both, values);
    let entry = EdwardsPoint {
        x: select([last[0].x, last[1].x, last[2].x, last[3].x]),
        y: select([last[0].y, last[1].y, last[2].y, last[3].y]),
    };
    let out = match sum {
        Some(sum) => sum.to_edwards(b, site!("to Edwards")).add(b, site!("last sum"), &entry),
        None => entry,
    };
    b.leave();
    out
}

/// The value at `b0 + 2·b1` of a table of four constants, linear once `both = b0·b1` is there.
fn lookup2(b0: &Num, b1: &Num, both: &Num, [c0, c1, c2, c3]: [Fr; 4]) -> Num {
    Num::constant(c0).add_scaled(b0, c1 - c0).add_scaled(b1, c2 - c0).add_scaled(both, c3 - c2 - c1 + c0)
}

/// The entry at three bits of a table of eight constant points, three constraints.
fn lookup3<B: Builder>(b: &mut B, bits: &[Num], table: &[(Fr, Fr); 8]) -> MontgomeryPoint {
    let both = mul(b, site!("both low bits"), &bits[0], &bits[1]);
    let mut coordinate = |site: Site, values: [Fr; 8]| {
        let low = lookup2(&bits[0], &bits[1], &both, [values[0], values[1], values[2], values[3]]);
        let step: [Fr; 4] = std::array::from_fn(|i| values[i + 4] - values[i]);
        let high = lookup2(&bits[0], &bits[1], &both, step);
        mul(b, site, &bits[2], &high).add(&low)
    };
    let u = coordinate(site!("entry's u"), table.map(|p| p.0));
    let v = coordinate(site!("entry's v"), table.map(|p| p.1));
    MontgomeryPoint { u, v }
}

pub(super) fn montgomery(p: &Point) -> (Fr, Fr) {
    let u = (Fr::ONE + p.y) * inverse(Fr::ONE - p.y);
    (u, u * inverse(p.x))
}

/// `2^253·T0 + h·key8` from the 254 bits of h, for a point `key8` of odd order; seven constraints a bit.
///
/// The accumulator starts at T0 + key8 and each bit from 253 down to 1 adds ±key8 after a doubling, so that it ends at
/// `2^253·T0 + (h − bit0 + 1)·key8`; the last step takes `1 − bit0` times the key off again.
pub fn variable_base_mul<B: Builder>(
    b: &mut B,
    site: Site,
    key8: &EdwardsPoint,
    bits: &[Num],
) -> EdwardsPoint {
    b.enter(site);
    let start = EdwardsPoint::constant(&fixed_base().ladder_start).add(b, site!("start"), key8);
    let key = key8.to_montgomery(b, site!("key"));
    let mut acc = start.to_montgomery(b, site!("accumulator"));
    let mut distances: Option<Num> = None;
    for bit in bits[1..=LADDER_STEPS].iter().rev() {
        // ±v of the key: (2·bit − 1)·v.
        let signed_v = mul(b, site!("signed v"), bit, &key.v).scale(Fr::from(2)).sub(&key.v);
        let distance = key.u.sub(&acc.u);
        distances = Some(match distances {
            None => distance.clone(),
            Some(product) => mul(b, site!("product of distances"), &product, &distance),
        });
        let rise = signed_v.sub(&acc.v);
        // u − middle_u is known over distance² before slope1 is, so that both divisions take one inversion.
        let square = distance.value.square();
        let sum = acc.u.value.double() + key.u.value + Fr::from(MONTGOMERY_A);
        let turned = square * sum - rise.value.square();
        let [of_distance, of_turned] = inverses(distance.value, turned);
        let slope1 = divide_with(b, site!("first slope"), &rise, &distance, of_distance);
        let middle_u = third_u(b, site!("middle u"), &slope1, &acc.u, &key.u);
        // acc + (acc + U) without the v of acc + U: slope2 = 2·v/(u − middle_u) − slope1.
        let double_v = acc.v.scale(Fr::from(2));
        let turn = divide_with(b, site!("turn"), &double_v, &acc.u.sub(&middle_u), square * of_turned);
        acc = acc.third_point(b, &turn.sub(&slope1), &middle_u);
    }
    if let Some(product) = distances {
        let inverse = hint(b, site!("no distance is 0"), inverse(product.value));
        enforce_product(b, site!("no distance is 0"), &product, &inverse, &Num::one());
    }
    // (1 − bit0)·(−key8): the identity (0, 1) if bit0 is set.
    let negative = key8.neg();
    let take = bits[0].not();
    let correction = EdwardsPoint {
        x: mul(b, site!("correction's x"), &take, &negative.x),
        y: mul(b, site!("correction's y"), &take, &negative.y.add_constant(-Fr::ONE)).add_constant(Fr::ONE),
    };
    let out = acc.to_edwards(b, site!("to Edwards")).add(b, site!("last sum"), &correction);
    b.leave();
    out
}
