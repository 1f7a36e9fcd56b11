//! The header of a key file: parsing, making, and the checks that need nothing else.

use std::ops::Range;

use bn254::ntt::Generator;
use bn254::raw;
use bn254::{G1Affine, G2Affine};

use super::{KeyError, KeyParts, MAX_ORIGIN_BYTES, Origin, hex};
use crate::matrices::{CircuitDigest, domain_log};
use crate::verifying_key::VerifyingKey;

pub(super) const HEADER_LEN: usize = 1024;
pub(super) const ALIGNMENT: usize = 64;
const MAGIC: &[u8; 8] = b"PMKEY\r\n\x1a";
const VERSION: u32 = 1;
const CHECKSUM_AT: usize = HEADER_LEN - 32;
const TABLE_AT: usize = 384;
const TABLE_ENTRY: usize = 48;

const AT_VERSION: usize = 8;
const AT_ORIGIN: usize = 12;
const AT_FILE_LEN: usize = 16;
const AT_INPUTS: usize = 24;
const AT_AUX: usize = 32;
const AT_CONSTRAINTS: usize = 40;
const AT_DOMAIN: usize = 48;
const AT_ORIGIN_LEN: usize = 52;
const AT_GENERATOR: usize = 56;
const AT_CIRCUIT: usize = 64;
const AT_VK: usize = 96;
const AT_ORIGIN_TEXT: usize = 128;

/// The sections in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SectionId {
    VerifyingKey,
    AColumns,
    A,
    BColumns,
    B1,
    B2,
    L,
    H,
}

impl SectionId {
    pub(super) const ALL: [Self; 8] =
        [Self::VerifyingKey, Self::AColumns, Self::A, Self::BColumns, Self::B1, Self::B2, Self::L, Self::H];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::VerifyingKey => "verifying key",
            Self::AColumns => "A columns",
            Self::A => "A",
            Self::BColumns => "B columns",
            Self::B1 => "B1",
            Self::B2 => "B2",
            Self::L => "L",
            Self::H => "H",
        }
    }
}

#[derive(Clone, Debug)]
struct Section {
    range: Range<usize>,
    checksum: [u8; 32],
}

#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) origin: Origin,
    pub(super) circuit: CircuitDigest,
    pub(super) vk_digest: [u8; 32],
    pub(super) inputs: usize,
    pub(super) aux: usize,
    pub(super) constraints: usize,
    pub(super) domain_log: u32,
    pub(super) generator: Generator,
    sections: [Section; 8],
}

fn aligned(position: usize) -> usize {
    position.next_multiple_of(ALIGNMENT)
}

impl Header {
    /// The header for these sections of these parts.
    pub(super) fn for_parts(parts: &KeyParts, contents: &[&[u8]; 8]) -> Self {
        let mut end = HEADER_LEN;
        let sections = contents.map(|bytes| {
            let start = aligned(end);
            end = start + bytes.len();
            Section { range: start..end, checksum: checksum(bytes) }
        });
        Self {
            origin: parts.origin.clone(),
            circuit: parts.circuit,
            vk_digest: parts.vk.digest(),
            inputs: parts.inputs,
            aux: parts.aux,
            constraints: parts.constraints,
            domain_log: domain_log(parts.constraints + parts.inputs),
            generator: parts.generator,
            sections,
        }
    }

    pub(super) fn file_len(&self) -> usize {
        self.sections[7].range.end
    }

    pub(super) fn range(&self, id: SectionId) -> Range<usize> {
        self.sections[id as usize].range.clone()
    }

    /// The header as bytes.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when the origin does not fit.
    pub(super) fn to_bytes(&self) -> Result<[u8; HEADER_LEN], KeyError> {
        let (number, text) = match &self.origin {
            Origin::UnsafeImported { transcript } => (0_u32, hex(transcript)),
            Origin::UnsafeDev { seed } => (1, seed.clone()),
        };
        if text.len() > MAX_ORIGIN_BYTES {
            return Err(KeyError::Malformed("the seed is too long"));
        }
        // Or a seed and the same seed with some of the padding would be two headers of one key.
        if text.contains('\0') {
            return Err(KeyError::Malformed("the seed has a zero byte"));
        }
        let mut bytes = [0; HEADER_LEN];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, MAGIC);
        put(AT_VERSION, &VERSION.to_le_bytes());
        put(AT_ORIGIN, &number.to_le_bytes());
        put(AT_FILE_LEN, &(self.file_len() as u64).to_le_bytes());
        put(AT_INPUTS, &(self.inputs as u64).to_le_bytes());
        put(AT_AUX, &(self.aux as u64).to_le_bytes());
        put(AT_CONSTRAINTS, &(self.constraints as u64).to_le_bytes());
        put(AT_DOMAIN, &self.domain_log.to_le_bytes());
        put(AT_GENERATOR, &generator_number(self.generator).to_le_bytes());
        put(AT_ORIGIN_LEN, &(text.len() as u32).to_le_bytes());
        put(AT_CIRCUIT, &self.circuit);
        put(AT_VK, &self.vk_digest);
        put(AT_ORIGIN_TEXT, text.as_bytes());
        for (number, section) in self.sections.iter().enumerate() {
            let at = TABLE_AT + number * TABLE_ENTRY;
            put(at, &(section.range.start as u64).to_le_bytes());
            put(at + 8, &(section.range.len() as u64).to_le_bytes());
            put(at + 16, &section.checksum);
        }
        let sum = checksum(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&sum);
        Ok(bytes)
    }

    /// Reads the header of a file and checks it against the length of the file and the sizes against each other.
    pub(super) fn parse(file: &[u8]) -> Result<Self, KeyError> {
        let got = file.len() as u64;
        let known = file.len().min(MAGIC.len());
        if file[..known] != MAGIC[..known] {
            return Err(KeyError::NotAKey);
        }
        let bytes = file.get(..HEADER_LEN).ok_or(KeyError::Length { expected: HEADER_LEN as u64, got })?;
        let version = u32_at(bytes, AT_VERSION);
        if version != VERSION {
            return Err(KeyError::Version(version));
        }
        if bytes[CHECKSUM_AT..] != checksum(&bytes[..CHECKSUM_AT]) {
            return Err(KeyError::CorruptHeader);
        }
        let expected = u64_at(bytes, AT_FILE_LEN);
        if expected != got {
            return Err(KeyError::Length { expected, got });
        }
        let header = Self {
            origin: parse_origin(bytes)?,
            circuit: array_at(bytes, AT_CIRCUIT),
            vk_digest: array_at(bytes, AT_VK),
            inputs: size_at(bytes, AT_INPUTS)?,
            aux: size_at(bytes, AT_AUX)?,
            constraints: size_at(bytes, AT_CONSTRAINTS)?,
            domain_log: u32_at(bytes, AT_DOMAIN),
            generator: parse_generator(u32_at(bytes, AT_GENERATOR))?,
            sections: parse_sections(bytes, file.len())?,
        };
        header.check_sizes()?;
        // One key has one header: reserved bytes are zero, text is padded with zeros, hex is lower case.
        if header.to_bytes()? != bytes {
            return Err(KeyError::Malformed("the header is not in its canonical form"));
        }
        Ok(header)
    }

    fn check_sizes(&self) -> Result<(), KeyError> {
        let rows = self.constraints + self.inputs;
        if self.inputs == 0 || self.domain_log >= 28 || domain_log(rows) != self.domain_log {
            return Err(KeyError::Malformed("the domain does not fit the constraints"));
        }
        let len = |id| self.range(id).len();
        let (a, b) = (len(SectionId::AColumns) / 4, len(SectionId::BColumns) / 4);
        let expected = [
            3 * 64 + 3 * 128 + self.inputs * 64,
            a * 4,
            a * 64,
            b * 4,
            b * 64,
            b * 128,
            self.aux * 64,
            64 << self.domain_log,
        ];
        if SectionId::ALL.map(len) != expected {
            return Err(KeyError::Malformed("a section has the wrong length"));
        }
        Ok(())
    }

    /// Checks all checksums and that the bytes between the sections are zero.
    pub(super) fn check_contents(&self, file: &[u8]) -> Result<(), KeyError> {
        let mut end = HEADER_LEN;
        for (id, section) in SectionId::ALL.into_iter().zip(&self.sections) {
            if file[end..section.range.start].iter().any(|byte| *byte != 0) {
                return Err(KeyError::CorruptSection(id.name()));
            }
            if checksum(&file[section.range.clone()]) != section.checksum {
                return Err(KeyError::CorruptSection(id.name()));
            }
            end = section.range.end;
        }
        Ok(())
    }
}

/// Whole sections at once, on all cores.
fn checksum(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update_rayon(bytes);
    hasher.finalize().into()
}

/// Zero, as in files from before there was a choice, is bellman's.
fn generator_number(generator: Generator) -> u32 {
    match generator {
        Generator::Seven => 0,
        Generator::Five => 5,
    }
}

fn parse_generator(number: u32) -> Result<Generator, KeyError> {
    [Generator::Seven, Generator::Five]
        .into_iter()
        .find(|generator| generator_number(*generator) == number)
        .ok_or(KeyError::Malformed("the generator is none that this program knows"))
}

fn parse_origin(bytes: &[u8]) -> Result<Origin, KeyError> {
    let len = u32_at(bytes, AT_ORIGIN_LEN) as usize;
    if len > MAX_ORIGIN_BYTES {
        return Err(KeyError::Malformed("the origin is too long"));
    }
    let text = std::str::from_utf8(&bytes[AT_ORIGIN_TEXT..AT_ORIGIN_TEXT + len])
        .map_err(|_| KeyError::Malformed("the origin is not text"))?;
    match u32_at(bytes, AT_ORIGIN) {
        0 => Ok(Origin::UnsafeImported { transcript: parse_hex(text)? }),
        1 => Ok(Origin::UnsafeDev { seed: text.to_owned() }),
        _ => Err(KeyError::Malformed("the origin is none that this program knows")),
    }
}

fn parse_hex(text: &str) -> Result<[u8; 32], KeyError> {
    const WRONG: KeyError = KeyError::Malformed("the transcript hash is not 32 bytes of hex");
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>().ok_or(WRONG)?;
    let pairs: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    if digits.len() != 64 {
        return Err(WRONG);
    }
    pairs.try_into().map_err(|_| WRONG)
}

/// The section table: each begins where the one before ended, rounded up, and the last ends with the file.
fn parse_sections(bytes: &[u8], file_len: usize) -> Result<[Section; 8], KeyError> {
    const WRONG: KeyError = KeyError::Malformed("the sections do not follow each other");
    let mut end = HEADER_LEN;
    let mut sections = std::array::from_fn(|_| Section { range: 0..0, checksum: [0; 32] });
    for (number, section) in sections.iter_mut().enumerate() {
        let at = TABLE_AT + number * TABLE_ENTRY;
        let (start, len) = (size_at(bytes, at)?, size_at(bytes, at + 8)?);
        if start != aligned(end) || start.checked_add(len).is_none_or(|end| end > file_len) {
            return Err(WRONG);
        }
        end = start + len;
        *section = Section { range: start..end, checksum: array_at(bytes, at + 16) };
    }
    if end == file_len { Ok(sections) } else { Err(WRONG) }
}

/// The bytes of the verifying key section.
pub(super) fn verifying_key_bytes(vk: &VerifyingKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(raw::as_bytes(&[vk.alpha_g1, vk.beta_g1, vk.delta_g1]));
    bytes.extend_from_slice(raw::as_bytes(&[vk.beta_g2, vk.gamma_g2, vk.delta_g2]));
    bytes.extend_from_slice(raw::as_bytes(&vk.ic));
    bytes
}

/// Reads the verifying key section; the points are not checked.
pub(super) fn read_verifying_key(bytes: &[u8]) -> Result<VerifyingKey, KeyError> {
    const WRONG: KeyError = KeyError::Malformed("the verifying key has the wrong length");
    let (g1, rest) = bytes.split_at_checked(3 * 64).ok_or(WRONG)?;
    let (g2, ic) = rest.split_at_checked(3 * 128).ok_or(WRONG)?;
    let (Some(&[alpha_g1, beta_g1, delta_g1]), Some(&[beta_g2, gamma_g2, delta_g2]), Some(ic)) =
        (raw::from_bytes::<G1Affine>(g1), raw::from_bytes::<G2Affine>(g2), raw::from_bytes::<G1Affine>(ic))
    else {
        return Err(WRONG);
    };
    Ok(VerifyingKey { alpha_g1, beta_g1, beta_g2, gamma_g2, delta_g1, delta_g2, ic: ic.to_vec() })
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// A size below 2^40, so that sums of products of sizes do not overflow.
fn size_at(bytes: &[u8], at: usize) -> Result<usize, KeyError> {
    usize::try_from(u64_at(bytes, at))
        .ok()
        .filter(|size| *size < 1 << 40)
        .ok_or(KeyError::Malformed("a size is out of range"))
}
