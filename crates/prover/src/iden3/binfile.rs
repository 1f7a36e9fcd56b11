//! The container of all of iden3's binary files: a table of numbered sections.
//!
//! Magic (4 bytes), version (u32), number of sections (u32), then for each its number (u32), its length in bytes (u64) and its
//! bytes. All integers are little-endian.

use bn254::raw::{self, Limbs};
use bn254::simd::field52::{Modulus, R};
use bn254::{Fr, fr_from_le_bytes};

use super::Iden3Error;

/// Far more than any file has.
const MOST_SECTIONS: u32 = 256;

/// A file whose sections are known.
pub(super) struct BinFile<'a> {
    kind: &'static str,
    sections: Vec<(u32, &'a [u8])>,
}

impl<'a> BinFile<'a> {
    /// Finds the sections of a file of this kind (`r1cs`, `wtns`, `zkey`, `ptau`) and version.
    pub fn parse(kind: &'static str, version: u32, bytes: &'a [u8]) -> Result<Self, Iden3Error> {
        let mut reader = Reader { kind, bytes };
        if reader.take(4)? != kind.as_bytes() {
            return Err(reader.malformed("it does not begin with the name of its format"));
        }
        if reader.u32()? != version {
            return Err(reader.malformed("it has another version than this program reads"));
        }
        let count = reader.u32()?;
        if count > MOST_SECTIONS {
            return Err(reader.malformed("it has too many sections"));
        }
        let mut sections = Vec::new();
        for _ in 0..count {
            let number = reader.u32()?;
            let len =
                usize::try_from(reader.u64()?).map_err(|_| reader.malformed("a section is too long"))?;
            sections.push((number, reader.take(len)?));
        }
        reader.end()?;
        Ok(Self { kind, sections })
    }

    /// The only section of this number.
    pub fn section(&self, number: u32) -> Result<Reader<'a>, Iden3Error> {
        let mut found = self.sections.iter().filter(|section| section.0 == number);
        match (found.next(), found.next()) {
            (Some((_, bytes)), None) => Ok(Reader { kind: self.kind, bytes }),
            (None, _) => Err(self.malformed("a section is missing")),
            _ => Err(self.malformed("a section is there twice")),
        }
    }

    /// Whether there is something in sections of this number.
    pub fn has(&self, number: u32) -> bool {
        self.sections.iter().any(|section| section.0 == number && !section.1.is_empty())
    }

    pub fn malformed(&self, reason: &'static str) -> Iden3Error {
        Iden3Error::Malformed { kind: self.kind, reason }
    }
}

/// What is left of a section.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    kind: &'static str,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn malformed(&self, reason: &'static str) -> Iden3Error {
        Iden3Error::Malformed { kind: self.kind, reason }
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Iden3Error> {
        let (taken, rest) =
            self.bytes.split_at_checked(len).ok_or_else(|| self.malformed("it ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    /// The next `len` bytes, to be read on their own.
    pub fn part(&mut self, len: usize) -> Result<Self, Iden3Error> {
        Ok(Self { kind: self.kind, bytes: self.take(len)? })
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Iden3Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn u32(&mut self) -> Result<u32, Iden3Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, Iden3Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A canonical element as an integer.
    pub fn element(&mut self) -> Result<Fr, Iden3Error> {
        let bytes: [u8; 32] = self.array()?;
        fr_from_le_bytes(&bytes).map_err(|_| self.malformed("a number is not below the modulus"))
    }

    /// A length of 32 and the modulus of the scalar field.
    pub fn scalar_field(&mut self) -> Result<(), Iden3Error> {
        self.field(R::WORDS)
    }

    /// A length of 32 and this modulus.
    pub fn field(&mut self, modulus: [u64; 4]) -> Result<(), Iden3Error> {
        let expected: Vec<u8> = modulus.iter().flat_map(|word| word.to_le_bytes()).collect();
        if self.u32()? != 32 || self.take(32)? != expected {
            return Err(Iden3Error::Unsupported("the file is for another curve"));
        }
        Ok(())
    }

    /// All that is left as so many points.
    pub fn points<P: Limbs + Default>(&self, count: usize) -> Result<Vec<P>, Iden3Error> {
        if count.checked_mul(size_of::<P>()) != Some(self.bytes.len()) {
            return Err(self.malformed("a section of points has another length than the header says"));
        }
        let mut points = vec![P::default(); count];
        raw::as_bytes_mut(&mut points).copy_from_slice(self.bytes);
        Ok(points)
    }

    pub fn point<P: Limbs + Default>(&mut self) -> Result<P, Iden3Error> {
        let mut point = [P::default()];
        raw::as_bytes_mut(&mut point).copy_from_slice(self.take(size_of::<P>())?);
        Ok(point[0])
    }

    pub fn remaining(&self) -> &'a [u8] {
        self.bytes
    }

    pub fn end(&self) -> Result<(), Iden3Error> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.malformed("there are bytes too many")) }
    }
}

/// A file that is put together section by section.
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Where the length of the section under way is.
    length_at: Option<usize>,
    sections: u32,
}

impl Writer {
    pub fn new(kind: &str, version: u32) -> Self {
        let mut bytes = kind.as_bytes().to_vec();
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        Self { bytes, length_at: None, sections: 0 }
    }

    /// Ends the section before and begins another.
    pub fn section(&mut self, number: u32) -> &mut Self {
        self.end_section();
        self.sections += 1;
        self.u32(number);
        self.length_at = Some(self.bytes.len());
        self.put(&[0; 8])
    }

    pub fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    pub fn field(&mut self, modulus: [u64; 4]) -> &mut Self {
        self.u32(32);
        modulus.iter().fold(self, |writer, word| writer.put(&word.to_le_bytes()))
    }

    pub fn scalar_field(&mut self) -> &mut Self {
        self.field(R::WORDS)
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.end_section();
        self.bytes[8..12].copy_from_slice(&self.sections.to_le_bytes());
        self.bytes
    }

    fn end_section(&mut self) {
        if let Some(at) = self.length_at.take() {
            let len = (self.bytes.len() - at - 8) as u64;
            self.bytes[at..at + 8].copy_from_slice(&len.to_le_bytes());
        }
    }
}
