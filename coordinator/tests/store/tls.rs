//! Encrypted connections, with a certificate authority of the test's own.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use store::{PostgresSettings, PostgresStore, StoreError};
use testbed::postgres::{Postgres, Settings};

use crate::fixtures::{commit, count, settings, term};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

struct World {
    folder: tempfile::TempDir,
    server: Postgres,
}

impl World {
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn connect(&self, ca_file: Option<PathBuf>, url: &str) -> Result<PostgresStore, StoreError> {
        PostgresStore::connect(PostgresSettings { ca_file, ..settings(url, "one") })
    }
}

/// A server whose certificate, for `name`, the authority signed.
fn world(authority: &Authority, name: &str) -> World {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    let (crt, pem) = (folder.path().join("crt"), folder.path().join("key"));
    fs::write(&crt, certificate.pem()).unwrap();
    fs::write(&pem, key.serialize_pem()).unwrap();
    let server =
        Postgres::start_private(Settings { fsync: false, tls: Some((crt, pem)), ..Settings::default() })
            .unwrap();
    World { folder, server }
}

#[test]
fn a_server_whose_authority_is_named_is_believed_and_everything_is_encrypted() {
    let authority = authority();
    let world = world(&authority, "localhost");
    let ca = world.file("ca.pem", &authority.pem());
    for mode in ["require", "verify-full"] {
        let url = format!("{}?sslmode={mode}", world.server.tcp_url().unwrap());
        let mut store = world.connect(Some(ca.clone()), &url).unwrap();
        assert!(term(&mut store).is_some());
        let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name LIKE 'proofmill %' AND NOT ssl";
        assert_eq!(count(&world.server.url(), plain), 0);
        if mode == "require" {
            commit(&mut store, 1).unwrap();
        }
    }
}

#[test]
fn a_server_of_another_authority_or_of_another_name_is_refused() {
    let authority = authority();
    let good = world(&authority, "localhost");
    let url = |world: &World| format!("{}?sslmode=verify-full", world.server.tcp_url().unwrap());
    let strange = good.file("strange.pem", &self::authority().pem());
    let named = good.file("ca.pem", &authority.pem());
    for ca in [Some(strange), None] {
        let refused = good.connect(ca, &url(&good)).err();
        assert!(matches!(refused, Some(StoreError::Settings(_))), "{refused:?}");
    }
    let elsewhere = world(&authority, "db.example");
    let refused = elsewhere.connect(Some(named), &url(&elsewhere)).err();
    assert!(matches!(refused, Some(StoreError::Settings(_))), "{refused:?}");
    let empty = good.file("empty.pem", "");
    assert!(matches!(good.connect(Some(empty), &url(&good)).err(), Some(StoreError::Settings(_))));
}
