//! Why a coordinator cannot do all that it should.
//!
//! Ready means: it can accept an operation, prove it and settle it within the promised deadline. Every reason against that
//! is told, each with a code that stays. Each part has a function here: `of_store`, `of_queue`, `of_chain`, `of_promises`,
//! `of_farm`.
//!
//! What an operator should know but does not keep it from working is in `warnings`.

use api::service::Reason;
use sequencer::{farm::Load, state::State};

use super::Status;
use crate::explain::seconds;

/// What the state says against new operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub paused: bool,
    /// Batches that nobody could prove.
    pub stuck: Vec<u32>,
    /// What the farm has to do; nothing where it does not count.
    pub load: Option<Load>,
}

pub(super) fn trouble(state: &State) -> Trouble {
    let stuck = state.farm().stuck().map(|(batch_no, ..)| batch_no).collect();
    Trouble { paused: state.paused(), stuck, load: Some(state.load(state.farm().counted_at())) }
}

fn reason(code: &'static str, text: impl Into<String>) -> Reason {
    Reason { code, text: text.into() }
}

/// Everything against being ready. `trouble`: what the state says; nothing if the loop does not answer in time.
pub fn reasons(status: &Status, draining: bool, stuck: bool, trouble: Option<&Trouble>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    reasons.extend(status.fatal.as_ref().map(|fatal| reason("STOPPED", fatal)));
    if stuck {
        reasons.push(reason(
            "LOOP_STUCK",
            "the coordinator's loop does not turn; restart it, and report it with its log",
        ));
    }
    if draining {
        reasons.push(reason("DRAINING", "it is draining: it takes no new operations and ends"));
    }
    of_store(status, &mut reasons);
    of_queue(status, &mut reasons);
    of_chain(status, &mut reasons);
    match trouble {
        Some(trouble) => {
            of_promises(trouble, &mut reasons);
            of_farm(trouble, &mut reasons);
        }
        None if reasons.is_empty() => {
            reasons.push(reason(
                "LOOP_BUSY",
                "the coordinator's loop does not answer in time; it is overloaded",
            ));
        }
        None => {}
    }
    reasons
}

fn of_queue(status: &Status, reasons: &mut Vec<Reason>) {
    let takes = status.queue_unreachable.as_ref();
    reasons.extend(takes.map(|why| reason("QUEUE_AWAY", format!("the queue does not take jobs: {why}"))));
    let gives = status.events_unreachable.as_ref().filter(|why| takes != Some(*why));
    reasons
        .extend(gives.map(|why| reason("QUEUE_AWAY", format!("the queue's events cannot be read: {why}"))));
}

fn of_store(status: &Status, reasons: &mut Vec<Reason>) {
    let away = status.store_unreachable.as_ref();
    reasons.extend(away.map(|away| reason("STORE_AWAY", format!("the store does not answer: {away}"))));
    reasons.extend(status.store_refuses.as_ref().map(|why| reason("STORE_REFUSES", why)));
    reasons.extend(status.clock.as_ref().map(|why| reason("CLOCK", why)));
}

fn of_chain(status: &Status, reasons: &mut Vec<Reason>) {
    let Status { chain_unreachable, intake_unreachable, intake_alarm, settlement_alarm, halted, .. } = status;
    reasons.extend(chain_unreachable.as_ref().map(|why| reason("CHAIN_UNREACHABLE", why)));
    let intake = intake_unreachable.as_ref().filter(|why| chain_unreachable.as_ref() != Some(*why));
    reasons.extend(intake.map(|why| reason("INTAKE_UNREACHABLE", format!("deposits cannot be read: {why}"))));
    reasons.extend(intake_alarm.as_ref().map(|why| reason("INTAKE_STOPPED", why)));
    reasons.extend(settlement_alarm.as_ref().map(|why| reason("SETTLEMENT", why)));
    let halted = halted.as_ref().filter(|halted| settlement_alarm.as_ref() != Some(*halted));
    reasons.extend(halted.map(|why| reason("HALTED", why)));
}

fn of_promises(trouble: &Trouble, reasons: &mut Vec<Reason>) {
    if trouble.paused {
        reasons.push(reason("PAUSED", "an operator has paused new operations; `ops resume` ends it"));
    }
}

/// Whether what is accepted can be proven in time.
fn of_farm(trouble: &Trouble, reasons: &mut Vec<Reason>) {
    if !trouble.stuck.is_empty() {
        let batches: Vec<String> = trouble.stuck.iter().map(u32::to_string).collect();
        let text = format!(
            "batches {} could not be proved; find out why (`ops explain`), then requeue them",
            batches.join(", ")
        );
        reasons.push(reason("UNPROVED", text));
    }
    reasons.extend(trouble.load.as_ref().filter(|load| !load.is_in_time()).map(too_much));
}

/// What does not keep it from working. `load`: what the farm has to do, if that is known.
pub fn warnings(status: &Status, load: Option<&Load>) -> Vec<Reason> {
    let clock = status.clock_alarm.as_ref().filter(|alarm| status.clock.as_ref() != Some(*alarm));
    let told =
        [("NODE", status.node_alarm.as_ref()), ("MARK", status.mark_alarm.as_ref()), ("CLOCK_JUMPED", clock)];
    let told = told.into_iter().filter_map(|(code, text)| Some(reason(code, text?)));
    told.chain(load.filter(|load| load.is_in_time() && !load.needs_no_more()).map(too_much)).collect()
}

/// What the farm has to do, where its workers cannot do it in time.
fn too_much(load: &Load) -> Reason {
    let Load { jobs, workers, within_ms, .. } = load;
    let awaited = match load.is_in_time() {
        true => "; more workers are expected (--scale-from-zero)",
        false => "; nothing new is promised meanwhile: start workers",
    };
    match load.alive_ms {
        None if *workers == 0 => {
            reason("NO_WORKER", format!("no worker is alive, and {jobs} batches wait{awaited}"))
        }
        None => {
            let text = format!("none of {workers} workers can prove a circuit that is needed{awaited}");
            reason("NO_WORKER", text)
        }
        Some(ms) => {
            let (needed, within) = (seconds(ms), seconds(*within_ms));
            let text = format!(
                "{workers} workers need {needed} for {jobs} batches, which are to be proven within {within}{awaited}"
            );
            reason("BACKLOG", text)
        }
    }
}

#[cfg(test)]
mod tests {
    use api::service::REASONS;

    use super::*;

    #[test]
    fn every_reason_is_told_not_the_first_alone() {
        let status = Status {
            store_unreachable: Some("connection refused".to_owned()),
            store_refuses: Some("no room".to_owned()),
            queue_unreachable: Some("refused".to_owned()),
            clock: Some("apart".to_owned()),
            chain_unreachable: Some("no node".to_owned()),
            intake_alarm: Some("a deposit is gone".to_owned()),
            settlement_alarm: Some("too dear".to_owned()),
            halted: Some("not listed".to_owned()),
            node_alarm: Some("it contradicts".to_owned()),
            mark_alarm: Some("Redis is away".to_owned()),
            ..Status::default()
        };
        let trouble = Trouble { paused: true, stuck: vec![7, 9], load: None };
        let told = reasons(&status, true, true, Some(&trouble));
        let codes: Vec<&str> = told.iter().map(|reason| reason.code).collect();
        let expected = [
            "LOOP_STUCK",
            "DRAINING",
            "STORE_AWAY",
            "STORE_REFUSES",
            "CLOCK",
            "QUEUE_AWAY",
            "CHAIN_UNREACHABLE",
            "INTAKE_STOPPED",
            "SETTLEMENT",
            "HALTED",
            "PAUSED",
            "UNPROVED",
        ];
        assert_eq!(codes, expected);
        assert!(codes.iter().all(|code| REASONS.contains(code)), "a code has no gauge");
        assert!(told[11].text.contains("7, 9"));
        let codes: Vec<&str> = warnings(&status, None).iter().map(|reason| reason.code).collect();
        assert_eq!(codes, ["NODE", "MARK"]);
    }

    #[test]
    fn a_farm_that_is_late_is_a_reason_and_one_that_scales_a_warning() {
        let status = Status::default();
        let told = |load: Load| {
            let trouble = Trouble { load: Some(load), ..Trouble::default() };
            let codes = |reasons: Vec<Reason>| reasons.iter().map(|reason| reason.code).collect::<Vec<_>>();
            (
                codes(reasons(&status, false, false, Some(&trouble))),
                codes(warnings(&status, trouble.load.as_ref())),
            )
        };
        let load = Load { jobs: 1, workers: 1, alive_ms: Some(1_000), scaled_ms: None, within_ms: 1_000 };
        assert_eq!(told(load), (vec![], vec![]));
        assert_eq!(told(Load { alive_ms: Some(1_001), ..load }), (vec!["BACKLOG"], vec![]));
        let none = Load { workers: 0, alive_ms: None, ..load };
        assert_eq!(told(none), (vec!["NO_WORKER"], vec![]));
        assert_eq!(told(Load { scaled_ms: Some(900), ..none }), (vec![], vec!["NO_WORKER"]));
        assert_eq!(told(Load { scaled_ms: Some(1_100), ..none }), (vec!["NO_WORKER"], vec![]));
        assert!(["NO_WORKER", "BACKLOG"].iter().all(|code| REASONS.contains(code)));
    }

    #[test]
    fn one_that_is_well_has_no_reason_and_one_that_does_not_answer_has() {
        let well = Status::default();
        assert_eq!(reasons(&well, false, false, Some(&Trouble::default())), []);
        assert_eq!(reasons(&well, false, false, None)[0].code, "LOOP_BUSY");
    }
}
