//! One holder with a wallet file, a coordinator that can lie, a node that can swallow, and the real contract behind it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use client::holder::Holder;
use devchain::DEV_ACCOUNTS;
use protocol::{Address, ecdsa::OperatorKey, eip712::SigningDomain};
use serde_json::{Value, json};

use crate::{
    api::Coordinator,
    http::{Reply, serve},
    mill::{Mill, digest, runtime},
};

/// What happens to a call of the node.
pub enum Call {
    Pass,
    /// Answered so, and the node never hears of it.
    Instead(Reply),
    /// The node hears of it, and its answer is lost or becomes this.
    After(fn(Value) -> Reply),
}

type Rule = Box<dyn FnMut(&str, &Value) -> Call + Send>;

pub struct World {
    pub mill: Mill,
    pub api: Arc<Coordinator>,
    pub alice: Holder,
    pub bob: Holder,
    pub api_url: String,
    pub rpc_url: String,
    pub folder: tempfile::TempDir,
    rule: Arc<Mutex<Option<Rule>>>,
}

pub fn holder(account: usize, contract: Address) -> Holder {
    let key = OperatorKey::from_hex(DEV_ACCOUNTS[account].private_key).unwrap();
    Holder::new(key, SigningDomain { chain_id: 31_337, contract }, 0).unwrap()
}

/// Everything that was printed.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl World {
    /// Everything, and no wallet file yet.
    pub fn bare(digest: [u8; 32]) -> Self {
        let mill = Mill::start(digest);
        let (alice, bob) = (holder(1, mill.contract), holder(2, mill.contract));
        let api = Arc::new(Coordinator::new(&mill, &alice, &bob));
        let served = Arc::clone(&api);
        let api_url = serve(move |request| served.answer(&request));
        let rule: Arc<Mutex<Option<Rule>>> = Arc::default();
        let (rules, node) = (Arc::clone(&rule), mill.chain.url());
        let client = reqwest::Client::new();
        let rpc_url = serve(move |request| {
            let method = request["method"].as_str().unwrap_or_default().to_owned();
            let call = match &mut *rules.lock().unwrap() {
                Some(rule) => rule(&method, &request["params"]),
                None => Call::Pass,
            };
            if let Call::Instead(reply) = call {
                return with_id(reply, &request);
            }
            let asked = client.post(&node).json(&request);
            let answer: Value =
                runtime().block_on(async { asked.send().await.unwrap().json().await.unwrap() });
            match call {
                Call::After(reply) => with_id(reply(answer), &request),
                _ => Reply::Json(answer),
            }
        });
        let folder = tempfile::tempdir().unwrap();
        Self { mill, api, alice, bob, api_url, rpc_url, folder, rule }
    }

    /// With the wallet file of Alice.
    pub fn new() -> Self {
        let world = Self::bare(digest());
        let made = world.command(&["new"]).env("PROOFMILL_WALLET_KEY", DEV_ACCOUNTS[1].private_key).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", said(&made));
        world
    }

    pub fn node(&self, rule: impl FnMut(&str, &Value) -> Call + Send + 'static) {
        *self.rule.lock().unwrap() = Some(Box::new(rule));
    }

    pub fn honest_node(&self) {
        *self.rule.lock().unwrap() = None;
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proofmill"));
        command.current_dir(self.folder.path()).arg("wallet").args(arguments);
        command.args(["--api", &self.api_url, "--rpc", &self.rpc_url]);
        if !arguments.contains(&"--patience") {
            command.args(["--patience", "1"]);
        }
        command.env_remove("PROOFMILL_WALLET_KEY").env_remove("PROOFMILL_API").env_remove("PROOFMILL_RPC");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// What it says, whether it went well.
    pub fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(arguments).output().unwrap();
        let said = said(&output);
        assert!(!said.contains("panicked"), "{said}");
        (output.status.success(), said)
    }

    /// It must go well.
    pub fn does(&self, arguments: &[&str]) -> String {
        let (well, said) = self.run(arguments);
        assert!(well, "{arguments:?}: {said}");
        said
    }

    /// It must not, with this code.
    pub fn refuses(&self, arguments: &[&str], code: &str) -> String {
        let (well, said) = self.run(arguments);
        assert!(!well && said.contains(code), "{arguments:?} must be refused with {code}: {said}");
        said
    }

    pub fn entries(&self, shelf: &str) -> Vec<PathBuf> {
        entries(&self.folder.path().join("proofmill-wallet.d").join(shelf))
    }

    /// Forgets what the wallet wrote down.
    pub fn fresh_folder(&self) {
        for shelf in ["requests", "promises", "transactions", "evidence"] {
            for entry in self.entries(shelf) {
                std::fs::remove_file(entry).unwrap();
            }
        }
    }

    pub fn to_bob(&self) -> String {
        format!("0x{}", hex::encode(self.bob.address()))
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
    read.unwrap_or_default()
}

fn with_id(reply: Reply, request: &Value) -> Reply {
    match reply {
        Reply::Json(mut value) if value.get("jsonrpc").is_none() => {
            value["jsonrpc"] = json!("2.0");
            value["id"] = request["id"].clone();
            Reply::Json(value)
        }
        reply => reply,
    }
}

/// Waits until it is so.
pub fn until(what: &str, so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !so() {
        assert!(begun.elapsed().as_secs() < 60, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
