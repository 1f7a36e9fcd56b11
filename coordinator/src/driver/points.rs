//! Where a test may kill the process around a commit, by what the commit holds.
//!
//! A death before an event is durable and one right after it are the two that a design can get wrong, so each kind of event
//! has both. Without the feature `failpoints` all this is nothing.

use sequencer::{
    farm::FarmRecord,
    settlement::SettlementRecord,
    state::event::{Event, Stamped},
};

pub(super) fn before_commit(log: &[Stamped]) {
    wire::failpoint("commit.before");
    names(log).for_each(|[before, _]| wire::failpoint(before));
}

pub(super) fn after_commit(log: &[Stamped]) {
    wire::failpoint("commit.after");
    names(log).for_each(|[_, after]| wire::failpoint(after));
}

fn names(log: &[Stamped]) -> impl Iterator<Item = [&'static str; 2]> {
    log.iter().filter_map(|stamped| name(&stamped.event))
}

fn name(event: &Event) -> Option<[&'static str; 2]> {
    Some(match event {
        Event::KeyRegistered(_) => ["commit.before.register", "commit.after.register"],
        Event::Accepted(_) => ["commit.before.accept", "commit.after.accept"],
        Event::Sealed(_) => ["commit.before.seal", "commit.after.seal"],
        Event::TakenIn { .. } => ["commit.before.take_in", "commit.after.take_in"],
        Event::ReadAgain(_) => ["commit.before.read_again", "commit.after.read_again"],
        Event::Proven(_) => ["commit.before.proven", "commit.after.proven"],
        Event::Farm(FarmRecord::Granted { .. }) => ["commit.before.grant", "commit.after.grant"],
        Event::Farm(FarmRecord::AttemptEnded { .. }) => ["commit.before.end", "commit.after.end"],
        Event::Settlement(SettlementRecord::Signed { .. }) => ["commit.before.sign", "commit.after.sign"],
        Event::Settlement(SettlementRecord::Mined { .. }) => ["commit.before.mined", "commit.after.mined"],
        Event::Settlement(SettlementRecord::Dropped { .. }) => {
            ["commit.before.dropped", "commit.after.dropped"]
        }
        Event::Settlement(SettlementRecord::Finalised { .. }) => {
            ["commit.before.final", "commit.after.final"]
        }
        Event::Opened { .. } | Event::Farm(_) | Event::Settlement(_) | Event::Intake(_) | Event::Ops(_) => {
            return None;
        }
    })
}
