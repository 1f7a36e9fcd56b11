//! The sums of the buckets of one place.
//!
//! A share of the buckets is taken part by part. A part's entries are sorted by bucket, so that each bucket is a list of
//! points, and long lists are cut into pieces. All pieces then grow by one point a round, one in each lane, in one batch: no two
//! additions of a batch touch the same sum. What the pieces of a cut list add up to is summed in the same way.
//!
//! Source: Bernstein, Doumen, Lange, Oosterwijk, "Faster batch forgery identification", INDOCRYPT 2012, section 4 (buckets);
//! the lane-parallel lists are ours.

mod weighted;

use group::Group;
use halo2curves::CurveAffine;

use crate::raw::Limbs;
use crate::simd::SimdCurve;
use crate::simd::affine::{Points, Scratch, vectors};
use crate::simd::kernels::{Kernels, Round};

use super::bases::{Bases, Columns};
use super::digits::{BLOCK, Digits};
use super::plan::{PART, Share};

/// Lists that grow together.
const BATCH: usize = 1 << 12;
/// Lists are cut at this many times the mean length, and not below [`SHORTEST_CUT`].
const CUT: usize = 3;
const SHORTEST_CUT: usize = 8;
/// So few buckets, as the highest place has, would leave most lanes empty: their lists are cut into about so many pieces.
const FEW_BUCKETS: usize = 128;
const MANY_LANES: usize = 1 << 10;

/// What a part adds up to, its buckets counted from one.
#[derive(Clone, Copy, Debug)]
pub struct PartSum<P> {
    /// Σ (b + 1)·Bᵦ.
    pub weighted: P,
    /// Σ Bᵦ.
    pub plain: P,
}

/// An entry in the low half, and above it its bucket, counted from the first of its part.
type Dealt = u64;

/// Where the next entry of a bucket goes.
#[derive(Clone, Copy, Debug)]
struct Fill {
    /// The round that it is added in, or for a list that is cut its place in `entries`.
    next: u32,
    /// The lane, or [`IN_PIECES`].
    lane: u32,
}

/// Instead of the lane of a list that is cut.
const IN_PIECES: u32 = u32::MAX;

/// A list of entries and the row that its sum goes to.
#[derive(Clone, Copy, Debug)]
struct List {
    start: u32,
    len: u32,
    to: u32,
}

/// The entries that are added at once: where they begin, and how many they are.
#[derive(Clone, Copy, Debug)]
struct Taken {
    first: usize,
    growing: usize,
}

/// Memory of a thread that sums parts.
pub struct Worker<F> {
    points: Vec<Points<F>>,
    previous: Vec<Points<F>>,
    scratch: Scratch<F>,
    /// Entries by part, and last those of no part.
    dealt: Vec<Vec<Dealt>>,
    entries: Vec<u32>,
    fill: Vec<Fill>,
    lists: Vec<List>,
    by_length: Vec<List>,
    /// Entries in the order in which they are added.
    rounds: Vec<u32>,
    taken: Vec<Taken>,
    targets: Vec<u32>,
    /// Sums of buckets.
    rows: Vec<u64>,
    /// Sums of the pieces of cut lists.
    pieces: Vec<u64>,
}

impl<F: Kernels> Worker<F> {
    const ROW: usize = 2 * F::WORDS;

    /// # Safety
    /// The processor has the instructions of `F`.
    pub unsafe fn new() -> Self {
        Self {
            points: Vec::new(),
            previous: Vec::new(),
            scratch: Scratch::default(),
            dealt: vec![Vec::new()],
            entries: Vec::new(),
            fill: Vec::new(),
            lists: Vec::new(),
            by_length: Vec::new(),
            rounds: Vec::new(),
            taken: Vec::new(),
            targets: Vec::new(),
            rows: Vec::new(),
            pieces: Vec::new(),
        }
    }

    /// The sums of the parts of a share, from the lowest buckets up.
    pub fn sum<C: SimdCurve>(
        &mut self,
        bases: &Bases<C>,
        digits: &Digits,
        share: Share,
    ) -> Vec<PartSum<C::CurveExt>> {
        self.deal(bases.columns(), bases.len(), digits, share);
        let table = bases.rows();
        let parts = share.buckets.div_ceil(PART);
        (0..parts)
            .map(|part| self.sum_part::<C>(table, part, PART.min(share.buckets - part * PART)))
            .collect()
    }

    fn sum_part<C>(&mut self, table: &[u64], part: usize, buckets: usize) -> PartSum<C::CurveExt>
    where
        C: CurveAffine + Limbs,
    {
        let taken = self.sort(part, buckets);
        if taken == 0 {
            return PartSum { weighted: C::CurveExt::identity(), plain: C::CurveExt::identity() };
        }
        // Segments need a power of two; buckets that do not exist are empty.
        let padded = buckets.next_power_of_two();
        let mut rows = std::mem::take(&mut self.rows);
        rows.clear();
        rows.resize(padded * Self::ROW, 0);
        let mut infinite = taken < padded;
        infinite |= self.sum_rounds(table, &mut rows, false);
        self.rows = rows;
        infinite |= self.sum_cut_lists(table);
        let rows = std::mem::take(&mut self.rows);
        let sum = self.weighted_sum::<C>(&rows, infinite);
        self.rows = rows;
        sum
    }

    /// Deals the share's entries out to its parts.
    fn deal(&mut self, columns: &Columns, rows: usize, digits: &Digits, share: Share) {
        // One more for the entries that no part wants.
        let parts = share.buckets.div_ceil(PART);
        self.dealt.resize_with(parts.max(self.dealt.len() - 1) + 1, Vec::new);
        self.dealt.iter_mut().for_each(Vec::clear);
        let first = share.first as u32 + 1;
        for block in share.blocks.0..share.blocks.1 {
            for part in &mut self.dealt {
                part.reserve(BLOCK);
            }
            self.dealt[parts].clear();
            let mut push = |row: usize, digit: i16| {
                let bucket = u32::from(digit.unsigned_abs()).wrapping_sub(first);
                let entry = row as u32 | u32::from(digit.cast_unsigned() >> 15) << 31;
                let part = &mut self.dealt[(bucket as usize / PART).min(parts)];
                let len = part.len();
                // SAFETY: there is room for a block, of which each row is pushed once.
                unsafe {
                    part.as_mut_ptr()
                        .add(len)
                        .write(u64::from(bucket % PART as u32) << 32 | u64::from(entry));
                    part.set_len(len + 1);
                }
            };
            let (mut row, end) = (block * BLOCK, rows.min((block + 1) * BLOCK));
            match columns {
                Columns::From(offset) => {
                    while row < end {
                        let run = digits.run(offset + row, share.place);
                        let len = run.len().min(end - row);
                        run[..len].iter().enumerate().for_each(|(at, digit)| push(row + at, *digit));
                        row += len;
                    }
                }
                Columns::List(list) => {
                    for (at, column) in list[row..end].iter().enumerate() {
                        push(row + at, digits.digit(*column as usize, share.place));
                    }
                }
            }
        }
    }

    /// Puts the entries of a part in the order in which they are added, those of the longest lists in the first lanes, and those
    /// of lists that are too long into `self.entries`, as `self.lists` says; how many buckets have entries.
    fn sort(&mut self, part: usize, buckets: usize) -> usize {
        const { assert!(PART <= BATCH, "one batch for a part") };
        let dealt = std::mem::take(&mut self.dealt[part]);
        self.fill.clear();
        self.fill.resize(buckets, Fill { next: 0, lane: 0 });
        for dealt in &dealt {
            self.fill[(dealt >> 32) as usize].next += 1;
        }
        let cut = longest_whole(dealt.len(), buckets) as u32;
        let mut by_length = vec![0_u32; cut as usize + 1];
        self.lists.clear();
        let mut start = 0;
        for (bucket, fill) in self.fill.iter_mut().enumerate() {
            let len = fill.next;
            if len <= cut {
                by_length[len as usize] += 1;
                continue;
            }
            self.lists.push(List { start, len, to: bucket as u32 });
            *fill = Fill { next: start, lane: IN_PIECES };
            start += len;
        }
        self.entries.clear();
        self.entries.resize(start as usize, 0);

        let empty = by_length[0] as usize;
        self.take_lanes(by_length);
        for dealt in &dealt {
            let fill = &mut self.fill[(dealt >> 32) as usize];
            let (next, entry) = (fill.next as usize, *dealt as u32);
            fill.next += 1;
            if fill.lane == IN_PIECES {
                self.entries[next] = entry;
            } else {
                self.rounds[self.taken[next].first + fill.lane as usize] = entry;
            }
        }
        self.dealt[part] = dealt;
        buckets - empty
    }

    /// Gives each list that is not cut a lane, the longest first, and makes room for all rounds. So many lists have each length.
    fn take_lanes(&mut self, by_length: Vec<u32>) {
        // Lists with an entry for round r are those longer than r; they have the lanes before all others.
        let mut longer = by_length[1..].to_vec();
        for round in (1..longer.len()).rev() {
            longer[round - 1] += longer[round];
        }
        self.begin_rounds(&longer);
        self.targets.clear();
        self.targets.resize(longer[0] as usize, 0);
        // The next free lane of each length: after those of all longer lists.
        let mut free: Vec<u32> =
            longer.iter().zip(&by_length[1..]).map(|(longer, own)| longer - own).collect();
        for (bucket, fill) in self.fill.iter_mut().enumerate() {
            let Fill { next: len, lane } = *fill;
            if lane == IN_PIECES || len == 0 {
                continue;
            }
            let lane = &mut free[len as usize - 1];
            self.targets[*lane as usize] = bucket as u32;
            *fill = Fill { next: 0, lane: *lane };
            *lane += 1;
        }
    }

    /// Makes room for rounds of so many entries, each filled up to whole vectors.
    fn begin_rounds(&mut self, growing: &[u32]) {
        self.taken.clear();
        let mut first = 0;
        for growing in growing.iter().map(|growing| *growing as usize).take_while(|growing| *growing > 0) {
            self.taken.push(Taken { first, growing });
            first += 8 * vectors(growing);
        }
        // Places that no list fills name the first row: any will do.
        self.rounds.clear();
        self.rounds.resize(first, 0);
    }

    /// Adds up the lists that were cut and writes each sum to its row; whether one may be infinity.
    fn sum_cut_lists(&mut self, table: &[u64]) -> bool {
        if self.lists.is_empty() {
            return false;
        }
        let mut infinite = self.sum_pieces(table, false);
        while !self.lists.is_empty() {
            let table = std::mem::take(&mut self.pieces);
            infinite |= self.sum_pieces(&table, infinite);
        }
        infinite
    }

    /// Adds up every list that is short enough. Others are cut into pieces, whose sums become rows of `self.pieces`, and
    /// `self.lists` and `self.entries` afterwards are lists of these.
    fn sum_pieces(&mut self, table: &[u64], table_has_infinity: bool) -> bool {
        let cut = longest_whole(self.entries.len(), self.fill.len()) as u32;
        let mut again: Vec<List> = Vec::new();
        let mut pieces: Vec<List> = Vec::new();
        let mut whole = std::mem::take(&mut self.lists);
        let mut piece_rows = 0;
        whole.retain(|list| {
            if list.len <= cut {
                return true;
            }
            let count = list.len.div_ceil(cut);
            for piece in 0..count {
                let start = list.start + piece * cut;
                let len = cut.min(list.start + list.len - start);
                pieces.push(List { start, len, to: piece_rows + piece });
            }
            again.push(List { start: piece_rows, len: count, to: list.to });
            piece_rows += count;
            false
        });
        self.pieces.clear();
        self.pieces.resize(piece_rows as usize * Self::ROW, 0);
        let mut rows = std::mem::take(&mut self.rows);
        let mut infinite = self.sum_short(table, &whole, &mut rows, table_has_infinity);
        self.rows = rows;
        let mut rows = std::mem::take(&mut self.pieces);
        infinite |= self.sum_short(table, &pieces, &mut rows, table_has_infinity);
        self.pieces = rows;
        self.lists = again;
        self.entries.clear();
        self.entries.extend(0..piece_rows);
        infinite
    }

    /// Adds up lists, longest first, [`BATCH`] at a time.
    fn sum_short(
        &mut self,
        table: &[u64],
        lists: &[List],
        rows: &mut [u64],
        table_has_infinity: bool,
    ) -> bool {
        self.order_by_length(lists);
        let by_length = std::mem::take(&mut self.by_length);
        let mut infinite = false;
        for lists in by_length.chunks(BATCH) {
            self.targets.clear();
            self.targets.extend(lists.iter().map(|list| list.to));
            self.deal_rounds(lists);
            infinite |= self.sum_rounds(table, rows, table_has_infinity);
        }
        self.by_length = by_length;
        infinite | table_has_infinity
    }

    /// Adds up `self.rounds` and writes the sums to `self.targets`; whether one may be infinity.
    fn sum_rounds(&mut self, table: &[u64], rows: &mut [u64], table_has_infinity: bool) -> bool {
        let (mut infinite, mut has_infinity) = (table_has_infinity, table_has_infinity);
        for (round, Taken { first, growing }) in self.taken.iter().copied().enumerate() {
            let source = Round::new(table, &self.rounds[first..first + 8 * vectors(growing)]);
            // SAFETY: whoever made this worker promised the instructions; entries name rows of the table, here and below.
            unsafe {
                if round == 0 {
                    F::load(&mut self.points, growing, &source);
                    continue;
                }
                let fine = !has_infinity && F::add(&mut self.points, growing, &source, &mut self.scratch);
                if !fine {
                    has_infinity = F::add_complete(&mut self.points, growing, &source, &mut self.scratch);
                    infinite |= has_infinity;
                    has_infinity |= table_has_infinity;
                }
            }
        }
        // SAFETY: as above; every target is a row.
        unsafe { F::store(&self.points, self.targets.len(), rows, &self.targets) };
        infinite
    }

    /// Puts the entries of lists, longest first, in the order in which they are added: of every list the first, then of every
    /// one that has it the second, and so on.
    fn deal_rounds(&mut self, lists: &[List]) {
        let mut growing = lists.len();
        let longer = (0..lists[0].len).map(|round| {
            while lists[growing - 1].len <= round {
                growing -= 1;
            }
            growing as u32
        });
        let longer: Vec<u32> = longer.collect();
        self.begin_rounds(&longer);
        for (lane, list) in lists.iter().enumerate() {
            let (start, len) = (list.start as usize, list.len as usize);
            for (entry, taken) in self.entries[start..start + len].iter().zip(&self.taken) {
                self.rounds[taken.first + lane] = *entry;
            }
        }
    }

    fn order_by_length(&mut self, lists: &[List]) {
        let longest = lists.iter().map(|list| list.len).max().unwrap_or(0) as usize;
        let mut places = vec![0_u32; longest + 2];
        for list in lists {
            places[longest - list.len as usize + 1] += 1;
        }
        for length in 0..=longest {
            places[length + 1] += places[length];
        }
        self.by_length.clear();
        self.by_length.resize(lists.len(), List { start: 0, len: 0, to: 0 });
        for list in lists {
            let place = &mut places[longest - list.len as usize];
            self.by_length[*place as usize] = *list;
            *place += 1;
        }
    }
}

/// The most entries of a list that is not cut.
fn longest_whole(entries: usize, buckets: usize) -> usize {
    let longest = if buckets < FEW_BUCKETS { entries / MANY_LANES } else { CUT * entries / (buckets + 1) };
    longest.max(SHORTEST_CUT)
}
