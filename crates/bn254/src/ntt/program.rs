//! What is done to a tile, step by step, each step compiled for the instructions that it uses.

use super::tile::{self, Layers, Rows, Value};
use crate::Fr;
use crate::isa::for_each_vector_isa;
use crate::simd::lanes::Lanes;

/// What is done to a tile, on the way from memory and back.
///
/// # Safety
/// Of everything that runs one: see [`Rows`].
#[derive(Clone, Copy)]
pub enum Program<'a> {
    /// Layers of a scatter that pair rows, for columns of a block.
    ScatterColumns(Layers<'a>),
    /// All layers of a scatter, for a block.
    ScatterBlock(Layers<'a>),
    /// Layers of a gather that pair rows, for columns of a block.
    GatherColumns(Layers<'a>),
    /// All layers of a gather, for a block.
    GatherBlock(Layers<'a>),
    /// First a gather, then a scatter.
    TurnColumns(Layers<'a>, Layers<'a>),
}

/// The steps of programs, each a function of its own that is compiled with the instructions of this implementation.
///
/// # Safety
/// Of every method: see [`Rows`].
pub trait TileKernels: Lanes {
    /// Reads rows.
    unsafe fn read_rows(tile: &mut Vec<Value<Self>>, rows: &Rows);
    /// Writes rows.
    unsafe fn write_rows(tile: &[Value<Self>], rows: &Rows);
    /// Reads leaves.
    unsafe fn read_leaves(tile: &mut Vec<Value<Self>>, rows: &Rows);
    /// Writes leaves.
    unsafe fn write_leaves(tile: &[Value<Self>], rows: &Rows);
    /// The layers of a scatter that pair rows.
    unsafe fn scatter_rows(tile: &mut [Value<Self>], layers: &Layers<'_>);
    /// The layers of a gather that pair rows.
    unsafe fn gather_rows(tile: &mut [Value<Self>], layers: &Layers<'_>);
    /// The last four layers of a scatter, rows first: leaves afterwards.
    unsafe fn scatter_leaves(tile: &mut [Value<Self>], layers: &Layers<'_>);
    /// The first four layers of a gather, leaves first: rows afterwards.
    unsafe fn gather_leaves(tile: &mut [Value<Self>], layers: &Layers<'_>);
    /// See [`tile::subtract_product`].
    unsafe fn subtract_product(a: &mut [Value<Self>], b: &[Value<Self>], c: &[Value<Self>], scale: &Fr);
}

macro_rules! tile_kernels {
    ($(#[$feature:meta])? $lanes:ty) => {
        tile_kernels! {
            $(#[$feature])? $lanes:
            read_rows(tile: &mut Vec<Value<Self>>, rows: &Rows);
            write_rows(tile: &[Value<Self>], rows: &Rows);
            read_leaves(tile: &mut Vec<Value<Self>>, rows: &Rows);
            write_leaves(tile: &[Value<Self>], rows: &Rows);
            scatter_rows(tile: &mut [Value<Self>], layers: &Layers<'_>);
            gather_rows(tile: &mut [Value<Self>], layers: &Layers<'_>);
            scatter_leaves(tile: &mut [Value<Self>], layers: &Layers<'_>);
            gather_leaves(tile: &mut [Value<Self>], layers: &Layers<'_>);
            subtract_product(a: &mut [Value<Self>], b: &[Value<Self>], c: &[Value<Self>], scale: &Fr);
        }
    };
    (#[$feature:meta] $lanes:ty: $($name:ident($($argument:ident: $kind:ty),*);)*) => {
        impl TileKernels for $lanes {
            $(
                #[$feature]
                unsafe fn $name($($argument: $kind),*) {
                    // SAFETY: the caller promises what the function asks for.
                    unsafe { tile::$name($($argument),*) }
                }
            )*
        }
    };
    ($lanes:ty: $($name:ident($($argument:ident: $kind:ty),*);)*) => {
        impl TileKernels for $lanes {
            $(
                unsafe fn $name($($argument: $kind),*) {
                    // SAFETY: the caller promises what the function asks for.
                    unsafe { tile::$name($($argument),*) }
                }
            )*
        }
    };
}

for_each_vector_isa!(tile_kernels);
#[cfg(any(test, feature = "emulation"))]
tile_kernels!(crate::simd::lanes::Emulated);

/// Runs a program on the rows.
///
/// # Safety
/// See [`Rows`].
pub unsafe fn run<L: TileKernels>(program: &Program<'_>, rows: &Rows, tile: &mut Vec<Value<L>>) {
    // SAFETY: the caller promises what the functions ask for.
    unsafe {
        match program {
            Program::ScatterColumns(layers) => {
                L::read_rows(tile, rows);
                L::scatter_rows(tile, layers);
                L::write_rows(tile, rows);
            }
            Program::ScatterBlock(layers) => {
                L::read_rows(tile, rows);
                L::scatter_rows(tile, layers);
                L::scatter_leaves(tile, layers);
                L::write_leaves(tile, rows);
            }
            Program::GatherColumns(layers) => {
                L::read_rows(tile, rows);
                L::gather_rows(tile, layers);
                L::write_rows(tile, rows);
            }
            Program::GatherBlock(layers) => {
                L::read_leaves(tile, rows);
                L::gather_leaves(tile, layers);
                L::gather_rows(tile, layers);
                L::write_rows(tile, rows);
            }
            Program::TurnColumns(before, after) => {
                L::read_rows(tile, rows);
                L::gather_rows(tile, before);
                L::scatter_rows(tile, after);
                L::write_rows(tile, rows);
            }
        }
    }
}

/// Scatters three blocks and writes the product of the first two less the third times `scale` over the first: see
/// [`tile::subtract_product`].
///
/// # Safety
/// See [`Rows`].
pub unsafe fn combine<L: TileKernels>(
    layers: &Layers<'_>,
    rows: &[Rows; 3],
    scale: &Fr,
    tiles: &mut [Vec<Value<L>>; 3],
) {
    // SAFETY: the caller promises what the functions ask for.
    unsafe {
        for (tile, rows) in tiles.iter_mut().zip(rows) {
            L::read_rows(tile, rows);
            L::scatter_rows(tile, layers);
            L::scatter_leaves(tile, layers);
        }
        let [a, b, c] = tiles;
        L::subtract_product(a, b, c, scale);
        L::write_leaves(a, &rows[0]);
    }
}
