//! `.r1cs`: the constraints of a circuit, as circom writes them.
//!
//! Wires are numbered as our variables are: the constant one, the public outputs and inputs, the private ones. Section 1 has
//! the field and the numbers of wires, section 2 the constraints (for A, B and C each the number of terms, then wire and
//! coefficient of each), section 3, which may be missing, a label of eight bytes for every wire, of which only the number counts here.

use bn254::{Fr, fr_to_le_bytes};

use super::Iden3Error;
use super::binfile::{BinFile, Reader, Writer};
use crate::matrices::{Matrices, RowBuilder, SparseMatrix};

const KIND: &str = "r1cs";
const VERSION: u32 = 1;
/// Section numbers: header, constraints, labels, and those of circuits with custom gates.
const HEADER: u32 = 1;
const CONSTRAINTS: u32 = 2;
const LABELS: u32 = 3;
const CUSTOM_GATES: [u32; 2] = [4, 5];
/// A file without labels may have wires that take so many bytes more than it is long: those that occur in no constraint.
const MOST_SPARE_BYTES: u64 = 1 << 20;

/// Reads the constraints of a circuit.
///
/// # Errors
/// [`Iden3Error::Malformed`], [`Iden3Error::Unsupported`].
pub fn read(bytes: &[u8]) -> Result<Matrices, Iden3Error> {
    let file = BinFile::parse(KIND, VERSION, bytes)?;
    if CUSTOM_GATES.into_iter().any(|number| file.has(number)) {
        return Err(Iden3Error::Unsupported("the circuit has custom gates, which Groth16 has not"));
    }
    let mut header = file.section(HEADER)?;
    header.scalar_field()?;
    let wires = header.u32()?;
    let public = [header.u32()?, header.u32()?];
    let _private_inputs = header.u32()?;
    let _labels = header.u64()?;
    let constraints = header.u32()?;
    header.end()?;
    let inputs = public[0].checked_add(public[1]).and_then(|public| public.checked_add(1));
    let Some((inputs, aux)) = inputs.and_then(|inputs| Some((inputs, wires.checked_sub(inputs)?))) else {
        return Err(file.malformed("it has more public values than wires"));
    };

    // So many variables take little more memory than the file is long.
    let wires_in_bytes = 8 * u64::from(wires);
    if file.has(LABELS) {
        if file.section(LABELS)?.remaining().len() as u64 != wires_in_bytes {
            return Err(file.malformed("it has another number of labels than of wires"));
        }
    } else if wires_in_bytes > bytes.len() as u64 + MOST_SPARE_BYTES {
        return Err(file.malformed("it has many more wires than its constraints name"));
    }
    let mut builder = RowBuilder::new(inputs, aux)
        .ok_or(Iden3Error::Unsupported("the circuit has too many variables for this program"))?;
    let mut reader = file.section(CONSTRAINTS)?;
    let mut terms = Vec::new();
    for _ in 0..constraints {
        for side in 0..3 {
            read_terms(&mut reader, wires, &mut terms)?;
            builder.push(side, &mut terms);
        }
    }
    reader.end()?;
    builder.finish().ok_or(Iden3Error::Unsupported("the circuit has too many constraints for this program"))
}

/// Whether [`write`] gives the constraints of a file back byte by byte: each variable once in a combination, in order, and none
/// with coefficient zero, as circom writes them. Keys of other files are right, yet not the ones that snarkjs makes.
///
/// # Errors
/// [`Iden3Error::Malformed`]; as [`write`].
pub fn is_in_order(bytes: &[u8], matrices: &Matrices) -> Result<bool, Iden3Error> {
    let ours = write(matrices)?;
    let section =
        |bytes| Ok(BinFile::parse(KIND, VERSION, bytes)?.section(CONSTRAINTS)?.remaining().to_vec());
    let (theirs, ours): (Result<Vec<u8>, Iden3Error>, Result<Vec<u8>, _>) = (section(bytes), section(&ours));
    Ok(theirs? == ours?)
}

fn read_terms(reader: &mut Reader<'_>, wires: u32, terms: &mut Vec<(u32, Fr)>) -> Result<(), Iden3Error> {
    terms.clear();
    for _ in 0..reader.u32()? {
        let wire = reader.u32()?;
        if wire >= wires {
            return Err(reader.malformed("a constraint names a wire that is not there"));
        }
        terms.push((wire, reader.element()?));
    }
    Ok(())
}

/// The file of a circuit: its public inputs are public inputs, not outputs.
///
/// # Errors
/// [`Iden3Error::Unsupported`] when C is not known.
pub fn write(matrices: &Matrices) -> Result<Vec<u8>, Iden3Error> {
    if !matrices.c_is_known() {
        return Err(Iden3Error::Unsupported("these matrices come from a key and lack C"));
    }
    let coefficients: Vec<[u8; 32]> = matrices.table().iter().map(fr_to_le_bytes).collect();
    let wires = matrices.variables() as u32;
    let mut file = Writer::new(KIND, VERSION);
    file.section(HEADER)
        .scalar_field()
        .u32(wires)
        .u32(0)
        .u32(matrices.inputs() as u32 - 1)
        .u32(0)
        .put(&u64::from(wires).to_le_bytes())
        .u32(matrices.constraints() as u32);
    file.section(CONSTRAINTS);
    for row in 0..matrices.constraints() {
        for matrix in [matrices.a(), matrices.b(), matrices.c()] {
            write_terms(&mut file, matrix, row, &coefficients);
        }
    }
    file.section(LABELS);
    for wire in 0..u64::from(wires) {
        file.put(&wire.to_le_bytes());
    }
    Ok(file.finish())
}

fn write_terms(file: &mut Writer, matrix: &SparseMatrix, row: usize, table: &[[u8; 32]]) {
    let (columns, coefficients) = matrix.row(row);
    file.u32(columns.len() as u32);
    for (column, coefficient) in columns.iter().zip(coefficients) {
        file.u32(*column).put(&table[*coefficient as usize]);
    }
}
