//! Real proving children: this program starts itself as a child that proves, crashes, hangs, lies or babbles.
//!
//! It has no test harness of the usual kind, because that would print to the stdout that belongs to the protocol.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[cfg(unix)]
mod ends;
#[cfg(unix)]
mod fixture;
#[cfg(unix)]
mod odd;
#[cfg(unix)]
mod proofs;

#[cfg(unix)]
type Test = (&'static str, fn());

/// Lists functions as tests, by their names.
#[cfg(unix)]
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as fn())),*] };
}

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, arguments @ ..] = &arguments[..]
        && role == odd::ROLE
    {
        return odd::play(arguments);
    }
    // The filters of `cargo test -- FILTER`; its options mean nothing here.
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter));
    let tests: Vec<&Test> =
        [proofs::TESTS, ends::TESTS].into_iter().flatten().filter(|test| wanted(test.0)).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return std::process::ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", tests.len());
    let mut failed: Vec<&str> = Vec::new();
    for (name, test) in tests {
        let passed = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed.extend((!passed).then_some(*name));
    }
    if failed.is_empty() {
        return std::process::ExitCode::SUCCESS;
    }
    println!("\nfailed: {failed:?}");
    std::process::ExitCode::FAILURE
}

#[cfg(not(unix))]
fn main() {}
