//! The code in `docs/webhooks.md` verifies what the forwarder signs, and nothing else.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use orderwire_forwarder::Signer;

use crate::world::{KEY, secret};

/// Another secret than the one that signs.
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const ID: &str = "0190a6c8-0000-7000-8000-000000000001";
const BODY: &str = r#"{"specversion":"1.0","data":{"text":"für 9007199254740993"}}"#;

/// The block of the page in this language.
fn snippet(language: &str) -> String {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/webhooks.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(&format!("\n```{language}\n")).unwrap();
    rest.split_once("\n```\n").unwrap().0.to_owned()
}

/// Runs a program; what it prints. None where the interpreter is missing.
fn printed(interpreter: &str, flag: &str, program: &str) -> Option<String> {
    let mut command = Command::new(interpreter);
    command.args([flag, program]).stdin(Stdio::null());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(std::env::var_os("CI").is_none(), "CI needs {interpreter}");
            eprintln!("SKIPPED: there is no {interpreter} on this machine");
            return None;
        }
        Err(error) => panic!("{interpreter}: {error}"),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// What is verified: the secret, the age of the attempt in seconds, the body, and whether
/// it has to pass.
const CASES: [(&str, i64, &str, bool); 6] = [
    (KEY, 0, BODY, true),
    (KEY, 200, BODY, true),
    (OTHER, 0, BODY, false),
    (KEY, 0, "{}", false),
    (KEY, 600, BODY, false),
    (KEY, -600, BODY, false),
];

fn check(interpreter: &str, flag: &str, language: &str, call: impl Fn(&str, &str, &str, &str) -> String) {
    let snippet = snippet(language);
    for (of, age, body, passes) in CASES {
        let timestamp = jiff::Timestamp::now().as_second() - age;
        // While a secret is changed both sign.
        let signer = Signer::new(&[secret("another secret, of 24 bytes or more"), secret(KEY)]).unwrap();
        let signature = signer.sign(ID, timestamp, BODY.as_bytes());
        let program = format!("{snippet}\n{}", call(of, &timestamp.to_string(), &signature, body));
        let Some(printed) = printed(interpreter, flag, &program) else { return };
        assert_eq!(printed.trim().to_lowercase(), passes.to_string(), "{of} {age} {body}:\n{program}");
    }
}

#[test]
fn the_python_of_the_page_verifies() {
    check("python3", "-c", "python", |of, timestamp, signature, body| {
        format!(
            "print(verify({of:?}, {{'webhook-id': {ID:?}, 'webhook-timestamp': {timestamp:?}, \
             'webhook-signature': {signature:?}}}, {body:?}.encode()))"
        )
    });
}

#[test]
fn the_javascript_of_the_page_verifies() {
    check("node", "-e", "js", |of, timestamp, signature, body| {
        format!(
            "console.log(verify({of:?}, {{'webhook-id': {ID:?}, 'webhook-timestamp': {timestamp:?}, \
             'webhook-signature': {signature:?}}}, Buffer.from({body:?})))"
        )
    });
}
