//! Over TLS, with certificates that are made here.

use std::path::{Path, PathBuf};

use orderwire_broker::{Broker, ErrorKind, Identity};
use orderwire_broker_nats::{NatsBroker, Options};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::kit::{message, options, publish, queue};
use crate::server::Server;

/// An authority with what it signed.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate with its key.
    fn sign(&self, name: &str, hosts: &[&str]) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let certificate = CertificateParams::new(hosts).unwrap().signed_by(&key, &self.issuer).unwrap();
        let paths = ["pem", "key"].map(|end| self.folder.path().join(format!("{name}.{end}")));
        std::fs::write(&paths[0], certificate.pem()).unwrap();
        std::fs::write(&paths[1], key.serialize_pem()).unwrap();
        let [certificate, key] = paths;
        (certificate, key)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn both_sides_are_known_by_their_certificates() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("server", &["127.0.0.1"]);
    let ca = authority.path();
    let arguments =
        ["--tlsverify", "--tlscert", text(&certificate), "--tlskey", text(&key), "--tlscacert", text(&ca)];
    let Some(server) = Server::start(&arguments).await else { return };
    let url = server.url().replace("nats://", "tls://");

    let mut known = options(&url);
    known.tls.ca_file = Some(ca);
    let (certificate_file, key_file) = authority.sign("orderwire", &["orderwire"]);
    known.tls.identity = Some(Identity { certificate_file, key_file });
    let broker = NatsBroker::open(known.clone()).await.unwrap();
    broker.declare(&queue("q", &["a"])).await.unwrap();
    publish(&broker, vec![message("a", "over TLS")]).await.unwrap();

    let mut nobody = known.clone();
    nobody.tls.identity = None;
    let mut distrustful = known.clone();
    let other = Authority::new();
    distrustful.tls.ca_file = Some(other.path());
    let elsewhere = Options { url: Options::new(url.replace("127.0.0.1", "localhost")).url, ..known };
    for (who, options) in [("nobody", nobody), ("distrustful", distrustful), ("elsewhere", elsewhere)] {
        let refused = NatsBroker::open(options).await.unwrap().check().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{who}: {refused}");
    }
}
