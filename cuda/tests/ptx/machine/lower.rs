//! The body of a function: declarations and instructions of the text to `Op`s.

use std::collections::HashMap;

use super::alu::mask;
use super::parse::{Head, bits, variable};
use super::program::{
    Access, Binary, Call, Function, Kind, Op, ParamPlace, Reg, Space, Special, Ternary, Unary,
};
use super::thread::{LOCAL_WINDOW, SHARED_WINDOW};
use super::words::{binary_of, comparison_of, is_chain, kind, number, split, ternary_of, vector};

enum Variable {
    Shared(u32),
    Local(u32),
    Param(ParamPlace),
}

/// Registers that are declared together, as in `%r<40>`.
struct Range {
    first: Reg,
    count: u32,
    bits: u8,
}

pub struct Body<'a> {
    functions: &'a HashMap<String, usize>,
    function: Function,
    ranges: HashMap<String, Range>,
    singles: HashMap<String, (Reg, u8)>,
    constants: HashMap<u64, Reg>,
    variables: HashMap<String, Variable>,
    labels: HashMap<String, u32>,
    /// Branches, with the label each goes to.
    branches: Vec<(usize, String)>,
}

const ADDRESS: Kind = Kind { bits: 64, signed: false };
const AMOUNT: u8 = 32;

impl<'a> Body<'a> {
    pub fn new(head: &Head, functions: &'a HashMap<String, usize>) -> Self {
        let places = |list: &[(String, ParamPlace)]| list.iter().map(|(_, place)| *place).collect::<Vec<_>>();
        let (params, results) = (places(&head.params), places(&head.results));
        let param_bytes = params.iter().chain(&results).map(|p| p.offset + p.bytes).max().unwrap_or(0);
        let named = head.params.iter().chain(&head.results);
        Self {
            functions,
            variables: named.map(|(name, place)| (name.clone(), Variable::Param(*place))).collect(),
            function: Function {
                name: head.name.clone(),
                is_entry: head.is_entry,
                threads: head.threads,
                registers: 0,
                constants: Vec::new(),
                params,
                results,
                param_bytes,
                local_bytes: 0,
                shared_bytes: 0,
                code: Vec::new(),
                lines: Vec::new(),
                calls: Vec::new(),
            },
            ranges: HashMap::new(),
            singles: HashMap::new(),
            constants: HashMap::new(),
            labels: HashMap::new(),
            branches: Vec::new(),
        }
    }

    pub fn label(&mut self, name: &str) {
        self.labels.insert(name.to_owned(), self.function.code.len() as u32);
    }

    pub fn finish(mut self) -> Result<Function, String> {
        // Execution never runs past the end.
        self.emit(Op::Return, 0);
        for (at, label) in &self.branches {
            let target = *self.labels.get(label).ok_or(format!("there is no label {label}"))?;
            match &mut self.function.code[*at] {
                Op::Branch { to } | Op::BranchIf { to, .. } => *to = target,
                other => return Err(format!("{other:?} is no branch")),
            }
        }
        self.function.constants = self.constants.into_iter().map(|(value, reg)| (reg, value)).collect();
        Ok(self.function)
    }

    fn emit(&mut self, op: Op, line: u32) {
        self.function.code.push(op);
        self.function.lines.push(line);
    }

    pub fn statement(&mut self, text: &str, line: u32) -> Result<(), String> {
        if text.starts_with('.') {
            return self.declaration(text);
        }
        let Some(guarded) = text.strip_prefix('@') else {
            let op = self.instruction(text)?;
            self.emit(op, line);
            return Ok(());
        };
        let (predicate, rest) = guarded.split_once(' ').ok_or("a guard without an instruction")?;
        let (name, when) = match predicate.strip_prefix('!') {
            Some(name) => (name, false),
            None => (predicate, true),
        };
        let p = self.register(name)?.0;
        let at = self.function.code.len();
        match self.instruction(rest.trim_start())? {
            // The label was noted for this very place.
            Op::Branch { to } => self.emit(Op::BranchIf { p, when, to }, line),
            op => {
                self.emit(Op::BranchIf { p, when: !when, to: at as u32 + 2 }, line);
                self.emit(op, line);
            }
        }
        Ok(())
    }

    fn declaration(&mut self, text: &str) -> Result<(), String> {
        let (space, rest) = text.split_once(' ').ok_or("not a declaration")?;
        if space == ".reg" {
            let (kind, names) = rest.trim().split_once(' ').ok_or("registers without a name")?;
            let bits = bits(kind)? as u8;
            for name in names.split(',').map(str::trim) {
                let first = self.function.registers;
                if let Some((prefix, count)) = name.split_once('<') {
                    let count =
                        count.trim_end_matches('>').parse().map_err(|_| "not a number of registers")?;
                    self.function.registers += count;
                    self.ranges.insert(prefix.to_owned(), Range { first, count, bits });
                } else {
                    self.function.registers += 1;
                    self.singles.insert(name.to_owned(), (first, bits));
                }
            }
            return Ok(());
        }
        let (name, alignment, bytes) = variable(text)?;
        let used = match space {
            ".shared" => &mut self.function.shared_bytes,
            ".local" => &mut self.function.local_bytes,
            ".param" => &mut self.function.param_bytes,
            _ => return Err("unknown directive".to_owned()),
        };
        let offset = used.next_multiple_of(alignment);
        *used = offset + bytes;
        let variable = match space {
            ".shared" => Variable::Shared(offset),
            ".local" => Variable::Local(offset),
            _ => Variable::Param(ParamPlace { offset, bytes }),
        };
        self.variables.insert(name, variable);
        Ok(())
    }

    fn register(&self, name: &str) -> Result<(Reg, u8), String> {
        if let Some(single) = self.singles.get(name) {
            return Ok(*single);
        }
        let digits = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (prefix, number) = name.split_at(digits);
        match (self.ranges.get(prefix), number.parse::<u32>()) {
            (Some(range), Ok(number)) if number < range.count => Ok((range.first + number, range.bits)),
            _ => Err(format!("unknown operand {name}")),
        }
    }

    fn constant(&mut self, value: u64) -> Reg {
        let next = self.function.registers;
        let reg = *self.constants.entry(value).or_insert(next);
        if reg == next {
            self.function.registers += 1;
        }
        reg
    }

    /// A register, or a number of this width.
    fn operand(&mut self, text: &str, width: u8) -> Result<Reg, String> {
        if !text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            let (reg, bits) = self.register(text)?;
            if bits != width {
                return Err(format!("{text} has {bits} bits, not {width}"));
            }
            return Ok(reg);
        }
        let value = number(text)?;
        let value = if width == 1 { u64::from(value != 0) } else { value & mask(width) };
        Ok(self.constant(value))
    }

    fn instruction(&mut self, text: &str) -> Result<Op, String> {
        let (opcode, rest) = text.split_once(' ').unwrap_or((text, ""));
        let parts: Vec<&str> = opcode.split('.').collect();
        let operands = split(rest);
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        if matches!(parts[0], "ld" | "st") {
            return self.memory(&parts, &operands);
        }
        if parts[0] == "call" {
            return self.call(rest);
        }
        self.arithmetic(&parts, &operands)
    }

    fn arithmetic(&mut self, parts: &[&str], operands: &[&str]) -> Result<Op, String> {
        let unknown = || "unknown instruction".to_owned();
        Ok(match (parts, operands) {
            (["ret"] | ["exit"], []) if parts[0] == "ret" || self.function.is_entry => Op::Return,
            (["bar", "sync"] | ["barrier", "sync"], ["0"]) => Op::Barrier,
            (["bra"] | ["bra", "uni"], [label]) => {
                self.branches.push((self.function.code.len(), (*label).to_owned()));
                Op::Branch { to: 0 }
            }
            (["mov", ty], [d, a]) => self.moved(bits(ty)? as u8, d, a)?,
            (["cvta", "to", "global", "u64"] | ["cvta", "global", "u64"], [d, a]) => self.window(d, a, 0)?,
            (["cvta", "to", "shared", "u64"], [d, a]) => self.window(d, a, SHARED_WINDOW.wrapping_neg())?,
            (["cvta", "shared", "u64"], [d, a]) => self.window(d, a, SHARED_WINDOW)?,
            (["cvta", "to", "local", "u64"], [d, a]) => self.window(d, a, LOCAL_WINDOW.wrapping_neg())?,
            (["cvta", "local", "u64"], [d, a]) => self.window(d, a, LOCAL_WINDOW)?,
            (["cvt", to, from], [d, a]) => {
                let (to, from) = (kind(to)?, kind(from)?);
                let ((d, register_bits), (a, _)) = (self.register(d)?, self.register(a)?);
                Op::Convert { from, to, register_bits, d, a }
            }
            (["setp", comparison, ty], [d, a, b]) => {
                let (comparison, unsigned) = comparison_of(comparison).ok_or_else(unknown)?;
                let mut kind = kind(ty)?;
                kind.signed &= !unsigned;
                let (d, a, b) =
                    (self.operand(d, 1)?, self.operand(a, kind.bits)?, self.operand(b, kind.bits)?);
                Op::Compare { comparison, kind, d, a, b }
            }
            (["selp", ty], [d, a, b, p]) => {
                let bits = bits(ty)? as u8;
                let (d, a, b) = (self.operand(d, bits)?, self.operand(a, bits)?, self.operand(b, bits)?);
                Op::Select { d, a, b, p: self.operand(p, 1)? }
            }
            (["bfi", "b32"], [d, a, b, position, length]) => {
                let [d, a, b, position, length] = self.words([d, a, b, position, length])?;
                Op::InsertBits { d, a, b, position, length }
            }
            (["lop3", "b32"], [d, a, b, c, table]) => {
                let table = number(table)? as u8;
                let [d, a, b, c] = self.words([d, a, b, c])?;
                Op::Ternary { op: Ternary::Logic(table), d, a, b, c }
            }
            ([name @ ("add" | "addc" | "sub" | "subc"), rest @ ..], [d, a, b])
                if name.ends_with('c') || rest.contains(&"cc") =>
            {
                let carry_out = is_chain(rest).ok_or_else(unknown)?;
                let [d, a, b] = self.words([d, a, b])?;
                let (subtract, carry_in) = (name.starts_with('s'), name.ends_with('c'));
                Op::AddCarry { subtract, carry_in, carry_out, d, a, b }
            }
            ([name @ ("mad" | "madc"), half @ ("lo" | "hi"), rest @ ..], [d, a, b, c])
                if *name == "madc" || rest.contains(&"cc") =>
            {
                let carry_out = is_chain(rest).filter(|_| rest.last() == Some(&"u32")).ok_or_else(unknown)?;
                let [d, a, b, c] = self.words([d, a, b, c])?;
                Op::MulAddCarry { high: *half == "hi", carry_in: *name == "madc", carry_out, d, a, b, c }
            }
            (["mul", "wide", ty], [d, a, b]) => self.wide(kind(ty)?, d, a, b, "0")?,
            (["mad", "wide", ty], [d, a, b, c]) => self.wide(kind(ty)?, d, a, b, c)?,
            (["mad", half @ ("lo" | "hi"), ty], [d, a, b, c]) => {
                let kind = kind(ty)?;
                let (d, a) = (self.operand(d, kind.bits)?, self.operand(a, kind.bits)?);
                let (b, c) = (self.operand(b, kind.bits)?, self.operand(c, kind.bits)?);
                Op::MulAdd { kind, high: *half == "hi", d, a, b, c }
            }
            (_, [d, a, b, c]) => {
                let op = ternary_of(parts).ok_or_else(unknown)?;
                let [d, a, b, c] = self.words([d, a, b, c])?;
                Op::Ternary { op, d, a, b, c }
            }
            (_, [d, a, b]) => {
                let (op, ty) = binary_of(parts).ok_or_else(unknown)?;
                let kind = kind(ty)?;
                let shift = matches!(op, Binary::ShiftLeft | Binary::ShiftRight);
                let width = if shift { AMOUNT } else { kind.bits };
                let (d, a, b) =
                    (self.operand(d, kind.bits)?, self.operand(a, kind.bits)?, self.operand(b, width)?);
                Op::Binary { op, kind, d, a, b }
            }
            ([name, ty], [d, a]) => {
                let bits = bits(ty)? as u8;
                let (op, width) = match *name {
                    "not" => (Unary::Not, bits),
                    "neg" => (Unary::Neg, bits),
                    "abs" if ty.starts_with('s') => (Unary::Abs, bits),
                    "clz" => (Unary::LeadingZeros, 32),
                    "popc" => (Unary::Ones, 32),
                    "brev" => (Unary::Reverse, bits),
                    _ => return Err(unknown()),
                };
                Op::Unary { op, bits, d: self.operand(d, width)?, a: self.operand(a, bits)? }
            }
            _ => return Err(unknown()),
        })
    }

    fn words<const N: usize>(&mut self, operands: [&&str; N]) -> Result<[Reg; N], String> {
        let mut registers = [0; N];
        for (register, operand) in registers.iter_mut().zip(operands) {
            *register = self.operand(operand, 32)?;
        }
        Ok(registers)
    }

    fn window(&mut self, d: &str, a: &str, base: u64) -> Result<Op, String> {
        let (d, a, b) = (self.operand(d, 64)?, self.operand(a, 64)?, self.constant(base));
        Ok(Op::Binary { op: Binary::Add, kind: ADDRESS, d, a, b })
    }

    fn wide(&mut self, kind: Kind, d: &str, a: &str, b: &str, c: &str) -> Result<Op, String> {
        let (d, c) = (self.operand(d, 2 * kind.bits)?, self.operand(c, 2 * kind.bits)?);
        let (a, b) = (self.operand(a, kind.bits)?, self.operand(b, kind.bits)?);
        Ok(Op::MulWide { kind, d, a, b, c })
    }

    fn moved(&mut self, bits: u8, d: &str, a: &str) -> Result<Op, String> {
        if let Some(list) = vector(a) {
            let [low, high] = self.halves(&list, bits)?;
            return Ok(Op::Pack { d: self.operand(d, bits)?, low, high });
        }
        if let Some(list) = vector(d) {
            let [low, high] = self.halves(&list, bits)?;
            return Ok(Op::Unpack { low, high, a: self.operand(a, bits)? });
        }
        let d = self.operand(d, bits)?;
        let what = match a {
            "%tid.x" => Some(Special::Thread),
            "%ctaid.x" => Some(Special::Block),
            "%ntid.x" => Some(Special::Threads),
            "%nctaid.x" => Some(Special::Blocks),
            "%tid.y" | "%tid.z" | "%ctaid.y" | "%ctaid.z" => Some(Special::Zero),
            "%ntid.y" | "%ntid.z" | "%nctaid.y" | "%nctaid.z" => Some(Special::One),
            _ => None,
        };
        if let Some(what) = what {
            return Ok(Op::Special { d, what });
        }
        match self.variables.get(a) {
            Some(Variable::Local(offset)) => Ok(Op::LocalAddress { d, offset: *offset }),
            Some(Variable::Shared(offset)) => {
                let offset = u64::from(*offset);
                Ok(Op::Move { d, a: self.constant(offset) })
            }
            Some(Variable::Param(_)) => Err("the address of a parameter is not known".to_owned()),
            None => Ok(Op::Move { d, a: self.operand(a, bits)? }),
        }
    }

    fn halves(&mut self, list: &[String], bits: u8) -> Result<[Reg; 2], String> {
        let ([low, high], 64) = (list, bits) else {
            return Err("only two halves of 64 bits are known".to_owned());
        };
        Ok([self.operand(low, 32)?, self.operand(high, 32)?])
    }

    fn memory(&mut self, parts: &[&str], operands: &[&str]) -> Result<Op, String> {
        let is_load = parts[0] == "ld";
        let [first, second] = operands else {
            return Err("not two operands".to_owned());
        };
        let (values, address) = if is_load { (first, second) } else { (second, first) };
        let mut modifiers = &parts[1..parts.len() - 1];
        let kind = kind(parts[parts.len() - 1])?;
        let mut count = 1;
        if let [rest @ .., vector @ ("v2" | "v4")] = modifiers {
            (modifiers, count) = (rest, if *vector == "v2" { 2 } else { 4 });
        }
        let space = match modifiers {
            [] => Some(Space::Generic),
            ["global"] => Some(Space::Global),
            ["global", "nc"] if is_load => Some(Space::Global),
            ["shared"] => Some(Space::Shared),
            ["local"] => Some(Space::Local),
            ["param"] => None,
            _ => return Err("unknown instruction".to_owned()),
        };
        let list = vector(values).unwrap_or_else(|| vec![(*values).to_owned()]);
        if list.len() != usize::from(count) {
            return Err("the vector has another length".to_owned());
        }
        let mut registers = [0; 4];
        let mut register_bits = kind.bits.max(16);
        for (register, name) in registers.iter_mut().zip(&list) {
            *register = match self.register(name) {
                Ok((register, bits)) => {
                    register_bits = bits;
                    register
                }
                Err(_) if !is_load => self.operand(name, kind.bits)?,
                Err(error) => return Err(error),
            };
        }
        if register_bits < kind.bits {
            return Err("the register is too narrow".to_owned());
        }
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let (base, offset) = match address.split_once('+') {
            Some((base, offset)) => (base.trim(), number(offset.trim())? as i64 as i32),
            None => (address, 0),
        };
        let Some(space) = space else {
            let Some(Variable::Param(place)) = self.variables.get(base) else {
                return Err(format!("there is no parameter {base}"));
            };
            let access = Access { space: Space::Generic, kind, count, register_bits, registers };
            let bytes = u32::from(kind.bits) / 8 * u32::from(count);
            if offset < 0 || offset.cast_unsigned() + bytes > place.bytes {
                return Err("outside of the parameter".to_owned());
            }
            let offset = place.offset + offset.cast_unsigned();
            return Ok(if is_load {
                Op::LoadParam { access, offset }
            } else {
                Op::StoreParam { access, offset }
            });
        };
        let access = Access { space, kind, count, register_bits, registers };
        // A variable by name, as in [table+8].
        let address = match (self.variables.get(base), space) {
            (Some(Variable::Shared(at)), Space::Shared) => {
                let at = u64::from(*at);
                self.constant(at)
            }
            (Some(_), _) => return Err("the place of this variable is not known".to_owned()),
            (None, _) => self.register(base)?.0,
        };
        Ok(if is_load { Op::Load { access, address, offset } } else { Op::Store { access, address, offset } })
    }

    /// `(result), name, (arguments)`, of which the lists may be missing.
    fn call(&mut self, rest: &str) -> Result<Op, String> {
        let mut results = Vec::new();
        let mut arguments = Vec::new();
        let mut name = None;
        for part in split(rest) {
            let list = part.strip_prefix('(').map(|list| split(list.trim_end_matches(')')));
            match (list, &name) {
                (Some(list), None) => results = list,
                (Some(list), Some(_)) => arguments = list,
                (None, None) => name = Some(part),
                (None, Some(_)) => return Err("two names in a call".to_owned()),
            }
        }
        let name = name.ok_or("a call of nothing")?;
        let function = *self.functions.get(&name).ok_or(format!("there is no function {name}"))?;
        let place = |name: &String| match self.variables.get(name) {
            Some(Variable::Param(place)) => Ok(*place),
            _ => Err(format!("there is no parameter {name}")),
        };
        let arguments = arguments.iter().map(place).collect::<Result<_, _>>()?;
        let results = results.iter().map(place).collect::<Result<_, _>>()?;
        self.function.calls.push(Call { function, arguments, results });
        Ok(Op::Call { call: self.function.calls.len() as u32 - 1 })
    }
}
