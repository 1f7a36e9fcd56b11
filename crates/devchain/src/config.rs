//! Settings of a dev chain, and the funded accounts that everybody knows.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use revm::primitives::{Address, U256, address};

/// Chain id when none is given; the usual one of local chains.
pub const DEFAULT_CHAIN_ID: u64 = 31_337;

/// Gas in a block when nothing else is configured.
pub const DEFAULT_BLOCK_GAS_LIMIT: u64 = 60_000_000;

/// When blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mining {
    /// One block for each transaction that can run, before its sender gets an answer.
    Automine,
    /// One block every so often, empty or not.
    Interval(Duration),
    /// Only when asked to.
    Manual,
}

/// A dev account: its address, and its private key **which is public knowledge**.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevAccount {
    /// Address.
    pub address: Address,
    /// Private key as hexadecimal. PUBLICLY KNOWN: anyone can spend from it on any chain.
    pub private_key: &'static str,
}

/// The first accounts of the mnemonic `test test test test test test test test test test test junk`
/// (BIP-44 path `m/44'/60'/0'/0/i`), the ones other local chains fund too.
/// PUBLICLY KNOWN KEYS: never send anything of value to them.
pub const DEV_ACCOUNTS: [DevAccount; 10] = [
    DevAccount {
        address: address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
        private_key: "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    },
    DevAccount {
        address: address!("70997970C51812dc3A010C7d01b50e0d17dc79C8"),
        private_key: "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    },
    DevAccount {
        address: address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
        private_key: "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    },
    DevAccount {
        address: address!("90F79bf6EB2c4f870365E785982E1f101E93b906"),
        private_key: "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    },
    DevAccount {
        address: address!("15d34AAf54267DB7D7c367839AAf71A00a2C6A65"),
        private_key: "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    },
    DevAccount {
        address: address!("9965507D1a55bcC2695C58ba16FB37d819B0A4dc"),
        private_key: "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    },
    DevAccount {
        address: address!("976EA74026E726554dB657fA54763abd0C3a0aa9"),
        private_key: "92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    },
    DevAccount {
        address: address!("14dC79964da2C08b23698B3D3cc7Ca32193d9955"),
        private_key: "4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    },
    DevAccount {
        address: address!("23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f"),
        private_key: "dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    },
    DevAccount {
        address: address!("a0Ee7A142d267C1f36714E4a8F75612F20a79720"),
        private_key: "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
    },
];

/// Settings of a dev chain.
#[derive(Clone, Debug)]
pub struct Config {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// When blocks are made at start; `evm_setAutomine` and `evm_setIntervalMining` change it until the next start.
    pub mining: Mining,
    /// Folder that keeps the chain over restarts; `None` keeps it in memory only.
    pub data_dir: Option<PathBuf>,
    /// Accounts and their balance in wei in the genesis block.
    pub accounts: Vec<(Address, U256)>,
    /// Gas in a block.
    pub block_gas_limit: u64,
    /// How many blocks `finalized` and `safe` stay behind the head.
    pub finality_depth: u64,
    /// Address to listen on. Loopback by default: everybody who can reach it controls the chain.
    pub bind: IpAddr,
    /// Port to listen on, 0 for any free one.
    pub port: u16,
}

impl Default for Config {
    fn default() -> Self {
        let balance = U256::from(10_000u64) * U256::from(10u64).pow(U256::from(18u64));
        Self {
            chain_id: DEFAULT_CHAIN_ID,
            mining: Mining::Automine,
            data_dir: None,
            accounts: DEV_ACCOUNTS.iter().map(|account| (account.address, balance)).collect(),
            block_gas_limit: DEFAULT_BLOCK_GAS_LIMIT,
            finality_depth: 2,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
        }
    }
}
