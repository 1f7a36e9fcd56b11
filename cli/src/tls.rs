//! Whom `https://` addresses are trusted by: the same flag for every command that speaks to a node or an API.

use std::path::PathBuf;

use clap::Args;
use l1::http::{Endpoint, TlsOptions};

#[derive(Args, Clone, Default)]
pub struct Trust {
    /// PEM certificates of authorities that https:// servers may have theirs from, beside those the system knows
    #[arg(long = "ca", value_name = "FILE", global = true, env = "PROOFMILL_CA")]
    pub ca_file: Option<PathBuf>,
}

impl Trust {
    pub fn options(&self) -> TlsOptions {
        TlsOptions { ca_file: self.ca_file.clone(), identity: None }
    }

    pub fn endpoint(&self, url: &str) -> Endpoint {
        Endpoint::new(url, self.options())
    }
}
