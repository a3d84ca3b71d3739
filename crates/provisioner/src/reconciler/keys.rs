//! The keys of a release: numbered, so that none is ever forgotten.

use orderwire_store::orders::Release;
use uuid::Uuid;

use super::Shared;
use crate::catalogue::Access;

/// The public id of a release's key with this number: 16 hex digits.
pub(super) fn key_id(release: Uuid, number: u64) -> String {
    let id = Uuid::new_v5(&release, format!("key {number}").as_bytes()).simple().to_string();
    id[..16].to_owned()
}

impl Shared {
    /// Makes the key with this number, which was written down before.
    pub(super) async fn make_key(
        &self,
        release: &Release,
        number: u64,
        access: &Access,
    ) -> Result<String, String> {
        let id = key_id(release.id, number);
        let name = format!("{} in {}", release.name, release.environment);
        let made = self.parts.keys.make(&id, &name, &release.client, &access.rights, &access.objects);
        self.within(made).await.unwrap_or_else(|| Err("making its key took too long".to_owned()))
    }

    /// Revokes the keys with these numbers. Again is no error.
    pub(super) async fn revoke_keys(
        &self,
        release: Uuid,
        numbers: impl Iterator<Item = u64>,
    ) -> Result<(), String> {
        for number in numbers {
            let id = key_id(release, number);
            let revoked = self.parts.keys.revoke(&id);
            self.within(revoked).await.unwrap_or_else(|| Err("revoking a key took too long".to_owned()))?;
        }
        Ok(())
    }
}
