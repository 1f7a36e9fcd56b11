//! Points laid out once for many sums.
//!
//! A point is a row of packed words (x, then y), 64 bytes in G1 and 128 in G2, in the Montgomery form of the kernels that will
//! read it. Rows are read in random order, so they lie in huge pages where the system gives them.

use memmap2::MmapMut;
use rayon::prelude::*;

use crate::raw::{as_bytes, as_bytes_mut};

use super::engine::{Engine, MsmCurve};

/// Rows that one task converts.
const CHUNK: usize = 1 << 12;

/// Zeroed words in huge pages, where the system gives them.
pub struct Words {
    map: Option<MmapMut>,
    len: usize,
}

impl Words {
    /// `len` zeros.
    ///
    /// # Panics
    /// When the system has no memory, as with any allocation.
    pub fn zeroed(len: usize) -> Self {
        let map = (len > 0).then(|| {
            #[expect(clippy::expect_used, reason = "as with any allocation")]
            let map = MmapMut::map_anon(len * 8).expect("memory for points");
            // Advice that is not taken costs speed only.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            map
        });
        Self { map, len }
    }

    /// The words.
    pub fn as_slice(&self) -> &[u64] {
        // SAFETY: the map has `len` words, begins at a page and holds plain bytes.
        self.map
            .as_ref()
            .map_or(&[], |map| unsafe { std::slice::from_raw_parts(map.as_ptr().cast(), self.len) })
    }

    /// The words, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [u64] {
        let len = self.len;
        // SAFETY: as above, and the borrow is exclusive.
        self.map
            .as_mut()
            .map_or(&mut [], |map| unsafe { std::slice::from_raw_parts_mut(map.as_mut_ptr().cast(), len) })
    }
}

/// Points of one curve, ready for [`super::Msm`].
pub struct Bases<C> {
    rows: Words,
    count: usize,
    infinities: Vec<u32>,
    engine: Engine,
    curve: std::marker::PhantomData<C>,
}

impl<C: MsmCurve> Bases<C> {
    /// Copies and converts the points: a few nanoseconds each.
    ///
    /// # Panics
    /// From 2^31 points on.
    pub fn new(points: &[C]) -> Self {
        Self::with_engine(points, Engine::best())
    }

    /// For other kernels than the best of this processor.
    ///
    /// # Panics
    /// From 2^31 points on, and when the processor lacks the instructions.
    pub fn with_engine(points: &[C], engine: Engine) -> Self {
        assert!(points.len() < 1 << 31, "at most 2^31 points");
        engine.check();
        let mut rows = Words::zeroed(points.len() * C::ROW);
        rows.as_mut_slice().par_chunks_mut(CHUNK * C::ROW).zip(points.par_chunks(CHUNK)).for_each(
            |(rows, points)| {
                as_bytes_mut(rows).copy_from_slice(as_bytes(points));
                C::import_rows(engine, rows);
            },
        );
        let infinities = points
            .par_iter()
            .enumerate()
            .filter(|(_, point)| bool::from(point.is_identity()))
            .map(|(place, _)| place as u32)
            .collect();
        Self { rows, count: points.len(), infinities, engine, curve: std::marker::PhantomData }
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.count * C::ROW * 8
    }

    pub(super) fn rows(&self) -> &[u64] {
        self.rows.as_slice()
    }

    pub(super) fn infinities(&self) -> &[u32] {
        &self.infinities
    }

    pub(super) fn engine(&self) -> Engine {
        self.engine
    }
}
