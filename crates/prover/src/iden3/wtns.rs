//! `.wtns`: the value of every wire.
//!
//! Section 1 has the field and the number of values, section 2 the values as integers.

use bn254::{Fr, fr_to_le_bytes};

use super::Iden3Error;
use super::binfile::{BinFile, Writer};
use crate::witness::Witness;

const KIND: &str = "wtns";
const VERSION: u32 = 2;
const HEADER: u32 = 1;
const VALUES: u32 = 2;

/// Reads a witness of a circuit with so many public inputs, the constant one among them.
///
/// # Errors
/// [`Iden3Error::Malformed`], [`Iden3Error::Unsupported`].
pub fn read(bytes: &[u8], inputs: usize) -> Result<Witness, Iden3Error> {
    let file = BinFile::parse(KIND, VERSION, bytes)?;
    let mut header = file.section(HEADER)?;
    header.scalar_field()?;
    let count = header.u32()? as usize;
    header.end()?;
    let mut reader = file.section(VALUES)?;
    if count.checked_mul(32) != Some(reader.remaining().len()) {
        return Err(file.malformed("it has another number of values than its header says"));
    }
    if count < inputs {
        return Err(Iden3Error::OtherCircuit("the witness has fewer values than the circuit public inputs"));
    }
    let values: Vec<Fr> = (0..count).map(|_| reader.element()).collect::<Result<_, _>>()?;
    Ok(Witness::from_values(inputs, values))
}

/// The file of a witness.
pub fn write(witness: &Witness) -> Vec<u8> {
    let mut file = Writer::new(KIND, VERSION);
    file.section(HEADER).scalar_field().u32(witness.values().len() as u32);
    file.section(VALUES);
    for value in witness.values() {
        file.put(&fr_to_le_bytes(value));
    }
    file.finish()
}
