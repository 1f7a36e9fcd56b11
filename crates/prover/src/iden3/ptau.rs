//! `.ptau`: the powers of tau of a ceremony's first phase, as snarkjs writes them.
//!
//! | section | contents |
//! |---|---|
//! | 1 | the base field, the power p of this file, that of the whole ceremony |
//! | 2, 3 | tau^i in G1 for i < 2^(p+1) − 1, in G2 for i < 2^p |
//! | 4, 5 | alpha·tau^i, beta·tau^i in G1 for i < 2^p |
//! | 6 | beta in G2 |
//! | 7 | the contributions: their number, then what each left behind |
//! | 12 to 15 | of a prepared file: sections 2 to 5 in the Lagrange bases of the domains of 1, 2, 4 … 2^p points, one after the other; section 12 also of 2^(p+1), as if the power that is missing for it were zero |
//!
//! Points are as in `.zkey` files, domains in the order of [`Generator::Five`].
//!
//! Invariant: [`Ptau::for_domain`] gives only what is the powers of one tau, alpha and beta, up to a chance of 2^-250.
//!
//! Source: the comments and the behaviour of snarkjs 0.7.6.

use bn254::ntt::Generator;
use bn254::raw::{self, Limbs};
use bn254::simd::field52::{Modulus, Q};
use bn254::{Bn256, Curve, CurveAffine, Domain, Engine, Field, Fr, G1Affine, G2Affine, msm_g1, msm_g2};
use rand_core::OsRng;
use rayon::prelude::*;

use super::Iden3Error;
use super::binfile::{BinFile, Reader, Writer};
use crate::dev::DevTrapdoor;
use crate::progress::Progress;

const KIND: &str = "ptau";
const VERSION: u32 = 1;
/// The domain of twice as many points is the largest that there is here.
const LARGEST_POWER: u32 = 26;

const TAU_G1: u32 = 2;
const TAU_G2: u32 = 3;
const ALPHA_TAU_G1: u32 = 4;
const BETA_TAU_G1: u32 = 5;
const BETA_G2: u32 = 6;
const CONTRIBUTIONS: u32 = 7;
/// From a section of powers to that of their Lagrange bases.
const TO_LAGRANGE: u32 = 10;

/// A file whose sections have the lengths that they should have. Points are read as they are needed.
pub struct Ptau<'a> {
    file: BinFile<'a>,
    power: u32,
    contributions: u32,
}

/// What a circuit's key is made of, checked.
pub struct Powers {
    /// alpha, beta in G1, beta in G2.
    pub alpha_g1: G1Affine,
    /// See `alpha_g1`.
    pub beta_g1: G1Affine,
    /// See `alpha_g1`.
    pub beta_g2: G2Affine,
    /// The Lagrange basis of the domain at tau, in G1 and G2, and times alpha and beta.
    pub tau_g1: Vec<G1Affine>,
    /// See `tau_g1`.
    pub tau_g2: Vec<G2Affine>,
    /// See `tau_g1`.
    pub alpha_tau: Vec<G1Affine>,
    /// See `tau_g1`.
    pub beta_tau: Vec<G1Affine>,
    /// The odd half of the Lagrange basis of the domain of twice the size.
    pub odd: Vec<G1Affine>,
    /// tau^i in G1, at least 2n − 1 of them.
    pub monomials: Vec<G1Affine>,
}

/// Finds the sections of a file.
///
/// # Errors
/// [`Iden3Error::Malformed`], [`Iden3Error::Unsupported`].
pub fn read(bytes: &[u8]) -> Result<Ptau<'_>, Iden3Error> {
    let file = BinFile::parse(KIND, VERSION, bytes)?;
    let mut header = file.section(1)?;
    header.field(Q::WORDS)?;
    let (power, ceremony) = (header.u32()?, header.u32()?);
    header.end()?;
    if power > ceremony || ceremony > 28 {
        return Err(file.malformed("it has more powers than its ceremony, or that more than there can be"));
    }
    let n = 1 << power;
    let (g1, g2) = (size_of::<G1Affine>(), size_of::<G2Affine>());
    let mut lengths = vec![
        (TAU_G1, (2 * n - 1) * g1),
        (TAU_G2, n * g2),
        (ALPHA_TAU_G1, n * g1),
        (BETA_TAU_G1, n * g1),
        (BETA_G2, g2),
    ];
    let prepared = file.has(TAU_G1 + TO_LAGRANGE);
    if prepared {
        lengths.push((TAU_G1 + TO_LAGRANGE, (4 * n - 1) * g1));
        lengths.push((TAU_G2 + TO_LAGRANGE, (2 * n - 1) * g2));
        lengths.push((ALPHA_TAU_G1 + TO_LAGRANGE, (2 * n - 1) * g1));
        lengths.push((BETA_TAU_G1 + TO_LAGRANGE, (2 * n - 1) * g1));
    }
    for (section, length) in lengths {
        if file.section(section)?.remaining().len() != length {
            return Err(file.malformed("a section has another length than its power says"));
        }
    }
    let contributions = file.section(CONTRIBUTIONS)?.u32()?;
    Ok(Ptau { file, power, contributions })
}

impl Ptau<'_> {
    /// p: circuits of up to 2^p rows can be set up.
    pub fn power(&self) -> u32 {
        self.power
    }

    /// How many contributed. Without any, tau, alpha and beta are 1.
    pub fn contributions(&self) -> u32 {
        self.contributions
    }

    /// Whether the Lagrange bases are there.
    pub fn is_prepared(&self) -> bool {
        self.file.has(TAU_G1 + TO_LAGRANGE)
    }

    /// What a circuit with a domain of 2^`log` points needs, checked. No circuit has a domain of one point.
    ///
    /// # Errors
    /// [`Iden3Error::TooFewPowers`]; [`Iden3Error::NotPrepared`]; [`Iden3Error::Malformed`] when these are not the powers of
    /// one tau, alpha and beta.
    pub fn for_domain(&self, log: u32, progress: &dyn Progress) -> Result<Powers, Iden3Error> {
        let log = log.max(1);
        if log > self.power {
            return Err(Iden3Error::TooFewPowers { power: self.power, needed: log });
        }
        if !self.is_prepared() {
            return Err(Iden3Error::NotPrepared);
        }
        if log > LARGEST_POWER {
            return Err(Iden3Error::Unsupported("the circuit has more than 2^26 rows"));
        }
        progress.begin("checking the powers of tau", 12);
        let n = 1_usize << log;
        // One power more than the hash of a circuit needs, where there is one.
        let count = (2 * n).min((2 << self.power) - 1);
        let monomials: Vec<G1Affine> = self.points(TAU_G1, 0, count)?;
        let tau_g2: Vec<G2Affine> = self.points(TAU_G2, 0, n)?;
        let alpha: Vec<G1Affine> = self.points(ALPHA_TAU_G1, 0, n)?;
        let beta: Vec<G1Affine> = self.points(BETA_TAU_G1, 0, n)?;
        let beta_g2 = self.points(BETA_G2, 0, 1)?[0];
        progress.advance(1);
        self.check_powers(&monomials, &tau_g2, &alpha, &beta, beta_g2, progress)?;

        let domain = |log| {
            Domain::with_generator(log, Generator::Five)
                .map_err(|_| Iden3Error::Unsupported("the circuit has too many rows"))
        };
        let (small, large) = (domain(log)?, domain(log + 1)?);
        let bases: Vec<G1Affine> = self.lagrange(TAU_G1, log)?;
        self.same(&bases, &monomials[..n], &small, msm_g1)?;
        progress.advance(1);
        let bases_g2: Vec<G2Affine> = self.lagrange(TAU_G2, log)?;
        self.same(&bases_g2, &tau_g2, &small, msm_g2)?;
        progress.advance(1);
        let alpha_bases: Vec<G1Affine> = self.lagrange(ALPHA_TAU_G1, log)?;
        self.same(&alpha_bases, &alpha, &small, msm_g1)?;
        progress.advance(1);
        let beta_bases: Vec<G1Affine> = self.lagrange(BETA_TAU_G1, log)?;
        self.same(&beta_bases, &beta, &small, msm_g1)?;
        progress.advance(1);
        let both: Vec<G1Affine> = self.lagrange(TAU_G1, log + 1)?;
        self.same(&both, &monomials, &large, msm_g1)?;
        progress.advance(1);
        Ok(Powers {
            alpha_g1: alpha[0],
            beta_g1: beta[0],
            beta_g2,
            tau_g1: bases,
            tau_g2: bases_g2,
            alpha_tau: alpha_bases,
            beta_tau: beta_bases,
            odd: both.into_iter().skip(1).step_by(2).collect(),
            monomials,
        })
    }

    /// Whether each power is tau times the one before, in random combination.
    fn check_powers(
        &self,
        tau_g1: &[G1Affine],
        tau_g2: &[G2Affine],
        alpha: &[G1Affine],
        beta: &[G1Affine],
        beta_g2: G2Affine,
        progress: &dyn Progress,
    ) -> Result<(), Iden3Error> {
        let (g1, g2) = (G1Affine::generator(), G2Affine::generator());
        let first = tau_g1[0] == g1 && tau_g2[0] == g2;
        let ([_, tau_of_g1, ..], [_, tau_of_g2, ..], true) = (tau_g1, tau_g2, first) else {
            return Err(self.file.malformed("its powers do not begin with the generators and tau"));
        };
        progress.advance(1);
        for powers in [tau_g1, alpha, beta] {
            let [low, high] = shifted(powers, msm_g1);
            if !same_ratio((high, g2), (low, *tau_of_g2)) {
                return Err(self.file.malformed("a power in G1 is not tau times the one before"));
            }
            progress.advance(1);
        }
        let [low, high] = shifted(tau_g2, msm_g2);
        if !same_ratio((g1, high), (*tau_of_g1, low)) {
            return Err(self.file.malformed("a power in G2 is not tau times the one before"));
        }
        if !same_ratio((beta[0], g2), (g1, beta_g2)) {
            return Err(self.file.malformed("beta is not the same in G1 and G2"));
        }
        progress.advance(2);
        Ok(())
    }

    /// Whether these are the Lagrange bases of the powers, of which the last may be missing, in random combination: the bases
    /// times values are the powers times the coefficients of the polynomial with these values.
    fn same<C: CurveAffine>(
        &self,
        bases: &[C],
        powers: &[C],
        domain: &Domain,
        msm: impl Fn(&[C], &[Fr]) -> C::CurveExt,
    ) -> Result<(), Iden3Error> {
        let values = random(bases.len());
        let mut coefficients = values.clone();
        domain.intt(&mut coefficients);
        let len = powers.len().min(bases.len());
        if msm(bases, &values) == msm(&powers[..len], &coefficients[..len]) {
            Ok(())
        } else {
            Err(self.file.malformed("its Lagrange bases are not those of its powers"))
        }
    }

    fn lagrange<P: Point>(&self, section: u32, log: u32) -> Result<Vec<P>, Iden3Error> {
        let n = 1 << log;
        self.points(section + TO_LAGRANGE, n - 1, n)
    }

    /// Points of a section, checked to be in their group, and not infinity where they are powers.
    fn points<P: Point>(&self, section: u32, first: usize, count: usize) -> Result<Vec<P>, Iden3Error> {
        let mut reader: Reader<'_> = self.file.section(section)?;
        reader.take(first * size_of::<P>())?;
        let points: Vec<P> = reader.part(count * size_of::<P>())?.points(count)?;
        let power = section < TO_LAGRANGE;
        if points.par_iter().all(|point| point.is_valid() && !(power && bool::from(point.is_identity()))) {
            Ok(points)
        } else {
            Err(self.file.malformed("a point is infinity, not on its curve or not in its group"))
        }
    }
}

/// A point of either group.
trait Point: CurveAffine + Limbs {
    fn is_valid(&self) -> bool;
}

impl Point for G1Affine {
    fn is_valid(&self) -> bool {
        raw::is_valid_g1(self)
    }
}

impl Point for G2Affine {
    fn is_valid(&self) -> bool {
        raw::is_valid_g2(self)
    }
}

fn random(count: usize) -> Vec<Fr> {
    (0..count).map(|_| Fr::random(OsRng)).collect()
}

/// The same random combination of all points but the last, and of all but the first.
fn shifted<C: CurveAffine>(points: &[C], msm: impl Fn(&[C], &[Fr]) -> C::CurveExt) -> [C; 2]
where
    C::CurveExt: Curve<AffineRepr = C>,
{
    let scalars = random(points.len() - 1);
    [&points[..points.len() - 1], &points[1..]].map(|points| msm(points, &scalars).to_affine())
}

/// e(a, b) = e(c, d)
fn same_ratio((a, b): (G1Affine, G2Affine), (c, d): (G1Affine, G2Affine)) -> bool {
    <Bn256 as Engine>::pairing(&a, &b) == <Bn256 as Engine>::pairing(&c, &d)
}

/// A prepared file of 2^`power` powers of a trapdoor that everybody knows, for tests and development: whoever knows the seed
/// proves anything with what is made from it. The file says that nobody contributed.
///
/// # Errors
/// [`Iden3Error::Unsupported`] above 2^26 or when tau lies in a domain.
pub fn write_dev(power: u32, trapdoor: &DevTrapdoor) -> Result<Vec<u8>, Iden3Error> {
    use bn254::fixed_base::FixedBase;

    let DevTrapdoor { tau, alpha, beta, .. } = *trapdoor;
    if power > LARGEST_POWER {
        return Err(Iden3Error::Unsupported("there are not so many powers of tau"));
    }
    let n = 1_usize << power;
    let g1 = FixedBase::new(G1Affine::generator(), 16 * n);
    let g2 = FixedBase::new(G2Affine::generator(), 4 * n);
    let powers: Vec<Fr> =
        std::iter::successors(Some(Fr::ONE), |power| Some(*power * tau)).take(2 * n - 1).collect();
    let mut lagrange = Vec::with_capacity(4 * n - 1);
    for log in 0..=power + 1 {
        let unsupported = Iden3Error::Unsupported("this seed gives a tau that lies in a domain");
        let domain = Domain::with_generator(log, Generator::Five)
            .map_err(|_| Iden3Error::Unsupported("there are not so many powers of tau"))?;
        let mut bases = domain.lagrange_at(tau, Fr::ONE).ok_or(unsupported)?;
        if log == power + 1 {
            // The basis polynomial j has the highest coefficient w^j/2n, of the power that is missing.
            let mut highest = powers[2 * n - 2] * tau * domain.size_inverse();
            for basis in &mut bases {
                *basis -= highest;
                highest *= domain.root();
            }
        }
        lagrange.extend(bases);
    }

    let times = |scalars: &[Fr], factor: Fr| scalars.iter().map(|scalar| factor * scalar).collect::<Vec<_>>();
    let mut file = Writer::new(KIND, VERSION);
    file.section(1).field(Q::WORDS).u32(power).u32(power);
    for (first, section, count) in [(&powers, 0, n), (&lagrange, TO_LAGRANGE, 2 * n - 1)] {
        file.section(TAU_G1 + section).put(raw::as_bytes(&g1.multiples(first, |_| ())));
        file.section(TAU_G2 + section).put(raw::as_bytes(&g2.multiples(&first[..count], |_| ())));
        for (number, factor) in [(ALPHA_TAU_G1, alpha), (BETA_TAU_G1, beta)] {
            let points = g1.multiples(&times(&first[..count], factor), |_| ());
            file.section(number + section).put(raw::as_bytes(&points));
        }
        if section == 0 {
            file.section(BETA_G2).put(raw::as_bytes(&g2.multiples(&[beta], |_| ())));
            file.section(CONTRIBUTIONS).u32(0);
        }
    }
    Ok(file.finish())
}
