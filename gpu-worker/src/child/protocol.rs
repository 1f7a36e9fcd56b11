//! What worker and child say to each other: frames of a length (u32, little-endian), the version, and postcard.
//!
//! Only small things travel in frames; keys, matrices and witnesses are files that frames name. A frame over
//! [`MAX_FRAME`] bytes is refused before memory is taken for it. Both sides are of the same release: the version is
//! there to say so when a binary was replaced under a running worker.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    time::Duration,
};

use bn254::{Curve, Fq, Fq2, G1Affine, G2Affine, PrimeCurveAffine, fq_from_le_bytes, fq_to_le_bytes};
use prover::{BackendError, CircuitDigest, DeviceInfo, Sums, Timings};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The layout that this build writes and the only one it reads.
pub const VERSION: u8 = 1;
/// Longest frame, version included.
pub const MAX_FRAME: usize = 64 * 1024;
/// Longest text of a reason; longer ones are cut.
const MAX_REASON: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("PM-CHILD-001: the pipe broke: {0}")]
    Io(#[from] io::Error),
    #[error("PM-CHILD-002: a frame of {0} bytes came; at most {MAX_FRAME} are allowed")]
    Length(usize),
    #[error("PM-CHILD-003: a frame of version {0} came, this build speaks {VERSION}; restart the worker")]
    Version(u8),
    #[error("PM-CHILD-004: a frame that means nothing came: {0}")]
    Malformed(String),
}

/// Writes one frame.
///
/// # Errors
/// `Io`, or `Length` for a message that is too long.
pub fn write_frame(out: &mut impl Write, message: &impl Serialize) -> Result<(), FrameError> {
    // Length, version, message: one write, so that a frame is whole or not there.
    let bytes = postcard::to_extend(message, vec![0, 0, 0, 0, VERSION])
        .map_err(|error| FrameError::Malformed(error.to_string()))?;
    let length = bytes.len() - 4;
    if length > MAX_FRAME {
        return Err(FrameError::Length(length));
    }
    let mut bytes = bytes;
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    out.write_all(&bytes)?;
    Ok(out.flush()?)
}

/// Reads one frame; `None` at the end of the file between two frames.
///
/// # Errors
/// One variant for each way in which this is no frame.
pub fn read_frame<T: DeserializeOwned>(input: &mut impl Read) -> Result<Option<T>, FrameError> {
    let mut length = [0; 4];
    let mut got = 0;
    while got < length.len() {
        match input.read(&mut length[got..]) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let length = u32::from_le_bytes(length) as usize;
    if length == 0 || length > MAX_FRAME {
        return Err(FrameError::Length(length));
    }
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    if bytes[0] != VERSION {
        return Err(FrameError::Version(bytes[0]));
    }
    let (message, rest) =
        postcard::take_from_bytes(&bytes[1..]).map_err(|error| FrameError::Malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(FrameError::Malformed(format!("{} bytes too many", rest.len())));
    }
    Ok(Some(message))
}

/// The first thing a child says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hello {
    /// The backend started and proved a small circuit correctly.
    Ready { backend: String, device: Option<Device> },
    /// It did not, and why. The child ends.
    Unavailable { reason: String },
}

/// [`DeviceInfo`] in a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    name: String,
    uuid: String,
    memory: u64,
    versions: String,
}

impl From<DeviceInfo> for Device {
    fn from(DeviceInfo { name, uuid, memory, versions }: DeviceInfo) -> Self {
        Self { name, uuid, memory, versions }
    }
}

impl From<Device> for DeviceInfo {
    fn from(Device { name, uuid, memory, versions }: Device) -> Self {
        Self { name, uuid, memory, versions }
    }
}

/// A wish of the worker. Numbers of requests are never used twice for one child; so are numbers of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub number: u64,
    pub wish: Wish,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// Answered by `Prepared`.
    Prepare(Preparation),
    /// Take the witness in this file; answered by `Staged`. The file may be used again then.
    Stage { key: u64, file: PathBuf, inputs: u64, aux: u64 },
    /// Prove what the request of this number staged; answered by `Proved`.
    Prove { staged: u64 },
    /// Forget what that request staged. No answer.
    Unstage { staged: u64 },
    /// Stop the proof of that request between two stages. No answer of its own.
    Cancel { request: u64 },
    /// No answer.
    Release { key: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preparation {
    pub key: u64,
    pub key_file: PathBuf,
    pub matrices_file: PathBuf,
    pub circuit: CircuitDigest,
    /// Digest of the verifying key: the file at this path may have been replaced.
    pub verifying_key: [u8; 32],
}

/// The answer to the request of this number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub number: u64,
    pub result: Result<Answer, Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Prepared,
    Staged,
    Proved(Box<SumsBytes>, [Duration; 8]),
}

/// [`BackendError`] in a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    UnknownKey,
    OtherCircuit,
    WitnessShape { inputs: u64, aux: u64 },
    Unsatisfied(u64),
    Cancelled,
    Device(String),
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::UnknownKey(_) => Self::UnknownKey,
            BackendError::OtherCircuit => Self::OtherCircuit,
            BackendError::WitnessShape { inputs, aux } => {
                Self::WitnessShape { inputs: inputs as u64, aux: aux as u64 }
            }
            BackendError::Unsatisfied(row) => Self::Unsatisfied(row as u64),
            BackendError::Cancelled => Self::Cancelled,
            BackendError::Device { reason, .. } | BackendError::Lost { reason, .. } => {
                Self::Device(cut(reason))
            }
        }
    }
}

/// A reason that fits into a frame.
pub fn cut(mut reason: String) -> String {
    let end = (0..=reason.len().min(MAX_REASON)).rev().find(|end| reason.is_char_boundary(*end));
    reason.truncate(end.unwrap_or(0));
    reason
}

/// [`Sums`] in canonical form: A, B1, L, H (x, y each), then B2 (x.c0, x.c1, y.c0, y.c1); infinity is zeros.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SumsBytes([[u8; 32]; 12]);

impl From<&Sums> for SumsBytes {
    fn from(sums: &Sums) -> Self {
        let mut words = [[0; 32]; 12];
        for (pair, point) in words.chunks_mut(2).zip([sums.a, sums.b1, sums.l, sums.h]) {
            let point = point.to_affine();
            pair.copy_from_slice(&[fq_to_le_bytes(&point.x), fq_to_le_bytes(&point.y)]);
        }
        let b2 = sums.b2.to_affine();
        let coordinates = [b2.x.c0(), b2.x.c1(), b2.y.c0(), b2.y.c1()];
        words[8..].copy_from_slice(&coordinates.map(fq_to_le_bytes));
        Self(words)
    }
}

impl SumsBytes {
    /// The sums; `None` if a coordinate is not below the modulus. Points may be off their curves: who assembles a proof
    /// checks that.
    pub fn sums(&self) -> Option<Sums> {
        let mut q = [Fq::default(); 12];
        for (coordinate, bytes) in q.iter_mut().zip(&self.0) {
            *coordinate = fq_from_le_bytes(bytes).ok()?;
        }
        let g1 = |at: usize| G1Affine { x: q[at], y: q[at + 1] }.to_curve();
        let b2 = G2Affine { x: Fq2::new(q[8], q[9]), y: Fq2::new(q[10], q[11]) }.to_curve();
        Some(Sums { a: g1(0), b1: g1(2), b2, l: g1(4), h: g1(6) })
    }
}

/// [`Timings`] in a frame.
pub fn timings_to_array(t: &Timings) -> [Duration; 8] {
    [t.sparse, t.ntt, t.msm_a, t.msm_b1, t.msm_b2, t.msm_l, t.msm_h, t.total]
}

/// The other way.
pub fn timings_from_array(
    [sparse, ntt, msm_a, msm_b1, msm_b2, msm_l, msm_h, total]: [Duration; 8],
) -> Timings {
    Timings { sparse, ntt, msm_a, msm_b1, msm_b2, msm_l, msm_h, total }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn254::{CurveAffine, Field, Fr, G1, G2, Group};

    fn sums() -> Sums {
        let g1 = |n: u64| G1::generator() * Fr::from(n);
        Sums { a: g1(2), b1: G1::identity(), b2: G2::generator().double(), l: g1(5), h: -g1(7) }
    }

    #[test]
    fn sums_survive_the_way_through_a_frame_and_coordinates_from_the_modulus_on_do_not() {
        let bytes = SumsBytes::from(&sums());
        assert_eq!(bytes.sums(), Some(sums()));
        let mut large = bytes.clone();
        large.0[5] = [0xff; 32];
        assert_eq!(large.sums(), None);
        let mut off_the_curve = bytes;
        off_the_curve.0[0] = fq_to_le_bytes(&Fq::ONE);
        assert!(off_the_curve.sums().is_some_and(|sums| !bool::from(sums.a.to_affine().is_on_curve())));
    }

    #[test]
    fn frames_are_read_as_they_were_written_until_the_end() {
        let request = Request { number: 7, wish: Wish::Prove { staged: 3 } };
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &request).unwrap();
        write_frame(&mut bytes, &request).unwrap();
        let mut input = &bytes[..];
        for _ in 0..2 {
            assert_eq!(read_frame::<Request>(&mut input).unwrap(), Some(request.clone()));
        }
        assert_eq!(read_frame::<Request>(&mut input).unwrap(), None);
        assert!(matches!(read_frame::<Request>(&mut &bytes[..3]), Err(FrameError::Io(_))));
        assert!(matches!(read_frame::<Request>(&mut &bytes[..6]), Err(FrameError::Io(_))));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let read = |bytes: &[u8]| read_frame::<Request>(&mut &bytes[..]).unwrap_err();
        assert!(matches!(read(&[0xff; 8]), FrameError::Length(_)));
        assert!(matches!(read(&[0; 4]), FrameError::Length(0)));
        assert!(matches!(read(&[2, 0, 0, 0, 9, 9]), FrameError::Version(9)));
        assert!(matches!(read(&[3, 0, 0, 0, VERSION, 1, 99]), FrameError::Malformed(_)));
        assert!(matches!(
            read(&[5, 0, 0, 0, VERSION, 1, 2, 0, 9]),
            FrameError::Malformed(_) | FrameError::Io(_)
        ));
        let long = Hello::Unavailable { reason: "x".repeat(MAX_FRAME) };
        assert!(matches!(write_frame(&mut Vec::new(), &long), Err(FrameError::Length(_))));
        assert_eq!(cut("ä".repeat(MAX_REASON)).len(), MAX_REASON);
    }
}
