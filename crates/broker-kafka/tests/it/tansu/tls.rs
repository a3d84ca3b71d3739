//! TLS that is really spoken, by both sides: it ends in front of the server.

use std::path::Path;
use std::sync::Arc;

use orderwire_broker::{Broker, Declare, ErrorKind, Identity, Tls};
use orderwire_broker_kafka::{KafkaBroker, Options};
use orderwire_servers::{Authority, Signed, free_port};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::Tansu;
use crate::support::{drain, label, message, publish, queue};

fn sign(authority: &Authority, name: &str) -> Identity {
    let Signed { certificate, key } = authority.sign(name).unwrap();
    Identity { certificate_file: certificate, key_file: key }
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file).unwrap().map(Result::unwrap).collect()
}

/// Ends TLS in front of a port, for clients that show a certificate of this authority.
fn in_front_of(port: u16, listener: TcpListener, authority: &Authority, own: &Identity) {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&authority.file()) {
        roots.add(certificate).unwrap();
    }
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            certificates(&own.certificate_file),
            PrivateKeyDer::from_pem_file(&own.key_file).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut near) = acceptor.accept(near).await else { return };
                let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                // Either side may end it as it likes.
                tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
            });
        }
    });
}

#[tokio::test]
async fn both_sides_are_known_by_their_certificates() {
    let (ours, strange) = (Authority::new().unwrap(), Authority::new().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (secure, plain) = (listener.local_addr().unwrap().port(), free_port().unwrap());
    let Some(_tansu) = Tansu::start_as(plain, &format!("localhost:{secure}"), &[]) else { return };
    in_front_of(plain, listener, &ours, &sign(&ours, "localhost"));
    let with = |host: &str, authority: Option<&Authority>, identity: Option<Identity>| Options {
        servers: vec![format!("{host}:{secure}")],
        tls: Some(Tls { ca_file: authority.map(Authority::file), identity }),
        timeout: std::time::Duration::from_secs(5),
        ..Options::default()
    };

    let broker = KafkaBroker::start(with("localhost", Some(&ours), Some(sign(&ours, "orderwire"))));
    let queue = queue(&["secret"], Declare::Quorum);
    broker.declare(&queue).await.unwrap();
    publish(&broker, message("secret", "over TLS")).await.unwrap();
    assert_eq!(label(&drain(&broker, &queue, 1).await[0]), "over TLS");
    broker.close().await;

    // Whom the server refuses it tells nothing after the handshake; whom we refuse is told at once.
    for (who, options, said) in [
        ("nobody", with("localhost", Some(&ours), None), ""),
        ("somebody else's", with("localhost", Some(&ours), Some(sign(&strange, "orderwire"))), ""),
        ("who trusts others", with("localhost", Some(&strange), Some(sign(&ours, "orderwire"))), "SSL"),
        ("who trusts the system's", with("localhost", None, Some(sign(&ours, "orderwire"))), "SSL"),
        ("who looks for another name", with("127.0.0.1", Some(&ours), Some(sign(&ours, "orderwire"))), "SSL"),
    ] {
        let broker = KafkaBroker::start(options);
        let error = broker.check().await.expect_err(who);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{who}: {error}");
        assert!(error.to_string().contains(said), "{who}: {error}");
        broker.close().await;
    }
    let missing = Identity { certificate_file: "/nowhere.pem".into(), key_file: "/nowhere.key".into() };
    let broker = KafkaBroker::start(with("localhost", Some(&ours), Some(missing)));
    let error = broker.check().await.unwrap_err().to_string();
    assert!(error.contains("ssl.certificate.location"), "{error}");
}
