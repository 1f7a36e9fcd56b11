//! The words of instructions: modifiers, numbers, lists of operands.

use super::parse::bits;
use super::program::{Binary, Comparison, Kind, Ternary};

pub fn kind(text: &str) -> Result<Kind, String> {
    Ok(Kind { bits: bits(text)? as u8, signed: text.starts_with('s') })
}

/// Whether what follows the name of a 32-bit instruction of a chain, `[cc] u32`, has the flag written.
pub fn is_chain(rest: &[&str]) -> Option<bool> {
    match rest {
        ["cc", "u32" | "s32"] => Some(true),
        ["u32" | "s32"] => Some(false),
        _ => None,
    }
}

pub fn comparison_of(text: &str) -> Option<(Comparison, bool)> {
    Some(match text {
        "eq" => (Comparison::Equal, false),
        "ne" => (Comparison::NotEqual, false),
        "lt" => (Comparison::Less, false),
        "le" => (Comparison::LessEqual, false),
        "gt" => (Comparison::Greater, false),
        "ge" => (Comparison::GreaterEqual, false),
        "lo" => (Comparison::Less, true),
        "ls" => (Comparison::LessEqual, true),
        "hi" => (Comparison::Greater, true),
        "hs" => (Comparison::GreaterEqual, true),
        _ => return None,
    })
}

pub fn ternary_of(parts: &[&str]) -> Option<Ternary> {
    Some(match parts {
        ["shf", "l", mode @ ("wrap" | "clamp"), "b32"] => Ternary::FunnelLeft { wrap: *mode == "wrap" },
        ["shf", "r", mode @ ("wrap" | "clamp"), "b32"] => Ternary::FunnelRight { wrap: *mode == "wrap" },
        ["prmt", "b32"] => Ternary::Permute,
        ["bfe", ty @ ("u32" | "s32")] => Ternary::ExtractBits { signed: *ty == "s32" },
        _ => return None,
    })
}

pub fn binary_of<'a>(parts: &[&'a str]) -> Option<(Binary, &'a str)> {
    let op = match parts {
        ["add", _] => Binary::Add,
        ["sub", _] => Binary::Sub,
        ["mul", "lo", _] => Binary::MulLow,
        ["mul", "hi", _] => Binary::MulHigh,
        ["and", _] => Binary::And,
        ["or", _] => Binary::Or,
        ["xor", _] => Binary::Xor,
        ["shl", _] => Binary::ShiftLeft,
        ["shr", _] => Binary::ShiftRight,
        ["min", _] => Binary::Min,
        ["max", _] => Binary::Max,
        _ => return None,
    };
    Some((op, parts[parts.len() - 1]))
}

pub fn number(text: &str) -> Result<u64, String> {
    let (digits, negative) = match text.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let digits = digits.trim_end_matches('U');
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    let value = value.map_err(|_| format!("{text} is not a number"))?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// The registers of `{a, b}`.
pub fn vector(text: &str) -> Option<Vec<String>> {
    Some(split(text.strip_prefix('{')?.strip_suffix('}')?))
}

/// Splits at the commas outside of brackets.
pub fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        match (c, parts.last_mut()) {
            (',', _) if depth == 0 => parts.push(String::new()),
            (_, Some(part)) => part.push(c),
            (_, None) => {}
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}
