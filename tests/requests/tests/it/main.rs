//! What the fuzzer begins with, and what it found, without the fuzzer.

use std::collections::BTreeMap;
use std::path::Path;

use orderwire_requests::Requests;

#[test]
fn every_seed_of_the_fuzzer_is_answered() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/request");
    let requests = Requests::new();
    let mut answers: BTreeMap<u16, usize> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let status = requests.send(&std::fs::read(&path).unwrap()).expect("a seed is a request");
        *answers.entry(status.as_u16()).or_default() += 1;
    }
    // They reach the engines, and what is refused before.
    assert!(answers[&200] >= 20 && answers[&400] >= 5, "{answers:?}");
}
