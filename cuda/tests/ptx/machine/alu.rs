//! What arithmetic instructions compute, by the PTX ISA, section 9.7. Operands have zeros above their width, and so
//! have results.

use super::program::{Binary, Comparison, Kind, Ternary, Unary};

pub fn mask(bits: u8) -> u64 {
    if bits == 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// The value with the bits above its width filled by its sign.
pub fn sign_extended(value: u64, bits: u8) -> i64 {
    let unused = 64 - u32::from(bits);
    (value << unused).cast_signed() >> unused
}

fn extended(value: u64, kind: Kind) -> i128 {
    if kind.signed { i128::from(sign_extended(value, kind.bits)) } else { i128::from(value) }
}

pub fn binary(op: Binary, kind: Kind, a: u64, b: u64) -> u64 {
    let bits = u64::from(kind.bits);
    let value = match op {
        Binary::Add => a.wrapping_add(b),
        Binary::Sub => a.wrapping_sub(b),
        Binary::MulLow => a.wrapping_mul(b),
        Binary::MulHigh => {
            if kind.signed {
                ((extended(a, kind) * extended(b, kind)) >> bits) as u64
            } else {
                ((u128::from(a) * u128::from(b)) >> bits) as u64
            }
        }
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
        // Shifts by the width or more shift everything out.
        Binary::ShiftLeft => {
            if b >= bits {
                0
            } else {
                a << b
            }
        }
        Binary::ShiftRight if kind.signed => (sign_extended(a, kind.bits) >> b.min(bits - 1)) as u64,
        Binary::ShiftRight => {
            if b >= bits {
                0
            } else {
                a >> b
            }
        }
        Binary::Min => {
            if extended(a, kind) <= extended(b, kind) {
                a
            } else {
                b
            }
        }
        Binary::Max => {
            if extended(a, kind) >= extended(b, kind) {
                a
            } else {
                b
            }
        }
    };
    value & mask(kind.bits)
}

pub fn wide(kind: Kind, a: u64, b: u64, c: u64) -> u64 {
    let product = (extended(a, kind) * extended(b, kind)) as u64;
    product.wrapping_add(c) & mask(2 * kind.bits)
}

pub fn unary(op: Unary, bits: u8, a: u64) -> u64 {
    let unused = 64 - u32::from(bits);
    match op {
        Unary::Not => !a & mask(bits),
        Unary::Neg => a.wrapping_neg() & mask(bits),
        Unary::Abs => sign_extended(a, bits).unsigned_abs() & mask(bits),
        Unary::LeadingZeros => u64::from(a.leading_zeros() - unused),
        Unary::Ones => u64::from(a.count_ones()),
        Unary::Reverse => a.reverse_bits() >> unused,
    }
}

pub fn ternary(op: Ternary, a: u64, b: u64, c: u64) -> u64 {
    let amount = |wrap: bool| if wrap { c & 31 } else { c.min(32) };
    let both = a | b << 32;
    let value = match op {
        Ternary::FunnelLeft { wrap } => ((u128::from(both) << amount(wrap)) >> 32) as u64,
        Ternary::FunnelRight { wrap } => both >> amount(wrap),
        Ternary::Permute => (0..4).fold(0, |value, i| {
            let selector = c >> (4 * i) & 15;
            let byte = both >> (8 * (selector & 7)) & 255;
            let byte = if selector & 8 == 0 { byte } else { (byte >> 7) * 255 };
            value | byte << (8 * i)
        }),
        Ternary::Logic(table) => (0..8).filter(|row| table >> row & 1 == 1).fold(0, |value, row| {
            let pick = |operand: u64, bit: u32| if row >> bit & 1 == 1 { operand } else { !operand };
            value | pick(a, 2) & pick(b, 1) & pick(c, 0)
        }),
        Ternary::ExtractBits { signed } => {
            let (position, length) = (b & 255, c & 255);
            let sign = if signed && length > 0 { a >> (position + length - 1).min(31) & 1 } else { 0 };
            (0..32).fold(0, |value, i| {
                let bit = if i < length && position + i < 32 { a >> (position + i) & 1 } else { sign };
                value | bit << i
            })
        }
    };
    value & mask(32)
}

/// The low `length` bits of `a` in `b` from `position`.
pub fn insert_bits(a: u64, b: u64, position: u64, length: u64) -> u64 {
    let (position, length) = (position & 255, length & 255);
    let field = if position > 31 { 0 } else { ((1_u64 << length.min(32)) - 1) << position };
    (b & !field | a.checked_shl(position as u32).unwrap_or(0) & field) & mask(32)
}

pub fn compare(comparison: Comparison, kind: Kind, a: u64, b: u64) -> bool {
    let (a, b) = (extended(a, kind), extended(b, kind));
    match comparison {
        Comparison::Equal => a == b,
        Comparison::NotEqual => a != b,
        Comparison::Less => a < b,
        Comparison::LessEqual => a <= b,
        Comparison::Greater => a > b,
        Comparison::GreaterEqual => a >= b,
    }
}

/// cvt between integers: the operand as `from`, cut or extended to `to`, then to the register by the sign of `to`.
pub fn convert(from: Kind, to: Kind, register_bits: u8, a: u64) -> u64 {
    let value = extended(a & mask(from.bits), from) as u64;
    extended(value & mask(to.bits), to) as u64 & mask(register_bits)
}
