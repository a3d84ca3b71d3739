//! Where answers are kept ready.

use std::sync::Arc;

use orderwire_cache::{Cache, Identity, LayeredCache, MemoryCache, RedisCache, RedisOptions};
use orderwire_config::{Cache as Settings, Config};
use orderwire_store::Datasets;

use crate::error::{Error, While as _};

/// The cache of the configuration for the answers of this store. Servers that share a Redis
/// and a store share entries; two stores never do.
pub(crate) fn open(settings: &Settings, store: &dyn Datasets) -> Result<Arc<dyn Cache>, Error> {
    let near = MemoryCache::new(settings.bytes.0);
    if settings.is_in_memory() {
        return Ok(Arc::new(near));
    }
    let far = redis(settings, format!("orderwire:{}", store.id().simple()))?;
    Ok(Arc::new(LayeredCache::new(near, far)))
}

/// Whether the cache of the configuration can be reached, and keeps what it is given.
///
/// # Errors
/// Why not, in plain words.
pub async fn try_cache(config: &Config) -> Result<(), String> {
    let cache = redis(&config.cache, "orderwire".to_owned()).map_err(|error| error.to_string())?;
    cache.check().await.map_err(|error| error.to_string())
}

fn redis(settings: &Settings, prefix: String) -> Result<RedisCache, Error> {
    let secret = settings.password.as_ref().map(orderwire_config::Secret::resolve).transpose();
    let secret = secret.map_err(|why| Error::failed(format!("cache.password: {why}")))?;
    let password = secret.as_ref().map(|secret| secret.text().map(str::to_owned)).transpose();
    let files = settings.certificate.clone().zip(settings.key.clone());
    let options = RedisOptions {
        password: password.map_err(|why| Error::failed(format!("cache.password: {why}")))?,
        ca_file: settings.ca.clone(),
        identity: files.map(|(certificate_file, key_file)| Identity { certificate_file, key_file }),
        is_usable: orderwire_query::is_answer,
        ..RedisOptions::new(settings.url.clone(), prefix)
    };
    RedisCache::start(options).while_("reading cache.url and what belongs to it")
}
