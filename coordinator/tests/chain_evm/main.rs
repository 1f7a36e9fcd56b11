//! The EVM adapter on real chains, and against nodes that misbehave.
//!
//! | promise | tests |
//! |---|---|
//! | what the contract says arrives complete | [`scenarios`], on npm's anvil and on the dev chain |
//! | what a node says wrongly is an error with a sentence, never a panic, a guess or a gap | [`misbehaviour`] |
//! | whatever a node answers, a call ends in time and in bounds | [`hostile`] |
//! | numbers at the limits of their types harm nothing | [`limits`] |
//! | a remote signer is asked and not believed | [`signer`] |
//! | over `https://` only servers with a good certificate are spoken to | [`tls`] |
//! | whatever a reorganisation drops or moves, all that was accepted becomes final | [`reorg`] |
//! | keys that everybody knows sign nothing on a real chain | [`real_chain`] |

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod fake;
mod hostile;
mod limits;
mod mill;
mod misbehaviour;
mod real_chain;
mod reorg;
mod scenarios;
mod settling;
mod signer;
mod tls;

macro_rules! on_both_chains {
    ($($scenario:ident),* $(,)?) => {
        mod on_anvil {
            $(#[tokio::test]
            async fn $scenario() {
                crate::scenarios::$scenario(testbed::chain::Backend::Anvil).await;
            })*
        }

        mod on_devchain {
            $(#[tokio::test]
            async fn $scenario() {
                crate::scenarios::$scenario(testbed::chain::Backend::DevChain).await;
            })*
        }
    };
}

on_both_chains! {
    a_deployment_with_all_circuits_fits_into_one_transaction,
    a_deposit_arrives_with_every_field_and_is_minted_by_a_batch,
    what_the_contract_would_refuse_is_told_before_anything_is_signed,
    a_withdrawal_is_credited_and_collected_once,
    forced_requests_arrive_and_are_answered,
    a_key_epoch_can_only_rise,
    a_transaction_that_waits_is_replaced_by_one_that_pays_more,
    several_batches_go_in_one_transaction_and_a_second_one_builds_on_it,
    our_estimate_of_gas_is_above_the_chains,
    blocks_become_final_by_confirmations,
    fees_pay_for_the_next_block,
    an_account_without_ether_is_told_so,
}
