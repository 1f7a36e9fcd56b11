//! The body of a POST to `/graphql`: JSON, then the document in it, with its variables.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let _ = api::check_body(body);
});
