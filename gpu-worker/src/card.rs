//! The graphics card that a worker proves on.

/// Whether the card should get work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    #[default]
    Well,
    /// No new work, and why.
    Sick(String),
}
