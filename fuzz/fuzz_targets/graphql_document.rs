//! The text of a GraphQL document: bounded, parsed and measured, on the stack that a server's thread has.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = api::check_document(text);
});
