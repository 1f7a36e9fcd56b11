//! A few results of the card against those of the processor, before it gets work: it takes milliseconds and finds a library
//! for another card, a miscompiled kernel or a card that computes wrongly.

use std::sync::Arc;

use bn254::{Curve, Domain, Field, Fr, G1, G1Affine, G2, G2Affine, PrimeCurveAffine, msm_g1, msm_g2};

use crate::kernels::CardPoint;
use crate::library::{Context, LibraryError};

const POINTS: u64 = 96;
const DOMAIN_LOG: u32 = 10;

/// # Errors
/// [`LibraryError::Failed`] with what was wrong.
pub(crate) fn run(context: &Arc<Context>) -> Result<(), LibraryError> {
    let scalars: Vec<Fr> = (0..POINTS).map(awkward).collect();
    let g1: Vec<G1Affine> = points(G1::generator());
    let g2: Vec<G2Affine> = points(G2::generator());
    check("a sum in G1", sum(context, &g1, &scalars)? == msm_g1(&g1, &scalars).to_affine())?;
    check("a sum in G2", sum(context, &g2, &scalars)? == msm_g2(&g2, &scalars).to_affine())?;
    let domain = Domain::new(DOMAIN_LOG).map_err(|error| LibraryError::Failed(error.to_string()))?;
    let values: Vec<Fr> = (0..3 << DOMAIN_LOG).map(|i| Fr::from(i * i + 7).square()).collect();
    let mut expected = values.clone();
    let on_card = {
        let parts: Vec<&[Fr]> = values.chunks(domain.size()).collect();
        context.quotient(&domain, [parts[0], parts[1], parts[2]])?.value
    };
    for part in expected.chunks_mut(domain.size()) {
        domain.shift_to_coset(part);
    }
    let (a, rest) = expected.split_at(domain.size());
    let (b, c) = rest.split_at(domain.size());
    let right = on_card.iter().enumerate().all(|(i, value)| *value == a[i] * b[i] - c[i]);
    check("a transform", right)
}

fn check(what: &str, right: bool) -> Result<(), LibraryError> {
    if right {
        return Ok(());
    }
    Err(LibraryError::Failed(format!("the card computes {what} wrongly; it must not prove")))
}

fn sum<P: CardPoint>(context: &Arc<Context>, points: &[P], scalars: &[Fr]) -> Result<P, LibraryError> {
    Ok(context.bases(points, 0, 0)?.sum(scalars)?.value)
}

/// Many 0 and 1, as a witness has, some small, -1, and full-sized ones.
fn awkward(i: u64) -> Fr {
    match i % 8 {
        0 | 1 => Fr::ZERO,
        2 | 3 => Fr::ONE,
        4 => -Fr::ONE,
        5 => Fr::from(i),
        _ => Fr::from(i + 3).pow_vartime([i + 1_000_003]),
    }
}

/// Small multiples of the generator with infinity, repetitions and opposite points among them.
fn points<P: PrimeCurveAffine<Scalar = Fr>>(generator: P::Curve) -> Vec<P>
where
    P::Curve: Curve<AffineRepr = P>,
{
    (0..POINTS)
        .map(|i| match i % 7 {
            0 => P::identity(),
            1 => generator.to_affine(),
            2 => (-generator).to_affine(),
            _ => (generator * Fr::from(i * i + 1)).to_affine(),
        })
        .collect()
}
