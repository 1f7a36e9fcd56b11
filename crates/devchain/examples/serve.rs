//! Serves a dev chain until it is killed: `serve [data folder] [port]`. The first line printed is its URL.

use std::path::PathBuf;

use devchain::{Config, DevChain};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let data_dir = args.next().filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let port = args.next().map_or(Ok(0), |port| port.parse())?;
    let chain = DevChain::start(Config { data_dir, port, ..Config::default() }).await?;
    println!("{}", chain.url());
    tokio::signal::ctrl_c().await?;
    chain.shutdown().await?;
    Ok(())
}
