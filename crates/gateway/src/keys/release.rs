//! Keys of releases: made for what runs, limited to what its product declares.

use orderwire_store::KeyRecord;
use orderwire_types::scope::Clients;
use orderwire_types::{Client, Right};

use super::text::{self, ID_DIGITS};
use super::{Error, ErrorKind, KeyRing, RELEASE_PREFIX};

impl KeyRing {
    /// Makes a key with this public id (16 hex digits), limited to the client, the
    /// rights and the objects, and returns its text, which is known here and never
    /// again. It is listed as `release NAME`.
    ///
    /// # Errors
    /// `Invalid` for an id that is none, and for rights other than read and write;
    /// the store's, also when the id is taken.
    pub async fn make_release_key(
        &self,
        id: &str,
        name: &str,
        client: &Client,
        rights: &[Right],
        objects: &[String],
    ) -> Result<String, Error> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if id.len() != ID_DIGITS || !id.bytes().all(is_digit) {
            return Err(Error::new(ErrorKind::Invalid, "the id of a key is 16 lower-case hex digits"));
        }
        if rights.is_empty() || rights.iter().any(|right| !matches!(right, Right::Read | Right::Write)) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the key of a release may read and write, nothing else",
            ));
        }
        let (_, secret) = text::generate();
        let record = KeyRecord {
            id: id.to_owned(),
            name: format!("{RELEASE_PREFIX}{name}"),
            hash: text::hash(&secret),
            clients: Clients::Only([client.clone()].into()),
            rights: rights.to_vec(),
            objects: Some(objects.to_vec()),
            created_at: self.clock.now(),
            expires_at: None,
            revoked_at: None,
        };
        self.store.add_key(&record).await?;
        Ok(text::join(id, &secret))
    }
}
