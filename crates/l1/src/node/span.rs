//! How many blocks a node gives logs for at once.
//!
//! Nodes say in a hundred ways that a range is too large: JSON-RPC errors with any code, HTTP 413 and 504, pages of HTML,
//! silence. So the words are not looked at: whatever a request for more than one block is refused with, half as many are
//! asked for next, and more again only after many requests went well. A refusal of one block is a real error.

/// Requests that must go well before more blocks are asked for at once.
const PATIENCE: u32 = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    blocks: u64,
    went_well: u32,
}

impl Default for Span {
    fn default() -> Self {
        Self { blocks: u64::MAX, went_well: 0 }
    }
}

impl Span {
    /// At most `most`, and at least one.
    pub fn blocks(&self, most: u64) -> u64 {
        self.blocks.min(most).max(1)
    }

    /// So many blocks were given.
    pub fn given(&mut self, blocks: u64) {
        if blocks < self.blocks {
            return;
        }
        self.went_well += 1;
        if self.went_well >= PATIENCE {
            *self = Self { blocks: self.blocks.saturating_add((self.blocks / 4).max(1)), went_well: 0 };
        }
    }

    /// So many blocks were refused. Whether fewer can be asked for.
    pub fn refused(&mut self, blocks: u64) -> bool {
        // Intake and settlement ask at the same time: a late refusal of a long range does not widen a short one.
        *self = Self { blocks: self.blocks.min((blocks / 2).max(1)), went_well: 0 };
        blocks > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_halves_the_range_and_it_grows_again_slowly() {
        let mut span = Span::default();
        assert_eq!(span.blocks(2_000), 2_000);
        let mut asked = 2_000;
        while asked > 100 {
            assert!(span.refused(asked));
            asked = span.blocks(2_000);
        }
        assert_eq!(asked, 62);
        let (mut requests, mut refusals) = (0, 0);
        while requests < 1_000 {
            let asked = span.blocks(2_000);
            if asked > 100 {
                refusals += 1;
                span.refused(asked);
            } else {
                span.given(asked);
            }
            requests += 1;
        }
        assert!(refusals < 12, "{refusals} refusals in {requests} requests");
        assert!(!span.refused(1), "one block refused is a real error");
        assert_eq!(span.blocks(2_000), 1);
    }
}
