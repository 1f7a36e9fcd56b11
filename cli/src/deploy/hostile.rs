//! Files that lie, of every kind that an operator is handed or that is read at a start: deployment, settings, journal, keys and
//! tokens. What is accepted is what its type promises.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use api::token::AdminToken;
use circuits::shape::Shape;
use protocol::{
    ecdsa::OperatorKey,
    l1::{Fees, SignedTx},
};
use testbed::bend::{Dice, Noting, Suite};

use super::{Deployment, file::Circuit, journal::Journal, read_key, settings};

#[global_allocator]
static ALLOCATOR: Noting = Noting;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Deployment,
    Settings,
    Journal,
    DeployerKey,
    OperatorKey,
    AdminToken,
}

const CHAIN: u64 = 31_337;
const DEPLOYER: [u8; 20] = [0x11; 20];

fn seeds() -> Vec<(Kind, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let circuits =
        [Shape::S3M1, Shape::S14M2].map(|shape| Circuit::new(shape, &[3; 32], &[4; 32], true)).to_vec();
    Deployment::new(CHAIN, &[1; 20], 7, &DEPLOYER, &[5; 32], circuits).write(&path).unwrap();
    let deployment = fs::read(&path).unwrap();
    let mut journal = Journal::begin(path.clone(), CHAIN, &DEPLOYER, 5, b"code");
    for fee in [10, 20] {
        let fees = Fees { max_fee: fee, max_priority: 1 };
        journal.add(&SignedTx { raw: vec![2; 90], hash: [fee as u8; 32], nonce: 5, fees }).unwrap();
    }
    let settings = format!(
        "operator = \"0x{}\"\npromise_signers = [\"0x{}\"]\n{}",
        "22".repeat(20),
        "33".repeat(20),
        settings::explained()
    );
    let key = format!("0x{}\n", "01".repeat(32)).into_bytes();
    vec![
        (Kind::Deployment, deployment),
        (Kind::Settings, settings.into_bytes()),
        (Kind::Journal, fs::read(&path).unwrap()),
        (Kind::DeployerKey, key.clone()),
        (Kind::OperatorKey, key),
        (Kind::AdminToken, "5a".repeat(32).into_bytes()),
    ]
}

fn read(kind: Kind, bytes: &[u8], folder: &Path) -> bool {
    let path = &folder.join("bent");
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    match kind {
        Kind::Deployment => Deployment::read(path).is_ok_and(|deployment| {
            assert!(deployment.contract().is_ok() && !deployment.circuits.is_empty());
            deployment.write(path).unwrap();
            assert_eq!(Deployment::read(path).unwrap(), deployment);
            true
        }),
        Kind::Settings => settings::read(path, DEPLOYER).is_ok(),
        Kind::Journal => Journal::find(path, CHAIN, &DEPLOYER, b"code").is_ok_and(|found| {
            let Some(journal) = found else { return false };
            journal.transactions().is_ok_and(|transactions| {
                assert!(!transactions.is_empty());
                true
            })
        }),
        Kind::DeployerKey => read_key(path).is_ok(),
        Kind::OperatorKey => OperatorKey::from_file(path).is_ok(),
        Kind::AdminToken => AdminToken::at(path).is_ok(),
    }
}

#[test]
fn no_file_however_bent_makes_a_command_panic_hang_or_take_memory() {
    let bent = |_, _: &mut Vec<u8>, _: &mut Dice| {};
    Suite { what: "operator", seeds: &seeds(), few: 3_000 }
        .run(bent, |kind, bytes, folder, _| read(kind, bytes, folder));
}
