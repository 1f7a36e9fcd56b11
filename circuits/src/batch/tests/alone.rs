//! Which variables may take another value while all others keep theirs: an answer by algebra, for every variable.
//!
//! With variable v moved by δ, row (A·z)(B·z) = C·z changes by `δ·(a·(B·z) + b·(A·z) − c) + δ²·a·b`, where a, b and c are v's
//! coefficients in the row. v may move if some δ ≠ 0 makes that 0 in all rows.

use std::collections::BTreeSet;

use bn254::Fr;
use ff::Field;
use prover::matrices::{Matrices, SparseMatrix};

use super::{
    scene::{OldRoot, Scene},
    stage::Stage,
};
use crate::batch::{
    Prepared,
    gadget::{BatchCircuit, witness},
};
use crate::shape::Shape;

#[derive(Clone, Copy, PartialEq)]
enum Freedom {
    Any,
    /// Moves by this and nothing else.
    Only(Fr),
    None,
}

/// Az, Bz, Cz of all rows.
fn products(matrices: &Matrices, z: &[Fr]) -> [Vec<Fr>; 3] {
    [matrices.a(), matrices.b(), matrices.c()].map(|matrix| {
        let mut out = vec![Fr::ZERO; matrices.constraints()];
        matrices.multiply(matrix, z, &mut out);
        out
    })
}

fn terms(matrices: &Matrices, matrix: &SparseMatrix, row: usize) -> Vec<(usize, Fr)> {
    let (columns, coefficients) = matrix.row(row);
    let table = matrices.table();
    columns.iter().zip(coefficients).map(|(column, c)| (*column as usize, table[*c as usize])).collect()
}

fn freedoms(matrices: &Matrices, z: &[Fr]) -> Vec<Freedom> {
    let [az, bz, cz] = products(matrices, z);
    let mut freedom = vec![Freedom::Any; z.len()];
    for row in 0..matrices.constraints() {
        assert_eq!(az[row] * bz[row], cz[row], "row {row}");
        let sides = [matrices.a(), matrices.b(), matrices.c()].map(|matrix| terms(matrices, matrix, row));
        let coefficient = |side: usize, column: usize| {
            let side: &Vec<(usize, Fr)> = &sides[side];
            side.binary_search_by_key(&column, |term| term.0).map_or(Fr::ZERO, |at| side[at].1)
        };
        for (column, _) in sides.iter().flatten() {
            if freedom[*column] == Freedom::None {
                continue;
            }
            let [a, b, c] = [0, 1, 2].map(|side| coefficient(side, *column));
            let (linear, square) = (a * bz[row] + b * az[row] - c, a * b);
            let allowed = match (linear == Fr::ZERO, square == Fr::ZERO) {
                (true, true) => continue,
                (false, false) => Freedom::Only(-linear * square.invert().unwrap()),
                _ => Freedom::None,
            };
            let now = &mut freedom[*column];
            *now = if *now == Freedom::Any || *now == allowed { allowed } else { Freedom::None };
        }
    }
    freedom
}

/// Variables that may move alone, wherever their honest value is 0, with the reason why they may.
const FREE: &[(&str, &str)] = &[
    ("frame/mint is unused/inverse", "0 has no inverse; the flag beside it is fixed all the same"),
    ("slot/nothing is left/inverse", "0 has no inverse; the flag beside it is fixed all the same"),
    ("slot/requested account holds it/inverse", "0 has no inverse; the flag beside it is fixed all the same"),
    ("slot/new account", "only a re-key has one"),
];

#[test]
fn no_variable_can_change_alone_but_a_listed_few() {
    let stage = Stage::new();
    let matrices = Matrices::synthesize(BatchCircuit(&Prepared::blank(Shape::S3M1))).unwrap();
    let listed: BTreeSet<&str> = FREE.iter().map(|(name, _)| *name).collect();
    let mut free = BTreeSet::new();
    for scene in stage.scenes() {
        let (inputs, aux) = witness(&scene.batch);
        let z = [inputs.clone(), aux].concat();
        for (column, freedom) in freedoms(&matrices, &z).into_iter().enumerate().skip(1) {
            if freedom != Freedom::None {
                let name = column.checked_sub(inputs.len());
                let name = name.map_or("a public input", |v| &*scene.layout.listing.variables[v]);
                assert!(
                    z[column] == Fr::ZERO && listed.contains(name),
                    "{name} may change, in {}",
                    scene.name
                );
                free.insert(name.to_owned());
            }
        }
    }
    assert_eq!(
        free,
        listed.into_iter().map(str::to_owned).collect(),
        "the list has what is free and no more"
    );
}

/// The adversary's shortcuts (numbers without terms, pieces played alone) say of the real matrices what they say themselves.
#[test]
fn the_matrices_refuse_what_the_adversary_sees_refused() {
    let stage = Stage::new();
    let matrices = Matrices::synthesize(BatchCircuit(&Prepared::blank(Shape::S3M1))).unwrap();
    let scenes: Vec<Scene> = stage.scenes();
    let variables = stage.layout.listing.variables.len();
    for (i, scene) in scenes.iter().enumerate() {
        for j in 0..6 {
            let variable = (j * variables / 6 + 7_919 * i) % variables;
            let played = scene.play(&[(variable, scene.value(variable) + Fr::ONE)], OldRoot::Any);
            let z = [vec![Fr::ONE], played.inputs.to_vec(), played.assignment()].concat();
            let [az, bz, cz] = products(&matrices, &z);
            let broken: Vec<usize> = (0..az.len()).filter(|row| az[*row] * bz[*row] != cz[*row]).collect();
            let seen: Vec<usize> = played.violations().map(|violation| violation.constraint).collect();
            assert_eq!(broken, seen, "variable {variable} in {}", scene.name);
        }
    }
}
