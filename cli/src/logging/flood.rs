//! Bounds what strangers can make the log say: each place in the code that warns has a bucket of lines of its own, which is
//! filled again slowly. A malformed request, a foreign message in the queue or a node that answers nonsense then costs a line a
//! second at most, whoever wrote the code that logs it, and hides no line of another place.

use std::{
    collections::HashMap,
    io::Write,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{Event, Level, Metadata, callsite::Identifier, subscriber::Interest};
use tracing_subscriber::{
    filter::LevelFilter,
    layer::{Context, Filter},
};

/// Lines of one place at once.
const BURST: u32 = 20;
/// How long it takes until a further one is let through.
const REFILL: Duration = Duration::from_secs(1);

/// A bucket of lines.
#[derive(Debug)]
struct Bucket {
    lines: u32,
    refilled: Instant,
    left_out: u64,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { lines: BURST, refilled: now, left_out: 0 }
    }

    /// How many lines were left out before this one, or nothing if it is left out too.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let ticks = now.saturating_duration_since(self.refilled).as_secs() / REFILL.as_secs();
        if ticks > 0 {
            self.lines = self.lines.saturating_add(u32::try_from(ticks).unwrap_or(BURST)).min(BURST);
            self.refilled = now;
        }
        match self.lines.checked_sub(1) {
            Some(lines) => {
                self.lines = lines;
                Some(std::mem::take(&mut self.left_out))
            }
            None => {
                self.left_out += 1;
                None
            }
        }
    }
}

/// Lets a bounded number of warnings and errors of each place through. Other lines are the operator's own wish.
#[derive(Debug)]
pub struct Flood<W> {
    places: Mutex<HashMap<Identifier, Bucket>>,
    /// Where it says how many lines were left out.
    notes: fn() -> W,
}

impl<W: Write> Flood<W> {
    pub fn new(notes: fn() -> W) -> Self {
        Self { places: Mutex::default(), notes }
    }
}

impl<S, W: Write + 'static> Filter<S> for Flood<W> {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN {
            return true;
        }
        let now = Instant::now();
        let taken = {
            let mut places = self.places.lock();
            places.entry(metadata.callsite()).or_insert_with(|| Bucket::new(now)).take(now)
        };
        if let Some(left_out @ 1..) = taken {
            // A log that cannot be written has nowhere to say so.
            let _ = writeln!((self.notes)(), "{left_out} lines like the next one were left out");
        }
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use tracing_subscriber::{Layer, fmt::MakeWriter, layer::SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_stranger_fills_no_log_and_hides_no_line_of_another_place() {
        let lines = Lines::default();
        let layer =
            tracing_subscriber::fmt::layer().with_writer(lines.clone()).with_filter(Flood::new(io::sink));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for number in 0..1000 {
                tracing::error!(target: "actix_http::h1::dispatcher", "stream error: request parse error {number}");
                tracing::info!("asked for {number}");
            }
            tracing::warn!("of another place");
        });
        let text = String::from_utf8(lines.0.lock().clone()).unwrap();
        let count = |part: &str| text.lines().filter(|line| line.contains(part)).count();
        assert!((20..30).contains(&count("parse error")), "{}", count("parse error"));
        assert_eq!((count("of another place"), count("asked for")), (1, 1000));
    }

    #[test]
    fn a_bucket_says_how_many_lines_were_left_out_and_fills_again() {
        let begin = Instant::now();
        let mut bucket = Bucket::new(begin);
        let taken: Vec<_> = (0..BURST + 5).map(|_| bucket.take(begin)).collect();
        assert_eq!(taken.iter().flatten().count(), BURST as usize);
        assert_eq!(bucket.take(begin + REFILL), Some(5));
        assert_eq!(bucket.take(begin + REFILL), None);
        assert_eq!(bucket.take(begin + REFILL * 1000), Some(1));
        assert_eq!(bucket.lines, BURST - 1);
    }
}
