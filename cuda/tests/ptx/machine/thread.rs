//! One thread of a kernel, run until it ends or waits at a barrier.
//!
//! Invariant: a register that nothing was assigned to holds `UNSET`, parameters `UNSET` bytes: a program that
//! depends on them gives results that differ from the processor's. The carry flag has a value only between the
//! instructions of one function (section 9.7.2).

use super::alu;
use super::card::Executed;
use super::fault::{Fault, Trouble};
use super::memory::{Region, Who};
use super::program::{Access, Binary, Function, Op, Space, Special};

/// Generic addresses from here are of the shared memory of a block, and of the local memory of a thread.
pub const SHARED_WINDOW: u64 = 1 << 62;
pub const LOCAL_WINDOW: u64 = 1 << 63;
/// Local memory of frame i begins at (i + 1) << this.
const LOCAL_SHIFT: u32 = 24;
/// Global memory of allocation i begins at (i + 1) << this.
pub const GLOBAL_SHIFT: u32 = 40;
const UNSET: u64 = 0xdead_beef_5555_aaaa;
/// Instructions of a thread.
const LIMIT: u64 = 1 << 28;

/// What a thread sees of the card.
pub struct World<'a> {
    pub functions: &'a [Function],
    pub global: &'a mut [Region],
    pub shared: Region,
    pub who: Who,
    pub threads: u32,
    pub blocks: u32,
    pub executed: &'a mut Executed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Ended,
    /// At a barrier: the instruction and how many calls lie around it.
    Barrier {
        function: usize,
        at: usize,
        depth: usize,
    },
}

struct Frame {
    function: usize,
    at: usize,
    registers: usize,
    params: usize,
    local: Region,
}

#[derive(Default)]
pub struct Thread {
    frames: Vec<Frame>,
    registers: Vec<u64>,
    params: Vec<u8>,
    carry: Option<bool>,
    executed: u64,
}

impl Thread {
    /// Begins a kernel, with the memory that this thread has from an earlier one.
    pub fn start(&mut self, functions: &[Function], entry: usize, arguments: &[u8]) {
        self.frames.clear();
        self.registers.clear();
        self.params.clear();
        (self.carry, self.executed) = (None, 0);
        self.enter(functions, entry);
        self.params[..arguments.len()].copy_from_slice(arguments);
    }

    fn enter(&mut self, functions: &[Function], index: usize) {
        let function = &functions[index];
        let (registers, params) = (self.registers.len(), self.params.len());
        self.registers.resize(registers + function.registers as usize, UNSET);
        self.params.resize(params + function.param_bytes as usize, UNSET as u8);
        for (register, value) in &function.constants {
            self.registers[registers + *register as usize] = *value;
        }
        let base = (self.frames.len() as u64 + 1) << LOCAL_SHIFT;
        let local = Region::new(base, function.local_bytes as usize);
        self.frames.push(Frame { function: index, at: 0, registers, params, local });
    }

    pub fn run(&mut self, world: &mut World) -> Result<Stop, Fault> {
        self.steps(world).map_err(|trouble| {
            let (function, line) = self.frames.last().map_or((0, 0), |frame| {
                let lines = &world.functions[frame.function].lines;
                (frame.function, lines[frame.at.min(lines.len()) - 1])
            });
            let (block, thread) = (world.who.block, world.who.thread);
            Fault { trouble, block, thread, line, function: world.functions[function].name.clone() }
        })
    }

    fn steps(&mut self, world: &mut World) -> Result<Stop, Trouble> {
        let functions = world.functions;
        loop {
            let Some(frame) = self.frames.last_mut() else {
                return Ok(Stop::Ended);
            };
            let op = functions[frame.function].code[frame.at];
            frame.at += 1;
            world.executed.instructions += 1;
            self.executed += 1;
            if self.executed > LIMIT {
                return Err(Trouble::Endless);
            }
            match op {
                Op::Branch { to } => frame.at = to as usize,
                Op::BranchIf { p, when, to } => {
                    if (self.registers[frame.registers + p as usize] != 0) == when {
                        frame.at = to as usize;
                    }
                }
                Op::Barrier => {
                    let (function, at) = (frame.function, frame.at);
                    return Ok(Stop::Barrier { function, at, depth: self.frames.len() });
                }
                Op::Call { call } => self.call(functions, call as usize),
                Op::Return => self.leave(functions),
                Op::Load { access, address, offset } => {
                    world.executed.accesses += 1;
                    let address =
                        self.registers[frame.registers + address as usize].wrapping_add_signed(offset.into());
                    self.load(world, access, address)?;
                }
                Op::Store { access, address, offset } => {
                    world.executed.accesses += 1;
                    let address =
                        self.registers[frame.registers + address as usize].wrapping_add_signed(offset.into());
                    self.store(world, access, address)?;
                }
                Op::LoadParam { access, offset } => {
                    let from = frame.params + offset as usize;
                    for i in 0..usize::from(access.count) {
                        let size = usize::from(access.kind.bits) / 8;
                        let raw = from_bytes(&self.params[from + i * size..from + (i + 1) * size]);
                        self.registers[frame.registers + access.registers[i] as usize] = widened(access, raw);
                    }
                }
                Op::StoreParam { access, offset } => {
                    let to = frame.params + offset as usize;
                    for i in 0..usize::from(access.count) {
                        let size = usize::from(access.kind.bits) / 8;
                        let value =
                            self.registers[frame.registers + access.registers[i] as usize].to_le_bytes();
                        self.params[to + i * size..to + (i + 1) * size].copy_from_slice(&value[..size]);
                    }
                }
                Op::LocalAddress { d, offset } => {
                    let address = (self.frames.len() as u64) << LOCAL_SHIFT;
                    self.set(d, address + u64::from(offset));
                }
                Op::Special { d, what } => {
                    let value = match what {
                        Special::Thread => world.who.thread,
                        Special::Block => world.who.block,
                        Special::Threads => world.threads,
                        Special::Blocks => world.blocks,
                        Special::Zero => 0,
                        Special::One => 1,
                    };
                    self.set(d, value.into());
                }
                op => {
                    let registers = &mut self.registers[frame.registers..];
                    world.executed.multiplications += u64::from(compute(op, registers, &mut self.carry)?);
                }
            }
        }
    }

    fn set(&mut self, register: u32, value: u64) {
        if let Some(frame) = self.frames.last() {
            self.registers[frame.registers + register as usize] = value;
        }
    }

    fn call(&mut self, functions: &[Function], index: usize) {
        let Some(caller) = self.frames.last() else { return };
        let call = &functions[caller.function].calls[index];
        let from = caller.params;
        self.carry = None;
        self.enter(functions, call.function);
        let Some(frame) = self.frames.last() else { return };
        for (argument, param) in call.arguments.iter().zip(&functions[call.function].params) {
            let begin = from + argument.offset as usize;
            let range = begin..begin + argument.bytes.min(param.bytes) as usize;
            self.params.copy_within(range, frame.params + param.offset as usize);
        }
    }

    fn leave(&mut self, functions: &[Function]) {
        self.carry = None;
        let Some(frame) = self.frames.pop() else { return };
        if let Some(caller) = self.frames.last() {
            let Op::Call { call } = functions[caller.function].code[caller.at - 1] else { return };
            let call = &functions[caller.function].calls[call as usize];
            for (result, place) in functions[frame.function].results.iter().zip(&call.results) {
                let begin = frame.params + result.offset as usize;
                let range = begin..begin + result.bytes.min(place.bytes) as usize;
                self.params.copy_within(range, caller.params + place.offset as usize);
            }
        }
        self.registers.truncate(frame.registers);
        self.params.truncate(frame.params);
    }

    fn load(&mut self, world: &mut World, access: Access, address: u64) -> Result<(), Trouble> {
        let size = u32::from(access.kind.bits) / 8;
        let who = world.who;
        let mut raw = [0; 64];
        let total = (size * u32::from(access.count)) as usize;
        let (region, address) = self.region(world, access.space, address, total as u32)?;
        raw[..total].copy_from_slice(region.read(who, address, total as u32)?);
        for (i, value) in raw[..total].chunks(size as usize).enumerate() {
            self.set(access.registers[i], widened(access, from_bytes(value)));
        }
        Ok(())
    }

    fn store(&mut self, world: &mut World, access: Access, address: u64) -> Result<(), Trouble> {
        let size = usize::from(access.kind.bits) / 8;
        let who = world.who;
        let mut raw = [0; 64];
        let total = size * usize::from(access.count);
        let Some(frame) = self.frames.last() else { return Ok(()) };
        for (i, place) in raw[..total].chunks_mut(size).enumerate() {
            let value = self.registers[frame.registers + access.registers[i] as usize].to_le_bytes();
            place.copy_from_slice(&value[..size]);
        }
        let (region, address) = self.region(world, access.space, address, total as u32)?;
        region.write(who, address, &raw[..total])
    }

    /// The allocation of an address, and the address in its own space.
    fn region<'a>(
        &'a mut self,
        world: &'a mut World,
        space: Space,
        address: u64,
        bytes: u32,
    ) -> Result<(&'a mut Region, u64), Trouble> {
        let (space, address) = match space {
            Space::Generic if address >= LOCAL_WINDOW => (Space::Local, address - LOCAL_WINDOW),
            Space::Generic if address >= SHARED_WINDOW => (Space::Shared, address - SHARED_WINDOW),
            space => (space, address),
        };
        let of = |shift: u32| (address >> shift).wrapping_sub(1) as usize;
        let region = match space {
            Space::Shared => Some(&mut world.shared),
            Space::Local => self.frames.get_mut(of(LOCAL_SHIFT)).map(|frame| &mut frame.local),
            Space::Global | Space::Generic => world.global.get_mut(of(GLOBAL_SHIFT)),
        };
        region.map(|region| (region, address)).ok_or(Trouble::OutOfBounds { address, bytes })
    }
}

fn from_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn widened(access: Access, raw: u64) -> u64 {
    alu::convert(access.kind, access.kind, access.register_bits, raw)
}

/// Instructions that touch registers and the carry flag only. Whether it is a multiplication.
fn compute(op: Op, registers: &mut [u64], carry: &mut Option<bool>) -> Result<bool, Trouble> {
    let get = |register: u32| registers[register as usize];
    let flag = |used: bool| if used { carry.map(u64::from).ok_or(Trouble::Carry) } else { Ok(0) };
    let (d, value) = match op {
        Op::MulAddCarry { high, carry_in, carry_out, d, a, b, c } => {
            let product = get(a) * get(b);
            let part = if high { product >> 32 } else { product & 0xffff_ffff };
            let sum = part + get(c) + flag(carry_in)?;
            if carry_out {
                *carry = Some(sum >> 32 != 0);
            }
            registers[d as usize] = sum & 0xffff_ffff;
            return Ok(true);
        }
        Op::AddCarry { subtract, carry_in, carry_out, d, a, b } => {
            let flag = flag(carry_in)?;
            let sum = if subtract {
                get(a).wrapping_sub(get(b)).wrapping_sub(flag)
            } else {
                get(a) + get(b) + flag
            };
            if carry_out {
                *carry = Some(sum >> 32 & 1 != 0);
            }
            (d, sum & 0xffff_ffff)
        }
        Op::Move { d, a } => (d, get(a)),
        Op::Pack { d, low, high } => (d, get(low) | get(high) << 32),
        Op::Unpack { low, high, a } => {
            let value = get(a);
            registers[low as usize] = value & 0xffff_ffff;
            (high, value >> 32)
        }
        Op::MulWide { kind, d, a, b, c } => {
            registers[d as usize] = alu::wide(kind, get(a), get(b), get(c));
            return Ok(true);
        }
        Op::MulAdd { kind, high, d, a, b, c } => {
            let half = if high { Binary::MulHigh } else { Binary::MulLow };
            let product = alu::binary(half, kind, get(a), get(b));
            registers[d as usize] = product.wrapping_add(get(c)) & alu::mask(kind.bits);
            return Ok(true);
        }
        Op::Binary { op, kind, d, a, b } => {
            registers[d as usize] = alu::binary(op, kind, get(a), get(b));
            return Ok(matches!(op, Binary::MulLow | Binary::MulHigh));
        }
        Op::Unary { op, bits, d, a } => (d, alu::unary(op, bits, get(a))),
        Op::Ternary { op, d, a, b, c } => (d, alu::ternary(op, get(a), get(b), get(c))),
        Op::InsertBits { d, a, b, position, length } => {
            (d, alu::insert_bits(get(a), get(b), get(position), get(length)))
        }
        Op::Select { d, a, b, p } => (d, if get(p) != 0 { get(a) } else { get(b) }),
        Op::Compare { comparison, kind, d, a, b } => {
            (d, u64::from(alu::compare(comparison, kind, get(a), get(b))))
        }
        Op::Convert { from, to, register_bits, d, a } => (d, alu::convert(from, to, register_bits, get(a))),
        Op::Special { .. }
        | Op::LocalAddress { .. }
        | Op::Load { .. }
        | Op::Store { .. }
        | Op::LoadParam { .. }
        | Op::StoreParam { .. }
        | Op::Branch { .. }
        | Op::BranchIf { .. }
        | Op::Call { .. }
        | Op::Return
        | Op::Barrier => unreachable!("the thread does these itself"),
    };
    registers[d as usize] = value;
    Ok(false)
}
