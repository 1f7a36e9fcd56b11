//! What must be there before a coordinator starts.
//!
//! Invariant: everything is looked at before anything is said, so that an operator learns at once of all that is missing, one
//! line each, with what to do. Nothing is changed but the schema of the database.

use std::{
    fmt::Display,
    fs,
    net::{SocketAddr, TcpListener},
};

use ::store::{Store, StoreError};
use circuits::shape::Shape;
use eyre::{WrapErr, bail};
use gpu_worker::key_path;
use l1::{
    http::Endpoint,
    node::{AccountKey, Contract},
};
use protocol::{Address, l1::ChainError};
use queue::{QueueError, redis::ping};

use super::{KEY_VARIABLE, Options, store};
use crate::{
    deploy::{Deployment, no_keys},
    sentence,
    ui::hex,
};

/// What was found.
pub struct Found {
    pub operator_key: String,
    pub rpc: Vec<Endpoint>,
    pub place: Place,
    /// Nothing while the database does not answer: then it is waited for.
    pub store: Option<Box<dyn Store>>,
}

/// Where the contract is, and what it was deployed with.
pub struct Place {
    pub contract: Address,
    pub first_block: u64,
    pub shapes: Vec<Shape>,
    /// What the file says, if it comes from one.
    pub file: Option<Deployment>,
}

/// What is missing so far.
#[derive(Default)]
struct Missing(Vec<String>);

impl Missing {
    fn note(&mut self, what: &str, problem: impl Display) {
        self.0.push(format!("{what}: {problem}"));
    }

    fn take<T>(&mut self, what: &str, found: eyre::Result<T>) -> Option<T> {
        found.map_err(|error| self.note(what, sentence(&error))).ok()
    }
}

/// # Errors
/// Names all that is missing.
pub async fn look(options: &Options) -> eyre::Result<Found> {
    let mut missing = Missing::default();
    missing.take(
        "data directory",
        fs::create_dir_all(&options.data_dir)
            .wrap_err_with(|| format!("cannot make {}; pass another --data-dir", options.data_dir.display())),
    );
    let operator_key = missing.take("operator key", operator_key(options));
    let place = missing.take("contract", place(options));
    let rpc: Vec<Endpoint> = options.rpc.iter().map(|url| options.trust.endpoint(url)).collect();
    if rpc.is_empty() {
        missing.note("node", "pass --rpc URL or set PROOFMILL_RPC");
    }
    if let Some(place) = &place {
        let folder = options.keys_dir();
        let without = |shape: &&Shape| !key_path(&folder, **shape).exists();
        let names: Vec<&str> = place.shapes.iter().filter(without).map(|shape| shape.name()).collect();
        if !names.is_empty() {
            missing.note("keys", no_keys(&names, &folder));
        }
    }
    if let Some(place) = place.as_ref().filter(|_| !rpc.is_empty()) {
        let signer = options
            .operator_address
            .or_else(|| AccountKey::from_hex(operator_key.as_deref()?).map(|key| key.address()).ok());
        on_chain(&mut missing, &rpc, place, signer).await;
    }
    if options.no_local_worker && options.redis.redis_url.is_none() {
        missing.note("workers", "nothing would be proved: with --no-local-worker pass --redis-url");
    }
    let mut redis_away = None;
    if options.redis.redis_url.is_some() {
        let asked = async { eyre::Ok(ping(&options.redis.settings("")?).await?) };
        match asked.await {
            Ok(_) => {}
            Err(error) => match error.downcast_ref::<QueueError>() {
                // An outage, not a mistake: it is waited for if all else is there.
                Some(QueueError::Unreachable(_)) => redis_away = Some(sentence(&error)),
                _ => missing.note("redis", sentence(&error)),
            },
        }
    }
    missing.take("port", is_free(SocketAddr::new(options.bind, options.port), "--port"));
    missing.take("port", is_free(options.admin, "--admin"));
    let store = database(&mut missing, options).await?;
    if let Some(away) = redis_away.filter(|_| !missing.0.is_empty()) {
        missing.note("redis", away);
    }
    if let (true, Some(operator_key), Some(place)) = (missing.0.is_empty(), operator_key, place) {
        return Ok(Found { operator_key, rpc, place, store });
    }
    match missing.0.as_slice() {
        [only] => bail!("{only}"),
        all => bail!("{} things are missing:\n  - {}", all.len(), all.join("\n  - ")),
    }
}

fn operator_key(options: &Options) -> eyre::Result<String> {
    let text = match (&options.operator_key, std::env::var(KEY_VARIABLE)) {
        (Some(file), _) => {
            fs::read_to_string(file).wrap_err_with(|| format!("cannot read {}", file.display()))?
        }
        (None, Ok(key)) => key,
        (None, Err(_)) => bail!("pass --operator-key FILE or set {KEY_VARIABLE}"),
    };
    AccountKey::from_hex(&text)?;
    Ok(text.trim().to_owned())
}

fn place(options: &Options) -> eyre::Result<Place> {
    if let Some(path) = &options.deployment {
        let file = Deployment::read(path)?;
        return Ok(Place {
            contract: file.contract()?,
            first_block: file.first_block,
            shapes: file.circuits.iter().map(|circuit| circuit.name).collect(),
            file: Some(file),
        });
    }
    let (Some(contract), Some(first_block)) = (options.contract, options.first_block) else {
        bail!("pass --deployment FILE, which `proofmill deploy` writes, or --contract and --first-block");
    };
    Ok(Place { contract, first_block, shapes: options.circuits.clone(), file: None })
}

/// Whether every node that answers is of the deployment's chain and has the contract; and whether that has these circuits
/// and this operator, by the first of them.
async fn on_chain(missing: &mut Missing, rpc: &[Endpoint], place: &Place, signer: Option<Address>) {
    let (mut first, mut away) = (None, Vec::new());
    for node in rpc {
        let what = if rpc.len() > 1 { format!("node {}", node.host()) } else { "node".to_owned() };
        match Contract::open(node.clone(), place.contract).await {
            // Of several, those that are away are asked again later.
            Err(error @ ChainError::Unreachable(_)) => away.push((what, error)),
            Err(error) => missing.note(&what, error),
            Ok((chain_id, contract)) => {
                let (expected, _) = first.get_or_insert((chain_id, contract));
                let (expected, whose) = match &place.file {
                    Some(file) => (file.chain_id, "the deployment"),
                    None => (*expected, "the first one"),
                };
                if chain_id != expected {
                    missing.note(&what, format!("it is of chain {chain_id}, {whose} of chain {expected}"));
                }
            }
        }
    }
    let Some((_, contract)) = first else {
        away.into_iter().for_each(|(what, error)| missing.note(&what, error));
        return;
    };
    let operator = missing.take("node", contract.operator().await.map_err(Into::into));
    if let Some((signer, operator)) = signer.zip(operator).filter(|(signer, operator)| signer != operator) {
        let (signer, operator) = (hex(&signer), hex(&operator));
        missing.note(
            "operator key",
            format!("it is of {signer}, the contract takes batches of {operator} only"),
        );
    }
    for shape in &place.shapes {
        if let Some(None) = missing.take("node", contract.circuit(shape.number()).await.map_err(Into::into)) {
            missing.note(
                "contract",
                format!("it does not know the circuit {shape}; leave it out of --circuits"),
            );
        }
    }
}

/// Whether this process can listen there.
///
/// # Errors
/// If not, with the flag that chooses another port.
pub fn is_free(address: SocketAddr, flag: &str) -> eyre::Result<()> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("{address} is taken by another process; pass another {flag}, or port 0 for any free one")
        }
        Err(error) => Err(error).wrap_err_with(|| format!("cannot listen on {address}; pass another {flag}")),
    }
}

/// The store; nothing if all that is wrong is that the database does not answer now, which is waited for.
async fn database(missing: &mut Missing, options: &Options) -> eyre::Result<Option<Box<dyn Store>>> {
    let (settings, data_dir) = (options.database.clone(), options.data_dir.clone());
    let opened = tokio::task::spawn_blocking(move || store::open(&settings, &data_dir)).await?;
    let problem = match opened {
        Ok(store) => return Ok(Some(store)),
        Err(error) => match error.downcast_ref::<StoreError>() {
            Some(StoreError::Unavailable(_)) if missing.0.is_empty() => return Ok(None),
            Some(StoreError::Unavailable(reason)) => {
                format!("PM-STORE-006: it does not answer ({reason}); start it, or correct --database-url")
            }
            _ => sentence(&error),
        },
    };
    missing.note("database", problem);
    Ok(None)
}
