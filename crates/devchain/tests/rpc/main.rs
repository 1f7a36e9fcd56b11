//! Drives a dev chain over HTTP, with transactions that an independent library signs.
//!
//! | scenario | what it pins down |
//! |---|---|
//! | `ethereum` | what every chain does: deploy, call, logs, reverts, fees, pool rules, snapshots, precompiles |
//! | `against_anvil` | the same observations from the anvil of npm, where it is installed |
//! | `reorg` | dropped blocks, returned transactions, finality, old states |
//! | `restart` | the log: restart, SIGKILL under load, torn ends, damage, the folder's lock |
//! | `decoding` | raw transactions from outside: no panic, only the canonical form |
//! | `hostile` | logs that lie: refused, or a chain that goes on |
//! | `wire` | JSON-RPC envelopes, batches, limits, web pages kept out |

mod against_anvil;
mod common;
mod contract;
mod decoding;
mod ethereum;
mod hostile;
mod reorg;
mod restart;
mod wire;
