//! A server that is reached by TLS, and wants to see a certificate.

use std::path::{Path, PathBuf};

use orderwire_broker::{Broker, Declare, ErrorKind, Identity, Tls};
use orderwire_broker_rabbitmq::{Options, RabbitBroker};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

use crate::support::server::OwnServer;
use crate::support::{connected, drain, insist, message, queue};

/// Signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = named("orderwire test authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Puts a certificate for `name` and its key into a folder.
    fn sign(&self, folder: &Path, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = named(name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity {
            certificate_file: file(folder, &format!("{name}.pem"), &certificate),
            key_file: file(folder, &format!("{name}.key"), &key.serialize_pem()),
        }
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_server_is_reached_by_tls_and_both_sides_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, strange) = (Authority::new(), Authority::new());
    let ca = file(folder.path(), "ca.pem", &ours.certificate);
    let strange_ca = file(folder.path(), "strange.pem", &strange.certificate);
    let server_identity = ours.sign(folder.path(), "localhost");
    let client_identity = ours.sign(folder.path(), "client");
    let settings = |_: &Path, port: u16| {
        format!(
            "listeners.ssl.1 = 127.0.0.1:{port}\n\
             ssl_options.cacertfile = {}\n\
             ssl_options.certfile = {}\n\
             ssl_options.keyfile = {}\n\
             ssl_options.verify = verify_peer\n\
             ssl_options.fail_if_no_peer_cert = true\n",
            ca.display(),
            server_identity.certificate_file.display(),
            server_identity.key_file.display(),
        )
    };
    let Some(server) = OwnServer::start(settings).await else { return };
    let secure = |host: &str, ca_file: &Path, identity: Option<&Identity>| Options {
        host: host.to_owned(),
        port: server.tls_port,
        tls: Some(Tls { ca_file: Some(ca_file.to_owned()), identity: identity.cloned() }),
        ..server.options()
    };

    let options = secure("localhost", &ca, Some(&client_identity));
    let (broker, queue) = (connected(&options).await, queue(&["secret"], Declare::Classic));
    broker.declare(&queue).await.unwrap();
    insist(&*broker, &message("secret", "encrypted")).await;
    drain(&*broker, &queue, 1).await;
    broker.close().await;

    for (what, options) in [
        ("a server of an unknown authority", secure("localhost", &strange_ca, Some(&client_identity))),
        ("a server of another name", secure("127.0.0.1", &ca, Some(&client_identity))),
        ("a client without a certificate", secure("localhost", &ca, None)),
        (
            "an authority that the system does not know",
            Options { tls: Some(Tls::default()), ..options.clone() },
        ),
        ("a file that is not there", secure("localhost", Path::new("/nowhere.pem"), Some(&client_identity))),
    ] {
        let broker = RabbitBroker::start(options);
        let error = broker.check().await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error}");
        broker.close().await;
    }
}
