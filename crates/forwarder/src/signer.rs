//! Signatures after Standard Webhooks, symmetric (`v1`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use orderwire_config::SecretValue;
use sha2::Sha256;

/// What a key in its usual form begins with; base64 follows.
const SYMMETRIC: &[u8] = b"whsec_";
/// What a key for another kind of signature begins with.
const ASYMMETRIC: &[u8] = b"whsk_";
/// The shortest key, in bytes.
const KEY_MIN: usize = 24;

/// Signs with every key, so that whoever knows one of them can verify.
pub struct Signer {
    keys: Vec<Hmac<Sha256>>,
}

impl Signer {
    /// Signs with these secrets, each `whsec_` and base64, or the key's bytes themselves.
    ///
    /// # Errors
    /// What is wrong with which one, by its index, in plain words.
    pub fn new(secrets: &[SecretValue]) -> Result<Self, Vec<(usize, String)>> {
        let mut faults = Vec::new();
        let mut keys = Vec::with_capacity(secrets.len());
        for (index, secret) in secrets.iter().enumerate() {
            match key(secret.bytes()) {
                Ok(key) => keys.push(key),
                Err(fault) => faults.push((index, fault)),
            }
        }
        if faults.is_empty() { Ok(Self { keys }) } else { Err(faults) }
    }

    /// The value of `webhook-signature`: one signature per key, joined by spaces.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut signatures = String::new();
        for key in &self.keys {
            let mut mac = key.clone();
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            if !signatures.is_empty() {
                signatures.push(' ');
            }
            signatures.push_str("v1,");
            STANDARD.encode_string(mac.finalize().into_bytes(), &mut signatures);
        }
        signatures
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} keys)", self.keys.len())
    }
}

fn key(secret: &[u8]) -> Result<Hmac<Sha256>, String> {
    if secret.starts_with(ASYMMETRIC) {
        return Err("an asymmetric key (whsk_…) is not available in this version; use whsec_…".to_owned());
    }
    let decoded;
    let bytes = match secret.strip_prefix(SYMMETRIC) {
        Some(text) => {
            decoded = STANDARD
                .decode(text.trim_ascii_end())
                .map_err(|_| "what follows whsec_ is not base64; copy the secret as a whole".to_owned())?;
            decoded.as_slice()
        }
        None => secret,
    };
    if bytes.len() < KEY_MIN {
        let found = bytes.len();
        return Err(format!(
            "the secret has {found} bytes, {KEY_MIN} at least are needed; make one for example with: \
             echo whsec_$(openssl rand -base64 32)"
        ));
    }
    Ok(Hmac::new_from_slice(bytes).expect("a key for HMAC may have any length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A secret of this content, as a configuration gives it.
    fn secret(content: &[u8]) -> SecretValue {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, content).unwrap();
        let place = format!("file:{}", path.display());
        place.parse::<orderwire_config::Secret>().unwrap().resolve().unwrap()
    }

    /// The example of the specification and of its libraries.
    const KEY: &[u8] = b"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
    const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

    #[test]
    fn the_example_of_the_specification_is_signed_as_there() {
        let signer = Signer::new(&[secret(KEY)]).unwrap();
        assert_eq!(signer.sign(ID, 1_649_367_553, BODY), SIGNATURE);
    }

    #[test]
    fn every_secret_signs_in_its_order() {
        let signer = Signer::new(&[secret(&[7; 24]), secret(KEY)]).unwrap();
        let signatures = signer.sign(ID, 1_649_367_553, BODY);
        let (first, second) = signatures.split_once(' ').unwrap();
        assert_eq!(second, SIGNATURE);
        assert_eq!(first, Signer::new(&[secret(&[7; 24])]).unwrap().sign(ID, 1_649_367_553, BODY));
    }

    #[test]
    fn a_key_that_is_short_or_no_key_is_refused_by_its_place() {
        let secrets =
            [&b"whsec_AAAA"[..], KEY, b"whsec_???", b"whsk_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", &[b'x'; 23]];
        let faults = Signer::new(&secrets.map(secret)).unwrap_err();
        let places: Vec<usize> = faults.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [0, 2, 3, 4]);
        assert!(faults[0].1.contains("has 3 bytes") && faults[3].1.contains("has 23 bytes"), "{faults:?}");
        assert!(faults.iter().all(|(_, fault)| !fault.contains("AAAA") && !fault.contains("xxx")));
    }
}
