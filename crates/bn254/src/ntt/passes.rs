//! Transforms of whole arrays as passes over tiles.
//!
//! A block of 2^k elements is a matrix of 2^c rows. Its first c layers pair rows, so that every sixteen columns are a tile of their
//! own; what is left are 2^c blocks that lie together. A pass reads and writes memory once, so two passes do most sizes (the
//! six-step method of Bailey, "FFTs in external or hierarchical memory", 1990, without transposition and without factors between
//! the steps, since a block's factors depend on its number). Tiles of a pass touch different elements; threads take them from
//! a counter.

use super::program::{self, Program, TileKernels};
use super::tile::{LEAST_LOG, Layers, ROW, Rows, Value};
use crate::Fr;
use crate::parallel::{Elements, for_each_dynamic};

/// Elements of a last block at most, as log2: 160 KiB while it is transformed.
const BLOCK_LOG: u32 = 12;
/// Rows of columns at most, as log2: a tile of 640 KiB while it is transformed.
const COLUMN_LOG: u32 = 10;

/// How the layers of 2^log elements are dealt out to passes.
struct Shape {
    log: u32,
    /// The passes over columns, from the outermost in.
    columns: Vec<Columns>,
}

/// A pass over columns.
#[derive(Clone, Copy)]
struct Columns {
    /// log2 of the number of blocks before it.
    blocks_log: u32,
    layers: u32,
}

impl Shape {
    fn new(log: u32) -> Self {
        // Small transforms need blocks enough for every thread.
        let block = (log / 2 + 2).clamp(LEAST_LOG, BLOCK_LOG).min(log);
        let left = log - block;
        let passes = left.div_ceil(COLUMN_LOG);
        let end = |pass| left * pass / passes;
        let columns = |pass| Columns { blocks_log: end(pass), layers: end(pass + 1) - end(pass) };
        Self { log, columns: (0..passes).map(columns).collect() }
    }

    /// log2 of the number of blocks after all passes over columns.
    fn blocks_log(&self) -> u32 {
        self.columns.iter().map(|columns| columns.layers).sum()
    }

    /// The tiles of a pass over columns.
    fn column_tiles(&self, Columns { blocks_log, layers }: Columns) -> Tiles {
        let stride = 1 << (self.log - blocks_log - layers);
        let block = 1 << (self.log - blocks_log);
        Tiles { blocks: 1 << blocks_log, block, columns: stride, stride, count: 1 << layers }
    }

    /// The last blocks.
    fn block_tiles(&self) -> Tiles {
        let block = 1 << (self.log - self.blocks_log());
        Tiles { blocks: 1 << self.blocks_log(), block, columns: ROW, stride: ROW, count: block / ROW }
    }
}

/// The tiles of a pass.
#[derive(Clone, Copy)]
struct Tiles {
    /// Blocks, and elements of each.
    blocks: usize,
    block: usize,
    /// Columns of a block.
    columns: usize,
    stride: usize,
    count: usize,
}

impl Tiles {
    fn len(&self) -> usize {
        self.blocks * (self.columns / ROW)
    }

    /// The number of the block that a tile belongs to, and its rows.
    fn get(&self, values: Elements, tile: usize) -> (usize, Rows) {
        let per_block = self.columns / ROW;
        let (block, column) = (tile / per_block, tile % per_block * ROW);
        let first = values.0.wrapping_add(block * self.block + column);
        (block, Rows { first, stride: self.stride, count: self.count })
    }
}

/// Sub-block `at` of as many as `blocks`.
fn part<'a>(whole: &Layers<'a>, blocks: usize, at: usize) -> Layers<'a> {
    Layers { table: whole.table, block: whole.block * blocks + at }
}

/// A pass in which every tile runs the program that `program` makes of its block's number.
///
/// # Safety
/// The processor has the instructions of `L`; the tables have the factors.
unsafe fn pass<'a, L: TileKernels>(
    values: Elements,
    tiles: Tiles,
    program: impl Fn(usize) -> Program<'a> + Sync,
) {
    for_each_dynamic(tiles.len(), Vec::new, |scratch, number| {
        let (block, rows) = tiles.get(values, number);
        // SAFETY: tiles do not overlap; the caller promises the rest.
        unsafe { program::run::<L>(&program(block), &rows, scratch) };
    });
}

/// Natural → bit-reversed order.
///
/// # Safety
/// As for [`pass`]; there are at least 2^7 values.
pub unsafe fn scatter<L: TileKernels>(values: &mut [Fr], whole: &Layers<'_>) {
    let shape = Shape::new(values.len().trailing_zeros());
    let values = Elements(values.as_mut_ptr());
    // SAFETY: the values are borrowed exclusively; the caller promises the rest.
    unsafe {
        for columns in shape.columns.iter().copied() {
            let blocks = 1 << columns.blocks_log;
            pass::<L>(values, shape.column_tiles(columns), |at| {
                Program::ScatterColumns(part(whole, blocks, at))
            });
        }
        let blocks = 1 << shape.blocks_log();
        pass::<L>(values, shape.block_tiles(), |at| Program::ScatterBlock(part(whole, blocks, at)));
    }
}

/// Bit-reversed → natural order.
///
/// # Safety
/// As for [`scatter`].
pub unsafe fn gather<L: TileKernels>(values: &mut [Fr], whole: &Layers<'_>) {
    let shape = Shape::new(values.len().trailing_zeros());
    let values = Elements(values.as_mut_ptr());
    // SAFETY: the values are borrowed exclusively; the caller promises the rest.
    unsafe {
        let blocks = 1 << shape.blocks_log();
        pass::<L>(values, shape.block_tiles(), |at| Program::GatherBlock(part(whole, blocks, at)));
        for columns in shape.columns.iter().rev().copied() {
            let blocks = 1 << columns.blocks_log;
            pass::<L>(values, shape.column_tiles(columns), |at| {
                Program::GatherColumns(part(whole, blocks, at))
            });
        }
    }
}

/// Gathers with the factors `before` and scatters with those `after` each of three arrays, and combines them into the first:
/// see [`program::combine`].
///
/// # Safety
/// As for [`scatter`]; all arrays have the same length.
pub unsafe fn quotient<L: TileKernels>(
    arrays: [&mut [Fr]; 3],
    before: &Layers<'_>,
    after: &Layers<'_>,
    scale: &Fr,
) {
    let shape = Shape::new(arrays[0].len().trailing_zeros());
    let arrays = arrays.map(|values| Elements(values.as_mut_ptr()));
    let blocks = 1 << shape.blocks_log();
    // SAFETY: the values are borrowed exclusively; the caller promises the rest.
    unsafe {
        for values in arrays {
            pass::<L>(values, shape.block_tiles(), |at| Program::GatherBlock(part(before, blocks, at)));
            for columns in shape.columns.iter().skip(1).rev().copied() {
                let blocks = 1 << columns.blocks_log;
                let program = |at| Program::GatherColumns(part(before, blocks, at));
                pass::<L>(values, shape.column_tiles(columns), program);
            }
            if let Some(outermost) = shape.columns.first().copied() {
                let program = |_| Program::TurnColumns(*before, *after);
                pass::<L>(values, shape.column_tiles(outermost), program);
            }
            for columns in shape.columns.iter().skip(1).copied() {
                let blocks = 1 << columns.blocks_log;
                let program = |at| Program::ScatterColumns(part(after, blocks, at));
                pass::<L>(values, shape.column_tiles(columns), program);
            }
        }
    }
    let tiles = shape.block_tiles();
    for_each_dynamic(tiles.len(), <[Vec<Value<L>>; 3]>::default, |scratch, number| {
        let rows = arrays.map(|values| tiles.get(values, number).1);
        // SAFETY: tiles do not overlap; the caller promises the rest.
        unsafe { program::combine::<L>(&part(after, blocks, number), &rows, scale, scratch) };
    });
}

#[cfg(test)]
mod tests;
