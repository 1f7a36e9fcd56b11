//! Large arrays in huge pages, where the system gives them.
//!
//! What sums and transforms read is read in strides or at random: with small pages the processor would look up an address for
//! almost every element, and the system would be asked for each page of an array that lives for one proof.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

use crate::raw::{Limbs, from_bytes, from_bytes_mut};

/// A fixed number of values, zero at first.
pub struct Pages<T> {
    /// None for no values, since there are no empty maps.
    map: Option<MmapMut>,
    values: PhantomData<T>,
}

impl<T: Limbs> Pages<T> {
    /// `len` zeros.
    ///
    /// # Panics
    /// When the system has no memory, as with any allocation.
    pub fn zeroed(len: usize) -> Self {
        let map = (len > 0).then(|| {
            #[expect(clippy::expect_used, reason = "as with any allocation")]
            let map = MmapMut::map_anon(len * size_of::<T>()).expect("memory for a large array");
            // Advice that is not taken costs speed only.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            map
        });
        Self { map, values: PhantomData }
    }
}

impl<T: Limbs> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // A map begins at a page and has whole values, so that this is never None.
        self.map.as_deref().and_then(from_bytes).unwrap_or_default()
    }
}

impl<T: Limbs> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.map.as_deref_mut().and_then(from_bytes_mut).unwrap_or_default()
    }
}

impl<T: Limbs> Clone for Pages<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Limbs> std::fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pages({} values)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_zero_at_first_and_keep_what_is_written() {
        let mut pages = Pages::<u64>::zeroed(300_000);
        assert!(pages.iter().all(|value| *value == 0));
        pages[299_999] = 7;
        assert_eq!(pages.clone()[299_998..], [0, 7]);
        assert!(Pages::<u64>::zeroed(0).is_empty());
        assert_eq!(Pages::<i16>::zeroed(3).len(), 3);
    }
}
