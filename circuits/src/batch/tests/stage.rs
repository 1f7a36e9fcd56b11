//! Batches of s3m1 in which every kind of slot stands, and every outcome of a forced one.

use std::sync::Arc;

use bn254::Fr;

use super::scene::{Layout, Scene};
use crate::{
    batch::{Mint, Prepared},
    fixture::{Fixture, Operation, Wallet},
    leaf::CoinRange,
    shape::Shape,
};

/// Where the batches of the scenes start: behind places that stay empty, so that a level of their path has four empty nodes, and
/// on a digit whose higher bit is set.
pub const START: u64 = 128;

/// Leaves of Alice at 3, 11 and 19, of Bob at 7 and 15; nothing at 20.
pub struct Stage {
    pub fixture: Fixture,
    pub alice: Wallet,
    pub bob: Wallet,
    pub layout: Arc<Layout>,
}

pub fn coins(low: u64, high: u64) -> CoinRange {
    CoinRange::new(low, high).unwrap()
}

impl Stage {
    pub fn new() -> Self {
        Self::of(Shape::S3M1)
    }

    /// The same tree for a batch of another circuit.
    pub fn of(shape: Shape) -> Self {
        let mut fixture = Fixture::new(Fr::from(77));
        let (alice, bob) = (fixture.wallet(1), fixture.wallet(2));
        for (account, low, high) in [
            (alice.account, 1, 100),
            (bob.account, 101, 150),
            (alice.account, 151, 200),
            (bob.account, 201, 260),
            (alice.account, 261, 300),
        ] {
            fixture.batch(Shape::S3M1, &[], &[Mint { account, range: coins(low, high) }]);
        }
        fixture.next = START;
        Self { fixture, alice, bob, layout: Arc::new(Layout::new(shape)) }
    }

    pub fn scene(&self, name: &'static str, operations: &[Operation], mints: &[Mint]) -> Scene {
        let batch = Prepared::new(self.fixture.clone().batch(self.layout.shape, operations, mints)).unwrap();
        assert_eq!(batch.check_signatures(), Ok(()), "{name}");
        Scene::new(name, &self.layout, &self.fixture, batch)
    }

    pub fn mint(&self) -> Mint {
        Mint { account: self.alice.account, range: coins(301, 400) }
    }

    pub fn scenes(&self) -> Vec<Scene> {
        let (a, b) = (self.alice.account, self.bob.account);
        let send = |index, split, recipient| Operation::Send { index, split, recipient };
        let withdraw = |index, split| Operation::Withdraw { index, split };
        let exit = |index, account| Operation::Exit { index, account };
        let rekey = |index, account, new_account| Operation::Rekey { index, account, new_account };
        let noop = Operation::Noop;
        let mint = [self.mint()];
        vec![
            self.scene("no-ops and a mint", &[], &mint),
            self.scene("nothing at all", &[], &[]),
            self.scene(
                "sends with and without change",
                &[send(3, 10, b), send(7, 150, a), send(11, 160, b)],
                &[],
            ),
            self.scene(
                "a chain of sends",
                &[send(3, 30, b), send(START, 20, a), send(START + 1, 20, b)],
                &mint,
            ),
            self.scene("withdrawals", &[withdraw(3, 10), withdraw(7, 150), withdraw(11, 170)], &[]),
            self.scene("an exit that hits", &[send(11, 160, b), noop, exit(3, a)], &mint),
            self.scene("an exit of another's leaf", &[noop, withdraw(7, 120), exit(3, b)], &[]),
            self.scene("an exit of an empty place", &[noop, noop, exit(20, b)], &[]),
            self.scene("a re-key that hits", &[noop, send(15, 210, a), rekey(7, b, a)], &[]),
            self.scene("a re-key of another's leaf", &[withdraw(15, 260), noop, rekey(7, a, b)], &mint),
            self.scene("a re-key of an empty place", &[noop, noop, rekey(20, a, b)], &[]),
        ]
    }
}
