//! Any request to the query server.

#![no_main]

use std::cell::OnceCell;

use libfuzzer_sys::fuzz_target;
use orderwire_requests::Requests;

thread_local! {
    /// One for all requests; its folder stays behind, because libFuzzer ends the process.
    static REQUESTS: OnceCell<Requests> = const { OnceCell::new() };
}

fuzz_target!(|request: &[u8]| {
    // What it answers is looked at there.
    let _ = REQUESTS.with(|requests| requests.get_or_init(Requests::new).send(request));
});
