//! Programs as the interpreter runs them.
//!
//! Invariant: a register holds its value with zeros above its width, a predicate 0 or 1. Constants lie in registers
//! of their own, so that every operand is a register.

use super::parse;

pub type Reg = u32;

/// A source in PTX.
pub struct Module {
    pub functions: Vec<Function>,
}

impl Module {
    /// # Errors
    /// What is not understood, with its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse::module(text)
    }

    /// The one kernel whose mangled name contains all of `fragments`.
    pub fn entry(&self, fragments: &[&str]) -> &Function {
        let has_all = |f: &&Function| f.is_entry && fragments.iter().all(|part| f.name.contains(part));
        let found: Vec<&Function> = self.functions.iter().filter(has_all).collect();
        assert!(found.len() == 1, "{} kernels are called {fragments:?}", found.len());
        found[0]
    }
}

/// A place in the parameters of a frame: those of the function, its results, and those of the functions it calls.
#[derive(Clone, Copy, Debug)]
pub struct ParamPlace {
    pub offset: u32,
    pub bytes: u32,
}

pub struct Function {
    pub name: String,
    pub is_entry: bool,
    /// Threads of a block, from `.maxntid`.
    pub threads: u32,
    pub registers: u32,
    pub constants: Vec<(Reg, u64)>,
    pub params: Vec<ParamPlace>,
    pub results: Vec<ParamPlace>,
    pub param_bytes: u32,
    pub local_bytes: u32,
    pub shared_bytes: u32,
    pub code: Vec<Op>,
    /// The line of each instruction.
    pub lines: Vec<u32>,
    pub calls: Vec<Call>,
}

pub struct Call {
    pub function: usize,
    pub arguments: Vec<ParamPlace>,
    pub results: Vec<ParamPlace>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Global,
    Shared,
    Local,
    Generic,
}

#[derive(Clone, Copy, Debug)]
pub enum Special {
    Thread,
    Block,
    Threads,
    Blocks,
    /// y and z of an index: always 0.
    Zero,
    /// y and z of a size: always 1.
    One,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    Add,
    Sub,
    MulLow,
    MulHigh,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
    Min,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    Not,
    Neg,
    Abs,
    LeadingZeros,
    Ones,
    Reverse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ternary {
    FunnelLeft { wrap: bool },
    FunnelRight { wrap: bool },
    Permute,
    Logic(u8),
    ExtractBits { signed: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// The type of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub bits: u8,
    pub signed: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Access {
    pub space: Space,
    pub kind: Kind,
    /// Elements of a vector.
    pub count: u8,
    /// Width of the registers.
    pub register_bits: u8,
    pub registers: [Reg; 4],
}

#[derive(Clone, Copy, Debug)]
pub enum Op {
    Move {
        d: Reg,
        a: Reg,
    },
    Special {
        d: Reg,
        what: Special,
    },
    LocalAddress {
        d: Reg,
        offset: u32,
    },
    Pack {
        d: Reg,
        low: Reg,
        high: Reg,
    },
    Unpack {
        low: Reg,
        high: Reg,
        a: Reg,
    },
    /// 32-bit addition or subtraction of a chain.
    AddCarry {
        subtract: bool,
        carry_in: bool,
        carry_out: bool,
        d: Reg,
        a: Reg,
        b: Reg,
    },
    /// 32-bit multiply-add of a chain.
    MulAddCarry {
        high: bool,
        carry_in: bool,
        carry_out: bool,
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
    },
    /// Of operands of `kind` to twice its width.
    MulWide {
        kind: Kind,
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
    },
    /// mad without a carry.
    MulAdd {
        kind: Kind,
        high: bool,
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
    },
    Binary {
        op: Binary,
        kind: Kind,
        d: Reg,
        a: Reg,
        b: Reg,
    },
    Unary {
        op: Unary,
        bits: u8,
        d: Reg,
        a: Reg,
    },
    Ternary {
        op: Ternary,
        d: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
    },
    InsertBits {
        d: Reg,
        a: Reg,
        b: Reg,
        position: Reg,
        length: Reg,
    },
    Select {
        d: Reg,
        a: Reg,
        b: Reg,
        p: Reg,
    },
    Compare {
        comparison: Comparison,
        kind: Kind,
        d: Reg,
        a: Reg,
        b: Reg,
    },
    Convert {
        from: Kind,
        to: Kind,
        register_bits: u8,
        d: Reg,
        a: Reg,
    },
    Load {
        access: Access,
        address: Reg,
        offset: i32,
    },
    Store {
        access: Access,
        address: Reg,
        offset: i32,
    },
    LoadParam {
        access: Access,
        offset: u32,
    },
    StoreParam {
        access: Access,
        offset: u32,
    },
    Branch {
        to: u32,
    },
    BranchIf {
        p: Reg,
        when: bool,
        to: u32,
    },
    Call {
        call: u32,
    },
    Return,
    Barrier,
}
