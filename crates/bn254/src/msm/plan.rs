//! How wide the digits are and how the work is cut, by a cost model.

/// Bits of the magnitudes of scalars, which have a sign of their own.
pub const BITS: u32 = 253;
/// The widest digits, which fit 16 bits with their sign.
pub const WIDEST: u32 = 16;
/// Buckets of a part at most: their sums and the batch stay in a second-level cache.
pub const PART: usize = 1 << 12;
/// (r − 1)/2 is below 6195.2 · 2^240: its highest 16 bits, rounded up.
const HIGHEST_BITS: u64 = 0x1833;
/// What a bucket costs in its weighted sum, in additions to a bucket.
const BUCKET: f64 = 3.0;
/// What a part costs before its first addition.
const PART_OVERHEAD: f64 = 1500.0;
/// What recoding and sorting a digit costs, zero or not.
const DIGIT: f64 = 0.2;
/// Shares that each thread should find, so that none waits long for the last.
const SHARES_PER_THREAD: usize = 8;
/// The last places are cut into so many times as many shares.
const LAST_PIECES: usize = 4;
/// Fewer blocks of scalars are not worth a share.
const LEAST_BLOCKS: usize = 2;

/// Digits of width `width` that a scalar has.
pub fn places(width: u32) -> usize {
    // One bit more than the magnitude, so that the highest digit takes the carry.
    (BITS + 1).div_ceil(width) as usize
}

/// Which entries a thread takes at once.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Place of the digits.
    pub place: usize,
    /// First bucket, counted from 0: bucket b holds the points with digit ±(b + 1).
    pub first: usize,
    /// Number of buckets.
    pub buckets: usize,
    /// First block of scalars, and one past the last.
    pub blocks: (usize, usize),
}

/// The shape of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Bits of a digit.
    pub width: u32,
    /// Threads that take shares.
    pub threads: usize,
}

impl Plan {
    /// The cheapest for so many scalars of full size.
    pub fn new(count: usize, threads: usize) -> Self {
        let mut best = (f64::INFINITY, 4);
        for width in 4..=WIDEST {
            let plan = Self { width, threads };
            let buckets = (0..plan.places()).map(|place| plan.buckets(place));
            let parts: usize = buckets.clone().map(|buckets| buckets.div_ceil(PART)).sum();
            let buckets: usize = buckets.sum();
            let cost = (plan.places() * count) as f64 * (1.0 + DIGIT)
                + buckets as f64 * BUCKET
                + parts as f64 * PART_OVERHEAD;
            if cost < best.0 {
                best = (cost, width);
            }
        }
        Self { width: best.1, threads }
    }

    /// Digits of a scalar.
    pub fn places(&self) -> usize {
        places(self.width)
    }

    /// Buckets of a place: the highest has fewer.
    pub fn buckets(&self, place: usize) -> usize {
        let most = self.most_buckets();
        if place + 1 < self.places() {
            return most;
        }
        // The bits of (r - 1)/2 above this place, and one for the carry.
        let below = place as u32 * self.width;
        let highest =
            if below >= 240 { HIGHEST_BITS >> (below - 240) } else { HIGHEST_BITS << (240 - below) };
        (highest as usize + 1).min(most)
    }

    /// Buckets of every other place.
    pub fn most_buckets(&self) -> usize {
        1 << (self.width - 1)
    }

    /// The shares of a sum over so many blocks of scalars: of the parts of each place at once as many as leave every thread
    /// enough shares, since the digits are dealt out once for each.
    pub fn shares(&self, blocks: usize) -> Vec<Share> {
        let wanted = SHARES_PER_THREAD * self.threads;
        let parts: usize = (0..self.places()).map(|place| self.buckets(place).div_ceil(PART)).sum();
        let slices = wanted.div_ceil(parts).clamp(1, blocks.div_ceil(LEAST_BLOCKS).max(1));
        let mut shares = Vec::with_capacity(parts * slices);
        // The first place is the heaviest where scalars are short, so it comes first; what is taken last is smallest.
        for place in 0..self.places() {
            let buckets = self.buckets(place);
            let last = place + self.threads >= self.places();
            let pieces = wanted.div_ceil(self.places()) * if last { LAST_PIECES } else { 1 };
            let together = buckets.div_ceil(PART).div_ceil(pieces) * PART;
            for first in (0..buckets).step_by(together) {
                for slice in 0..slices {
                    let blocks = (blocks * slice / slices, blocks * (slice + 1) / slices);
                    shares.push(Share { place, first, buckets: together.min(buckets - first), blocks });
                }
            }
        }
        shares
    }
}

#[cfg(test)]
mod tests;
