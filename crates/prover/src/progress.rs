//! Progress of long work, for whoever shows a bar.

/// Is told how far long work has come. Called from several threads.
pub trait Progress: Sync {
    /// A stage begins that will take `total` steps.
    fn begin(&self, stage: &'static str, total: u64);
    /// `steps` more steps of the current stage are done.
    fn advance(&self, steps: u64);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: u64) {}
}
