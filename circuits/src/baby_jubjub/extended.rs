//! Projective points of Baby Jubjub, on an isomorphic curve where addition is cheapest.
//!
//! With `s² = −a`, `x' = s·x` takes the curve to `−x'² + y² = 1 + d'·x'²·y²`, `d' = −d/a`: no multiplication by `a` is
//! left, and an addition of a prepared affine point takes seven multiplications, six where no addition follows. −1 is a
//! square here and `d'` is not, so the law stays complete.
//!
//! Source: Hisil, Wong, Carter, Dawson, "Twisted Edwards Curves Revisited", sections 3.1 and 4.

use bn254::Fr;
use ff::Field;

use super::Point;

/// A square root of −a.
const S: Fr = Fr::from_raw([
    0x6c7b_e2c1_d8b2_d768,
    0x74a5_f6ca_321e_a117,
    0x2c7a_c0ce_84e6_1177,
    0x0e0f_f350_05d6_e54b,
]);
const S_INVERSE: Fr = Fr::from_raw([
    0x21f5_98c0_0ff6_8abf,
    0x6604_41e6_0da7_51f7,
    0x58fa_569c_bc47_5e19,
    0x2c2a_2999_3f68_4b42,
]);
/// 2·d'.
const TWO_D: Fr = Fr::from_raw([
    0x5d09_9f85_f9af_d71b,
    0xdf02_6a6b_5db6_203e,
    0xc390_9ff8_b278_cb9a,
    0x0578_d36f_dd11_72a8,
]);

/// x' = X/Z, y = Y/Z, T = X·Y/Z.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extended {
    /// x' and not x: whether it is 0 is the same question.
    pub x: Fr,
    pub y: Fr,
    pub z: Fr,
    t: Fr,
}

/// A point without its T: it may be doubled or compared, not added to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Projective {
    pub x: Fr,
    pub y: Fr,
    pub z: Fr,
}

/// An affine point as an addition wants it: y − x', y + x', 2·d'·x'·y.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared {
    minus: Fr,
    plus: Fr,
    product: Fr,
}

impl From<&Point> for Prepared {
    fn from(p: &Point) -> Self {
        let x = S * p.x;
        Self { minus: p.y - x, plus: p.y + x, product: TWO_D * x * p.y }
    }
}

impl Prepared {
    pub fn neg(&self) -> Self {
        Self { minus: self.plus, plus: self.minus, product: -self.product }
    }
}

impl From<&Point> for Extended {
    fn from(p: &Point) -> Self {
        let x = S * p.x;
        Self { x, y: p.y, z: Fr::ONE, t: x * p.y }
    }
}

/// What additions and doublings end in: X = E·F, Y = G·H, Z = F·G, T = E·H.
struct Factors {
    e: Fr,
    f: Fr,
    g: Fr,
    h: Fr,
}

impl Factors {
    fn extended(&self) -> Extended {
        Extended { x: self.e * self.f, y: self.g * self.h, z: self.f * self.g, t: self.e * self.h }
    }

    fn projective(&self) -> Projective {
        Projective { x: self.e * self.f, y: self.g * self.h, z: self.f * self.g }
    }
}

impl Projective {
    /// Four squarings and four multiplications.
    pub fn double(&self) -> Extended {
        let a = self.x.square();
        let b = self.y.square();
        let c = self.z.square().double();
        let e = (self.x + self.y).square() - a - b;
        let g = b - a;
        Factors { e, f: g - c, g, h: -(a + b) }.extended()
    }
}

impl Extended {
    pub const IDENTITY: Extended = Extended { x: Fr::ZERO, y: Fr::ONE, z: Fr::ONE, t: Fr::ZERO };

    pub fn without_t(&self) -> Projective {
        Projective { x: self.x, y: self.y, z: self.z }
    }

    pub fn double(&self) -> Self {
        self.without_t().double()
    }

    fn sum(&self, other: &Prepared) -> Factors {
        let a = (self.y - self.x) * other.minus;
        let b = (self.y + self.x) * other.plus;
        let c = self.t * other.product;
        let d = self.z.double();
        Factors { e: b - a, f: d - c, g: d + c, h: b + a }
    }

    pub fn add(&self, other: &Prepared) -> Self {
        self.sum(other).extended()
    }

    /// As `add`, for a sum that is doubled or compared next.
    pub fn add_last(&self, other: &Prepared) -> Projective {
        self.sum(other).projective()
    }

    /// The affine point; Z is never 0 because the addition law is complete.
    pub fn to_affine(self) -> Point {
        let inverse = self.z.invert().unwrap_or(Fr::ZERO);
        Point { x: self.x * inverse * S_INVERSE, y: self.y * inverse }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baby_jubjub::{A, D, base8};

    /// The affine law of EIP-2494.
    fn plain_sum(p: &Point, q: &Point) -> Point {
        let product = Fr::from(D) * p.x * q.x * p.y * q.y;
        Point {
            x: (p.x * q.y + p.y * q.x) * (Fr::ONE + product).invert().unwrap(),
            y: (p.y * q.y - Fr::from(A) * p.x * q.x) * (Fr::ONE - product).invert().unwrap(),
        }
    }

    #[test]
    fn the_constants_are_what_they_are_called() {
        assert_eq!(S.square(), -Fr::from(A));
        assert_eq!(S * S_INVERSE, Fr::ONE);
        assert_eq!(TWO_D * Fr::from(A), -Fr::from(D).double());
    }

    #[test]
    fn sums_and_doubles_are_those_of_the_plain_law_also_on_torsion() {
        let two_torsion = Point { x: Fr::ZERO, y: -Fr::ONE };
        let base = base8();
        let points = [
            base,
            base.neg(),
            plain_sum(&base, &base),
            plain_sum(&base, &two_torsion),
            two_torsion,
            Point::IDENTITY,
        ];
        for p in &points {
            assert_eq!(Extended::from(p).double().to_affine(), plain_sum(p, p));
            for q in &points {
                let (sum, expected) = (Extended::from(p).add(&q.into()), plain_sum(p, q));
                assert_eq!(sum.to_affine(), expected);
                assert_eq!(sum.add(&p.into()).to_affine(), plain_sum(&expected, p));
                let short = Extended::from(p).add_last(&q.into());
                assert_eq!(short.double().to_affine(), plain_sum(&expected, &expected));
                let difference = Extended::from(p).add(&Prepared::from(q).neg());
                assert_eq!(difference.to_affine(), plain_sum(p, &q.neg()));
            }
        }
    }
}
