//! devchain
