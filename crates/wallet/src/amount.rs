//! Amounts as people write them: `0.25`, `0.25eth`, `5gwei`, `100wei`, `all`.

/// What is to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So much.
    Wei(u128),
    /// Everything that can be moved.
    All,
}

/// Units, the longer names first: every name ends another one's.
const UNITS: [(&str, usize); 3] = [("gwei", 9), ("wei", 0), ("eth", 18)];

/// # Errors
/// A sentence with examples for whatever is not an amount, or not a whole number of wei.
pub fn parse_amount(text: &str) -> Result<Amount, String> {
    let lower = text.trim().to_ascii_lowercase();
    if lower == "all" {
        return Ok(Amount::All);
    }
    let unit = UNITS.into_iter().find_map(|(name, digits)| Some((lower.strip_suffix(name)?, digits)));
    let (number, digits) = unit.unwrap_or((&lower, 18));
    let explain =
        || format!("'{text}' is not an amount; write for example 0.25 (ETH), 0.25eth, 5gwei, 100wei or all");
    let number = number.trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(explain());
    }
    if fraction.len() > digits {
        return Err(format!(
            "'{text}' is not a whole number of wei, the smallest unit; write fewer decimals"
        ));
    }
    let wei = format!("{whole}{fraction:0<digits$}");
    if !wei.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(explain());
    }
    wei.parse().map(Amount::Wei).map_err(|_| format!("'{text}' is more ETH than there is; write less"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETH: u128 = 1_000_000_000_000_000_000;

    #[test]
    fn amounts_are_read_exactly_in_each_unit() {
        for (text, wei) in [
            ("0.25", ETH / 4),
            ("2", 2 * ETH),
            (".000000001", 1_000_000_000),
            ("0.1eth", ETH / 10),
            ("0.1 ETH", ETH / 10),
            ("5gwei", 5_000_000_000),
            ("0.5gwei", 500_000_000),
            ("100wei", 100),
            ("1.", ETH),
        ] {
            assert_eq!(parse_amount(text), Ok(Amount::Wei(wei)), "{text}");
        }
        assert_eq!(parse_amount(" All "), Ok(Amount::All));
    }

    #[test]
    fn what_is_not_an_amount_is_refused_with_a_sentence() {
        let huge = "9".repeat(40);
        for text in [
            "",
            ".",
            "1,5",
            "-1",
            "1e18",
            "0x10",
            "eth",
            "gwei",
            "0.5wei",
            "0.0000000001gwei",
            "1finney",
            &huge,
            "0.0000000000000000001",
        ] {
            let refusal = parse_amount(text).unwrap_err();
            assert!(refusal.contains("write"), "{text}: {refusal}");
        }
    }
}
