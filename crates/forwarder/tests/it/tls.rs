//! TLS of an endpoint whose certificate nobody vouches for.

use std::sync::Arc;

use orderwire_forwarder::EndpointOptions;
use orderwire_store::log::AttemptOutcome;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::world::{World, endpoint};

/// Of `shop.invalid`, signed by itself, good for a hundred years. The key protects nothing.
const CERTIFICATE: &[u8] = include_bytes!("self-signed.pem");
const KEY: &[u8] = include_bytes!("self-signed-key.pem");

#[tokio::test]
async fn an_endpoint_with_a_certificate_of_its_own_making_gets_nothing() {
    let provider = aws_lc_rs::default_provider();
    provider.install_default().ok();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_slice(KEY).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, mut sent) = mpsc::unbounded_channel();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // What got through the handshake, in bytes.
            let got = match acceptor.accept(stream).await {
                Ok(mut stream) => stream.read(&mut [0; 1_024]).await.unwrap_or(0),
                Err(_) => 0,
            };
            told.send(got).unwrap();
        }
    });
    let url = format!("https://shop.invalid:{port}/hooks");
    let mut world = World::start(vec![EndpointOptions { concurrency: 1, ..endpoint("shop", &url) }]).await;
    world.names.set("shop.invalid", &["127.0.0.1"]);
    world.publish("shop.order.paid").await;
    let log = world.logged("shop", 1).await;
    assert_eq!((log[0].outcome, log[0].status), (AttemptOutcome::Retry, None));
    let detail = log[0].detail.as_ref().unwrap();
    assert!(detail.contains("certificate"), "{detail}");
    assert_eq!(sent.recv().await, Some(0));
    server.abort();
    world.drain().await;
}
