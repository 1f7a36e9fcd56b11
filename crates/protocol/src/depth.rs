//! How deep text from outside may be nested, decided on its bytes before any parser sees it.
//!
//! Parsers of JSON and of GraphQL call themselves for each bracket, so that a text of a few kilobytes can take more stack than a
//! thread has, and a process that runs out of stack is aborted. The scan here is one loop over the bytes. It knows as much of
//! both languages as it takes to tell brackets from text: strings, escapes and comments.
//!
//! Invariant: where a parser would be `n` brackets deep, the scan has counted at least `n`. A text of which the two could think
//! differently (a GraphQL string without an end) is refused.

/// Brackets inside each other in any text from outside. Well-formed requests need about twenty, the query of
/// `getIntrospectionQuery()` among them; threads of servers have stack for more than a thousand.
pub const MAX_DEPTH: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DepthError {
    #[error("PM-WIRE-020: brackets are nested more than {MAX_DEPTH} deep (at byte {offset}); nest less")]
    TooDeep { offset: usize },
    #[error("PM-WIRE-021: the string that begins at byte {offset} has no end; close it in the same line")]
    OpenString { offset: usize },
}

impl DepthError {
    /// Where in the text it is.
    pub fn offset(&self) -> usize {
        match self {
            Self::TooDeep { offset } | Self::OpenString { offset } => *offset,
        }
    }
}

/// Counts brackets. One that closes another kind than was opened is left to the parser, which stops there.
#[derive(Default)]
struct Brackets {
    open: usize,
}

impl Brackets {
    fn see(&mut self, byte: u8, offset: usize) -> Result<(), DepthError> {
        match byte {
            b'{' | b'[' | b'(' if self.open == MAX_DEPTH => return Err(DepthError::TooDeep { offset }),
            b'{' | b'[' | b'(' => self.open += 1,
            b'}' | b']' | b')' => self.open = self.open.saturating_sub(1),
            _ => {}
        }
        Ok(())
    }
}

/// Checks a JSON text (RFC 8259). A string without an end hides nothing: every parser stops at it.
///
/// # Errors
/// `TooDeep` beyond [`MAX_DEPTH`].
pub fn check_json(text: &[u8]) -> Result<(), DepthError> {
    let mut brackets = Brackets::default();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte == b'"' {
            at += 1;
            while let Some(&inner) = text.get(at).filter(|inner| **inner != b'"') {
                at += if inner == b'\\' { 2 } else { 1 };
            }
        } else {
            brackets.see(byte, at)?;
        }
        at += 1;
    }
    Ok(())
}

/// Checks a GraphQL document (specification of October 2021, §2.1).
///
/// # Errors
/// `TooDeep` beyond [`MAX_DEPTH`], `OpenString` for a string without an end.
pub fn check_graphql(text: &[u8]) -> Result<(), DepthError> {
    let mut brackets = Brackets::default();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at = match byte {
            b'"' => end_of_string(text, at).ok_or(DepthError::OpenString { offset: at })?,
            b'#' => text[at..].iter().position(|b| is_newline(*b)).map_or(text.len(), |length| at + length),
            _ => {
                brackets.see(byte, at)?;
                at + 1
            }
        };
    }
    Ok(())
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The place behind the string or block string that begins here.
fn end_of_string(text: &[u8], begin: usize) -> Option<usize> {
    const BLOCK: &[u8] = b"\"\"\"";
    let rest = &text[begin..];
    let mut at = 1;
    if rest.starts_with(BLOCK) {
        at = BLOCK.len();
        loop {
            let here = rest.get(at..)?;
            if here.starts_with(BLOCK) {
                return Some(begin + at + BLOCK.len());
            }
            at += if here.starts_with(b"\\\"\"\"") { 4 } else { 1 };
        }
    }
    loop {
        match *rest.get(at)? {
            b'"' => return Some(begin + at + 1),
            b'\\' => at += 2,
            byte if is_newline(byte) => return None,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(open: &str, close: &str, levels: usize) -> String {
        open.repeat(levels) + &close.repeat(levels)
    }

    fn is_too_deep(outcome: Result<(), DepthError>) -> bool {
        matches!(outcome, Err(DepthError::TooDeep { .. }))
    }

    #[test]
    fn the_bound_passes_and_one_level_more_does_not() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
            let levels = MAX_DEPTH / open.matches(['[', '{']).count();
            assert_eq!(check_json(nested(open, close, levels).as_bytes()), Ok(()));
            assert!(is_too_deep(check_json(nested(open, close, levels + 1).as_bytes())));
        }
        for (open, close) in [("[", "]"), ("{a", "}"), ("(a:", ")"), ("[\n", "]")] {
            assert_eq!(check_graphql(nested(open, close, MAX_DEPTH).as_bytes()), Ok(()));
            assert!(is_too_deep(check_graphql(nested(open, close, MAX_DEPTH + 1).as_bytes())));
        }
        let offset = check_json(&[b'['; MAX_DEPTH + 5]).unwrap_err().offset();
        assert_eq!(offset, MAX_DEPTH);
    }

    #[test]
    fn brackets_beside_each_other_are_not_depth() {
        let flat = "[],".repeat(10_000);
        assert_eq!((check_json(flat.as_bytes()), check_graphql(flat.as_bytes())), (Ok(()), Ok(())));
    }

    #[test]
    fn brackets_in_strings_and_comments_are_text() {
        let many = "[".repeat(1000);
        for text in [format!("\"{many}\""), format!("[\"\\\"{many}\"]"), format!("\"\\\\\\\"{many}\"")] {
            assert_eq!(check_json(text.as_bytes()), Ok(()), "{text}");
            assert_eq!(check_graphql(text.as_bytes()), Ok(()), "{text}");
        }
        let block = format!("\"\"\"\n {many} \"\" \\\"\"\" {many} \\\\\"\"\" {many} \"\"\"");
        let comment = format!("# \" {many} \"\"\"\n{{a}} # {many}");
        for text in [block, comment] {
            assert_eq!(check_graphql(text.as_bytes()), Ok(()), "{text}");
        }
    }

    #[test]
    fn nothing_hides_brackets_from_the_scan() {
        let many = "[".repeat(1000);
        // After an empty string, an escaped backslash, the end of a comment, a string in a comment, a block string.
        for before in
            ["\"\"", "\"\\\\\"", "#\n", "# \"\r", "\"\"\"a\"\"\"", "\"\"\"\\\\\"\"\"\"\"\"", "\u{feff}"]
        {
            let text = format!("{before}{many}");
            assert!(is_too_deep(check_graphql(text.as_bytes())), "{text}");
        }
        // A parser may read an open block string as an empty string and go on behind it.
        for open in ["\"\"\"a\" ", "\"", "\"\\\"", "\"a\n\" ", "\"\"\"\\\"\"\""] {
            let text = format!("{{a(b:[{open}{many}");
            assert_eq!(check_graphql(text.as_bytes()), Err(DepthError::OpenString { offset: 6 }), "{text}");
        }
        for before in ["\"\\\\\"", "\"\"", "\"\\u0022\""] {
            assert!(is_too_deep(check_json(format!("{before}{many}").as_bytes())), "{before}");
        }
    }

    #[test]
    fn any_bytes_are_scanned_to_their_end() {
        for byte in 0..=255 {
            for length in 0..8 {
                let text = vec![byte; length];
                let _ = (check_json(&text), check_graphql(&text));
            }
        }
    }
}
