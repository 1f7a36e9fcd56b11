//! Memory of the card and launches.
//!
//! Blocks run one after the other, and the threads of a block one after the other from barrier to barrier; what
//! depends on that order is a race, which `memory` finds.

use std::fmt::Display;

use bn254::raw::{self, Limbs};
use bn254::{Field, Fr};

use super::fault::{Fault, Trouble};
use super::memory::{Region, Who};
use super::program::{Function, Module};
use super::thread::{GLOBAL_SHIFT, Stop, Thread, World};

/// What launches executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    pub instructions: u64,
    /// Of them multiplications and multiply-adds.
    pub multiplications: u64,
    /// Of them loads and stores, without those of parameters.
    pub accesses: u64,
}

#[derive(Default)]
pub struct Card {
    allocations: Vec<Region>,
    launches: u32,
    /// Threads that ended, whose memory serves the next ones.
    idle: Vec<Thread>,
}

/// A struct as a C++ compiler lays it out, member by member.
#[derive(Clone, Default)]
pub struct Arguments {
    bytes: Vec<u8>,
}

impl Arguments {
    fn member(mut self, value: &[u8]) -> Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(value.len()), 0);
        self.bytes.extend_from_slice(value);
        self
    }
    pub fn pointer(self, address: u64) -> Self {
        self.member(&address.to_le_bytes())
    }
    pub fn u32(self, value: u32) -> Self {
        self.member(&value.to_le_bytes())
    }
    /// The end of a struct of pointers inside of this one.
    pub fn end(mut self) -> Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self
    }
    pub fn bool(self, value: bool) -> Self {
        self.member(&[u8::from(value)])
    }
    /// A field element, which is aligned to 16 bytes.
    pub fn element<F: Limbs>(mut self, value: F) -> Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        self.bytes.extend_from_slice(raw::as_bytes(&[value]));
        self
    }
}

impl Card {
    fn add(&mut self, region: impl FnOnce(u64) -> Region) -> u64 {
        let base = (self.allocations.len() as u64 + 1) << GLOBAL_SHIFT;
        self.allocations.push(region(base));
        base
    }

    /// Memory with these values.
    pub fn upload<T: Limbs>(&mut self, values: &[T]) -> u64 {
        self.add(|base| Region::with(base, raw::as_bytes(values)))
    }

    /// Memory that nobody has written.
    pub fn room<T>(&mut self, count: usize) -> u64 {
        self.add(|base| Region::new(base, count * size_of::<T>()))
    }

    /// Copies values to the beginning of an allocation.
    pub fn write<T: Limbs>(&mut self, address: u64, values: &[T]) {
        self.allocations[(address >> GLOBAL_SHIFT) as usize - 1].fill(raw::as_bytes(values));
    }

    /// All values of an allocation, which must all have been written.
    pub fn download<T: Limbs>(&self, address: u64) -> Vec<T> {
        let region = &self.allocations[(address >> GLOBAL_SHIFT) as usize - 1];
        let bytes = region.bytes().unwrap_or_else(|at| panic!("nobody wrote {at:#x}"));
        // Field elements have the alignment that all types of limbs need.
        let mut aligned = vec![Fr::ZERO; bytes.len().div_ceil(size_of::<Fr>())];
        let place = &mut raw::as_bytes_mut(&mut aligned)[..bytes.len()];
        place.copy_from_slice(bytes);
        raw::from_bytes(place).unwrap().to_vec()
    }

    /// The kernels of `launch_items`: arguments and the number of items, in as many blocks as they take.
    pub fn launch_items(
        &mut self,
        module: &Module,
        name: &[&str],
        arguments: Arguments,
        items: u32,
    ) -> Executed {
        let kernel = module.entry(name);
        let blocks = items.div_ceil(kernel.threads);
        let items = Arguments::default().u32(items);
        shown(self.launch(module, kernel, &[arguments, items], blocks))
    }

    /// The kernels of `launch_blocks`.
    pub fn launch_blocks(
        &mut self,
        module: &Module,
        name: &[&str],
        arguments: Arguments,
        blocks: u32,
    ) -> Executed {
        shown(self.launch(module, module.entry(name), &[arguments], blocks))
    }

    pub fn launch(
        &mut self,
        module: &Module,
        kernel: &Function,
        arguments: &[Arguments],
        blocks: u32,
    ) -> Result<Executed, Fault> {
        assert!(kernel.params.len() == arguments.len(), "{} takes other arguments", kernel.name);
        let mut bytes = vec![0; kernel.param_bytes as usize];
        for (place, argument) in kernel.params.iter().zip(arguments) {
            let (begin, len) = (place.offset as usize, argument.bytes.len());
            // The size of a struct is a multiple of its alignment, which is at most 16.
            let size = place.bytes as usize;
            assert!(len <= size && size < len + 16, "{}: {len} bytes for {size}", kernel.name);
            bytes[begin..begin + len].copy_from_slice(&argument.bytes);
        }
        self.launches += 1;
        let mut executed = Executed::default();
        for block in 0..blocks {
            let who = Who { launch: self.launches, block, thread: 0, barriers: 0 };
            let mut world = World {
                functions: &module.functions,
                global: &mut self.allocations,
                shared: Region::new(0, kernel.shared_bytes as usize),
                who,
                threads: kernel.threads,
                blocks,
                executed: &mut executed,
            };
            run_block(&mut world, &mut self.idle, kernel, &bytes)?;
        }
        Ok(executed)
    }
}

fn run_block(
    world: &mut World,
    idle: &mut Vec<Thread>,
    kernel: &Function,
    arguments: &[u8],
) -> Result<(), Fault> {
    let functions = world.functions;
    let entry = functions.iter().position(|f| std::ptr::eq(f, kernel)).unwrap_or_default();
    let mut waiting: Vec<Thread> = Vec::new();
    let mut stop = None;
    for number in 0..world.threads {
        world.who.thread = number;
        let mut thread = idle.pop().unwrap_or_default();
        thread.start(functions, entry, arguments);
        let found = thread.run(world)?;
        together(&mut stop, found, world)?;
        if found == Stop::Ended {
            idle.push(thread);
        } else {
            waiting.push(thread);
        }
    }
    while stop != Some(Stop::Ended) {
        world.who.barriers += 1;
        stop = None;
        for (number, thread) in (0..).zip(&mut waiting) {
            world.who.thread = number;
            let found = thread.run(world)?;
            together(&mut stop, found, world)?;
        }
    }
    idle.append(&mut waiting);
    Ok(())
}

/// All threads of a block stop at the same place, or their barriers are not the same.
fn together(stop: &mut Option<Stop>, found: Stop, world: &World) -> Result<(), Fault> {
    let expected = *stop.get_or_insert(found);
    if expected == found {
        return Ok(());
    }
    let barrier = if found == Stop::Ended { expected } else { found };
    let (function, line) = match barrier {
        Stop::Barrier { function, at, .. } => (&world.functions[function], at - 1),
        Stop::Ended => (&world.functions[0], 0),
    };
    let (block, thread) = (world.who.block, world.who.thread);
    let (line, function) = (function.lines[line], function.name.clone());
    Err(Fault { trouble: Trouble::Barrier, block, thread, line, function })
}

fn shown<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
