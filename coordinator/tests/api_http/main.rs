//! The API over real HTTP: the protocol to the letter, every bad input, limits, the committed schema, the client.

#![allow(clippy::unwrap_used)]

mod client;
mod depth;
mod double;
mod fuzz;
mod harness;
mod inputs;
mod limits;
mod protocol;
mod queries;
mod shape;
mod site;
