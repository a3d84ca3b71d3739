//! From an order to the content of a revision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use orderwire_store::orders::{Order, Release};
use orderwire_types::Action;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;

use crate::catalogue::{Product, SecretSource, misplaced};
use crate::content::Content;
use crate::provisioner::Parts;
use crate::render::Context;
use crate::request::own_scope;
use crate::target::Manifest;

/// How long templates may take, and how long reading a secret may.
const TIME_OUT: Duration = Duration::from_secs(10);
/// How many products are rendered at once: each takes a processor.
static RENDERINGS: Semaphore = Semaphore::const_new(2);
/// The block of SHA-256, in bytes.
const BLOCK: usize = 64;

/// What a revision will hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draft {
    /// The content.
    pub(crate) content: Content,
    /// Its hash.
    pub(crate) hash: String,
}

/// Why there is no content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DraftError {
    /// It will not work however often it is tried: one clear sentence.
    #[error("{0}")]
    Refused(String),
    /// It may work later.
    #[error("{0}")]
    Unavailable(String),
}

/// The content that an order asks for: rendered from the catalogue; for a
/// roll-back that of the revision, with the present hashes of its secrets.
pub(crate) async fn draft(parts: &Parts, order: &Order, release: &Release) -> Result<Draft, DraftError> {
    let mut content = match order.action {
        Action::Rollback => earlier(parts, order, release).await?,
        _ => rendered(parts, order, release).await?,
    };
    let target = parts
        .targets
        .get(&release.target)
        .ok_or_else(|| refused(format!("target {} is not configured here", release.target)))?;
    let mut faults = target.check(&content.manifests);
    let misplaced = misplaced(&content.openings, &content.manifests, |manifest| target.ports(manifest));
    faults.extend(misplaced.into_iter().map(|(name, detail)| format!("opening {name}: {detail}")));
    if !faults.is_empty() {
        return Err(refused(faults.join("; ")));
    }
    let key = parts.store.hash_key().await.map_err(|error| DraftError::Unavailable(error.to_string()))?;
    // A secret that is not there when somebody orders is told at once.
    let values = read(sources(parts, &content)?).await.map_err(|error| match error {
        ReadError::Unreadable(reason) => DraftError::Refused(reason),
        ReadError::Slow(reason) => DraftError::Unavailable(reason),
    })?;
    content.secrets =
        values.into_iter().map(|(name, value)| (name.clone(), keyed_hash(&key, &name, &value))).collect();
    let hash = content.hash();
    Ok(Draft { content, hash })
}

/// The present values of a content's secrets, by name, from the product's sources.
pub(crate) async fn secrets(parts: &Parts, content: &Content) -> Result<Vec<(String, String)>, DraftError> {
    // They were there when the revision was made, so that trying again may help.
    read(sources(parts, content)?).await.map_err(|error| match error {
        ReadError::Unreadable(reason) | ReadError::Slow(reason) => DraftError::Unavailable(reason),
    })
}

/// The content of the revision that a roll-back names.
async fn earlier(parts: &Parts, order: &Order, release: &Release) -> Result<Content, DraftError> {
    let number = order.to_revision.ok_or_else(|| refused("the roll-back names no revision".to_owned()))?;
    let revision = parts
        .store
        .revision(&own_scope(), release.id, number)
        .await
        .map_err(|error| DraftError::Unavailable(error.to_string()))?
        .ok_or_else(|| {
            refused(format!("release {} has no revision {number}; see its history", release.name))
        })?;
    serde_json::from_str(revision.content.get()).map_err(|error| {
        refused(format!("revision {number} of release {} cannot be read: {error}", release.name))
    })
}

/// The content that the catalogue makes of an order.
async fn rendered(parts: &Parts, order: &Order, release: &Release) -> Result<Content, DraftError> {
    let product = in_catalogue(parts, &release.product)?;
    let parameters: Value = serde_json::from_str(order.parameters.get())
        .map_err(|error| refused(format!("the parameters cannot be read: {error}")))?;
    // Again, because the catalogue may be another one than when the order was accepted.
    let faults = product.check_parameters(&parameters);
    if !faults.is_empty() {
        return Err(refused(crate::request::reason(&faults)));
    }
    let (archtype, hardware) =
        (order.archtype.clone().unwrap_or_default(), order.hardware.clone().unwrap_or_default());
    let context = Context {
        client: release.client.clone(),
        product: product.name.to_string(),
        release: release.name.clone(),
        environment: release.environment.clone(),
        archtype: archtype.clone(),
        hardware: hardware.clone(),
        namespace: release.namespace.clone(),
        values: product.values(&release.environment, &parameters),
    };
    let manifests = render(product.clone(), context).await?;
    Ok(Content {
        product: product.name.to_string(),
        version: product.version.clone(),
        archtype,
        hardware,
        parameters,
        images: images(&manifests),
        manifests,
        secrets: product.secrets.keys().map(|name| (name.clone(), String::new())).collect(),
        access: product.access.clone(),
        datasets: product.datasets.clone(),
        openings: product.openings.clone(),
        gates: product.gates.clone(),
        patience_ms: u64::try_from(product.patience.as_millis()).unwrap_or(u64::MAX),
        on_failure: product.on_failure,
    })
}

/// Renders where it may take its time. A rendering keeps its place until it ends, also
/// when nobody waits for it any more.
async fn render(product: Arc<Product>, context: Context) -> Result<Vec<Manifest>, DraftError> {
    let name = product.name.clone();
    let Ok(Ok(place)) = tokio::time::timeout(TIME_OUT, RENDERINGS.acquire()).await else {
        let reason = format!("product {name} waited longer than {TIME_OUT:?} to be rendered");
        return Err(DraftError::Unavailable(reason));
    };
    let rendering = keeping(place, move || product.render(&context));
    match tokio::time::timeout(TIME_OUT, rendering).await {
        Ok(Ok(rendered)) => {
            rendered.map_err(|error| refused(format!("product {name} cannot be rendered: {error}")))
        }
        Ok(Err(error)) => Err(refused(format!("product {name} cannot be rendered: {error}"))),
        Err(_) => Err(refused(format!("product {name} takes longer than {TIME_OUT:?} to render"))),
    }
}

/// Works on a thread that may block, and keeps a place until the work has ended.
fn keeping<T: Send + 'static>(
    place: SemaphorePermit<'static>,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || {
        let _place = place;
        work()
    })
}

fn in_catalogue<'a>(parts: &'a Parts, product: &str) -> Result<&'a Arc<Product>, DraftError> {
    parts.catalogue.get(product).ok_or_else(|| {
        refused(format!(
            "product {product} is not in the catalogue any more; bring it back, or remove the release"
        ))
    })
}

/// Every string under a key `image`, sorted, each once.
fn images(manifests: &[Manifest]) -> Vec<String> {
    let mut images = BTreeSet::new();
    let mut left: Vec<&Value> = manifests.iter().map(|manifest| &manifest.0).collect();
    while let Some(value) = left.pop() {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(image)) = members.get("image") {
                    images.insert(image.clone());
                }
                left.extend(members.values());
            }
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    images.into_iter().collect()
}

/// Where the secrets of a content come from today.
fn sources(parts: &Parts, content: &Content) -> Result<BTreeMap<String, SecretSource>, DraftError> {
    if content.secrets.is_empty() {
        return Ok(BTreeMap::new());
    }
    let product = in_catalogue(parts, &content.product)?;
    let source = |name: &String| match product.secrets.get(name) {
        Some(source) => Ok((name.clone(), source.clone())),
        None => Err(refused(format!("product {} does not declare secret {name} any more", content.product))),
    };
    content.secrets.keys().map(source).collect()
}

enum ReadError {
    Unreadable(String),
    Slow(String),
}

async fn read(sources: BTreeMap<String, SecretSource>) -> Result<Vec<(String, String)>, ReadError> {
    let mut values = Vec::with_capacity(sources.len());
    for (name, source) in sources {
        let reading = tokio::task::spawn_blocking(move || source.read());
        match tokio::time::timeout(TIME_OUT, reading).await {
            Ok(Ok(Ok(value))) => values.push((name, value)),
            Ok(Ok(Err(reason))) => return Err(ReadError::Unreadable(format!("secret {name}: {reason}"))),
            Ok(Err(error)) => return Err(ReadError::Unreadable(format!("secret {name}: {error}"))),
            Err(_) => {
                return Err(ReadError::Slow(format!("secret {name} takes longer than {TIME_OUT:?} to read")));
            }
        }
    }
    Ok(values)
}

/// A secret as a revision shows it: HMAC-SHA-256 over its name and value. Without the
/// key a guess cannot be tried, and unlike a hash of key and value the construction
/// cannot be extended to a longer one.
fn keyed_hash(key: &[u8; 32], name: &str, value: &str) -> String {
    let length = (name.len() as u64).to_be_bytes();
    let hash = hmac_sha256(key, &[&length, name.as_bytes(), value.as_bytes()]);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HMAC by RFC 2104 for a key that is no longer than a block.
fn hmac_sha256(key: &[u8], message: &[&[u8]]) -> [u8; 32] {
    assert!(key.len() <= BLOCK, "a longer key would have to be hashed first");
    let pad = |byte: u8| {
        let mut block = [byte; BLOCK];
        for (padded, byte) in block.iter_mut().zip(key) {
            *padded ^= byte;
        }
        block
    };
    let mut inner = Sha256::new().chain_update(pad(0x36));
    for part in message {
        inner.update(part);
    }
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner.finalize()).finalize().into()
}

fn refused(reason: String) -> DraftError {
    DraftError::Refused(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test cases 1 and 2 of RFC 4231.
    #[test]
    fn the_keyed_hash_is_hmac_sha_256() {
        let hex = |hash: [u8; 32]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(hmac_sha256(&[0x0b; 20], &[b"Hi ", b"There"])),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            hex(hmac_sha256(b"Jefe", &[b"what do ya want for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn name_and_value_of_a_secret_do_not_run_together() {
        assert_ne!(keyed_hash(&[7; 32], "A", "BC"), keyed_hash(&[7; 32], "AB", "C"));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_place_until_it_ends() {
        static PLACES: Semaphore = Semaphore::const_new(1);
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let place = PLACES.acquire().await.unwrap();
        let abandoned = keeping(place, move || {
            begin.send(()).unwrap();
            ended.recv()
        });
        begun.await.unwrap();
        drop(abandoned);
        assert!(PLACES.try_acquire().is_err());
        end.send(()).unwrap();
        drop(PLACES.acquire().await.unwrap());
    }

    #[test]
    fn images_are_found_at_any_depth_once_and_sorted() {
        let manifests = [
            Manifest(
                serde_json::json!({ "spec": { "containers": [{ "image": "b:2" }, { "image": "a:1" }] } }),
            ),
            Manifest(serde_json::json!({ "image": "b:2", "spec": { "image": { "name": "no text" } } })),
        ];
        assert_eq!(images(&manifests), ["a:1", "b:2"]);
    }
}
