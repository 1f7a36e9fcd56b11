//! One id from a request to the transaction on L1 that settles it.
//!
//! A request brings its id in `traceparent` (W3C Trace Context) or gets one; it travels with the task that answers it, goes
//! to the driver with the operation, and is kept in memory with the operation's batch until that is final.

use std::fmt;

use rand_core::{OsRng, RngCore};

/// 16 bytes, not all 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId([u8; 16]);

tokio::task_local! {
    static CURRENT: TraceId;
}

impl TraceId {
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        OsRng.fill_bytes(&mut bytes);
        // All zeros mean "no id".
        bytes[15] |= 1;
        Self(bytes)
    }

    /// Of a `traceparent` header, `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`; nothing if it is not of that form.
    pub fn of_traceparent(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let [version, trace, parent, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let lower_hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        // A later version may add parts behind these.
        let known = version != "00" || parts.next().is_none();
        if !known
            || version == "ff"
            || !lower_hex(version, 2)
            || !lower_hex(parent, 16)
            || !lower_hex(flags, 2)
        {
            return None;
        }
        let mut bytes = [0; 16];
        hex::decode_to_slice(trace, &mut bytes).ok().filter(|()| lower_hex(trace, 32))?;
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The id of the request that the current task answers.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|id| *id).ok()
    }

    /// Runs a future as the answer to this request.
    pub async fn scope<F: Future>(self, answer: F) -> F::Output {
        CURRENT.scope(self, answer).await
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_gives_its_id_and_nothing_else_does() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceId::of_traceparent(good).unwrap().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(TraceId::of_traceparent(&format!("01{}-later", &good[2..])).is_some());
        for bad in [
            "",
            "00",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceId::of_traceparent(bad), None, "{bad}");
        }
        assert_ne!(TraceId::random(), TraceId::random());
    }

    #[tokio::test]
    async fn the_id_belongs_to_the_task_that_answers() {
        assert_eq!(TraceId::current(), None);
        let id = TraceId::random();
        assert_eq!(id.scope(async { TraceId::current() }).await, Some(id));
    }
}
