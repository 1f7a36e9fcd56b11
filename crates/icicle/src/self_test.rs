//! Known answers that a build and a card must give before they prove anything.
//!
//! The sums are over known multiples of the generator, so their answers need one multiplication; the witness-like one
//! goes through the same masks as proofs do.

use std::rc::Rc;

use bn254::{Curve as _, Domain, Field, Fr, Group, PrimeCurveAffine};

use crate::Error;
use crate::abi::Direction;
use crate::circuit::{quotient, to_coset};
use crate::curve::{Curve, InG1, InG2};
use crate::query::{Mask, Points, Query};
use crate::session::{Buffer, Session};

const TERMS: u32 = 300;
const TRANSFORM_LOG: u32 = 10;

/// # Errors
/// [`Error::SelfTest`], or whatever a call fails with.
pub(crate) fn run(session: &Rc<Session>) -> Result<(), Error> {
    sums::<InG1>(session, "sum in G1")?;
    sums::<InG2>(session, "sum in G2")?;
    transforms(session)
}

/// Full-size values that repeat nothing: x -> x^2 + 7.
fn values(start: u64) -> impl Iterator<Item = Fr> {
    std::iter::successors(Some(Fr::from(start) - Fr::from(u64::MAX)), |x| Some(x.square() + Fr::from(7)))
}

fn sums<C: Curve>(session: &Rc<Session>, what: &'static str) -> Result<(), Error> {
    // Small and large multiples; infinity, repetitions and opposites among them.
    let multiples: Vec<Fr> = (0..TERMS)
        .map(|i| match i % 16 {
            3 => Fr::ZERO,
            5 => Fr::from(5),
            7 => -Fr::from(5),
            _ => Fr::from(u64::from(i)) - Fr::from(9),
        })
        .collect();
    let points: Vec<C::Affine> =
        multiples.iter().map(|multiple| (C::Affine::generator() * multiple).to_affine()).collect();
    let full: Vec<Fr> = values(1).take(multiples.len()).collect();
    let witness: Vec<Fr> = full
        .iter()
        .enumerate()
        .map(|(i, value)| match i % 8 {
            0..3 => Fr::ZERO,
            3..6 => Fr::ONE,
            6 => -Fr::ONE,
            _ => *value,
        })
        .collect();
    let answer = |scalars: &[Fr]| {
        let product: Fr = multiples.iter().zip(scalars).map(|(multiple, scalar)| *multiple * scalar).sum();
        C::Sum::generator() * product
    };
    let positions: Vec<u32> = (0..TERMS).collect();
    let mask = Mask::new(positions.len());
    let query = Query::<C>::new(session, &points, &Buffer::of(session, &mask.gather(&positions))?)?;
    let masked = Buffer::of(session, &mask.apply(&witness, &positions))?;
    let plain = Points::<C>::upload(session, &points)?.sum(session, &Buffer::of(session, &full)?)?;
    if plain == answer(&full) && query.sum(session, &masked)? == answer(&witness) {
        Ok(())
    } else {
        Err(Error::SelfTest(what))
    }
}

fn transforms(session: &Rc<Session>) -> Result<(), Error> {
    let domain = Domain::new(TRANSFORM_LOG).map_err(|_| Error::TooLarge(TRANSFORM_LOG))?;
    let input: Vec<Fr> = values(2).take(domain.size()).collect();
    let mut forward = input.clone();
    domain.ntt(&mut forward);
    session.ensure_domain(TRANSFORM_LOG)?;
    let mut output = Buffer::new(session, input.len())?;
    session.ntt(&Buffer::of(session, &input)?, Direction::Forward, None, &mut output)?;
    let mut back = Buffer::new(session, input.len())?;
    session.ntt(&output, Direction::Inverse, None, &mut back)?;
    if output.read()? != forward || back.read()? != input {
        return Err(Error::SelfTest("transform"));
    }
    let on_coset = |mut values: Vec<Fr>| {
        domain.shift_to_coset(&mut values);
        values
    };
    if to_coset(session, &input, &mut output)?.read()? != on_coset(input.clone()) {
        return Err(Error::SelfTest("transform to the odd coset"));
    }
    let products = [3, 4, 5].map(|start| values(start).take(domain.size()).collect::<Vec<Fr>>());
    let [a, b, c] = products.clone().map(on_coset);
    let expected: Vec<Fr> = a.iter().zip(&b).zip(&c).map(|((a, b), c)| *a * b - c).collect();
    if quotient(session, products)?.read()? != expected {
        return Err(Error::SelfTest("product of vectors"));
    }
    Ok(())
}
