//! A server that is reached by TLS, and wants to see a certificate.

use std::path::Path;

use orderwire_cache::{Cache, Identity, RedisCache, RedisOptions};
use orderwire_servers::redis::Redis;
use orderwire_servers::{Authority, Signed, free_port};

use crate::support::eventually;

#[tokio::test]
async fn a_server_is_reached_by_tls_and_both_sides_are_known() {
    let (ours, strange) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (server, port) = (ours.sign("localhost").unwrap(), free_port().unwrap());
    let ca = ours.file();
    let Some(_redis) = with_tls(&server, port, &ca) else { return };
    let Signed { certificate, key } = ours.sign("client").unwrap();
    let identity = Identity { certificate_file: certificate, key_file: key };
    let options = RedisOptions {
        ca_file: Some(ca),
        identity: Some(identity),
        ..RedisOptions::new(format!("rediss://localhost:{port}"), "test")
    };
    RedisCache::start(options.clone()).unwrap().check().await.unwrap();
    for (who, options) in [
        ("a stranger", RedisOptions { identity: None, ..options.clone() }),
        ("of a strange authority", RedisOptions { ca_file: Some(strange.file()), ..options.clone() }),
        ("trusting the system", RedisOptions { ca_file: None, ..options.clone() }),
        ("elsewhere", RedisOptions { url: format!("rediss://127.0.0.1:{port}"), ..options.clone() }),
    ] {
        let checked = RedisCache::start(options).unwrap().check().await;
        assert!(checked.is_err(), "{who}");
    }
}

/// Certificates are renewed while a server runs.
#[tokio::test]
async fn a_certificate_that_is_renewed_is_shown_from_the_next_connection_on() {
    let (ours, strange) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (server, port) = (ours.sign("localhost").unwrap(), free_port().unwrap());
    let ca = ours.file();
    let Some(_redis) = with_tls(&server, port, &ca) else { return };
    let Signed { certificate, key } = strange.sign("client").unwrap();
    let identity = Identity { certificate_file: certificate.clone(), key_file: key.clone() };
    let options = RedisOptions {
        ca_file: Some(ca),
        identity: Some(identity),
        ..RedisOptions::new(format!("rediss://localhost:{port}"), "test")
    };
    let cache = RedisCache::start(options).unwrap();
    assert!(cache.check().await.is_err(), "nobody here signed it");
    let renewed = ours.sign("client").unwrap();
    std::fs::copy(renewed.key, key).unwrap();
    std::fs::copy(renewed.certificate, certificate).unwrap();
    eventually("it is let in", async || cache.check().await.is_ok()).await;
}

/// A Redis that takes TLS alone from those whose certificate this authority has signed.
fn with_tls(server: &Signed, port: u16, ca: &Path) -> Option<Redis> {
    let redis = Redis::started(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        server.certificate.to_str().unwrap(),
        "--tls-key-file",
        server.key.to_str().unwrap(),
        "--tls-ca-cert-file",
        ca.to_str().unwrap(),
    ]);
    redis.unwrap()
}
