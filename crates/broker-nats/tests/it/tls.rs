//! Over TLS, with certificates that are made here.

use std::path::Path;

use orderwire_broker::{Broker, ErrorKind, Identity};
use orderwire_broker_nats::{NatsBroker, Options};
use orderwire_servers::{Authority, Signed};

use crate::kit::{message, options, publish, queue};
use crate::server::Server;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn both_sides_are_known_by_their_certificates() {
    let authority = Authority::new().unwrap();
    let (Signed { certificate, key }, ca) = (authority.sign("127.0.0.1").unwrap(), authority.file());
    let arguments =
        ["--tlsverify", "--tlscert", text(&certificate), "--tlskey", text(&key), "--tlscacert", text(&ca)];
    let Some(server) = Server::start(&arguments).await else { return };
    let url = server.url().replace("nats://", "tls://");

    let mut known = options(&url);
    known.tls.ca_file = Some(ca);
    let Signed { certificate, key } = authority.sign("orderwire").unwrap();
    known.tls.identity = Some(Identity { certificate_file: certificate, key_file: key });
    let broker = NatsBroker::open(known.clone()).await.unwrap();
    broker.declare(&queue("q", &["a"])).await.unwrap();
    publish(&broker, vec![message("a", "over TLS")]).await.unwrap();

    let mut nobody = known.clone();
    nobody.tls.identity = None;
    let mut distrustful = known.clone();
    let other = Authority::new().unwrap();
    distrustful.tls.ca_file = Some(other.file());
    let elsewhere = Options { url: Options::new(url.replace("127.0.0.1", "localhost")).url, ..known };
    for (who, options) in [("nobody", nobody), ("distrustful", distrustful), ("elsewhere", elsewhere)] {
        let refused = NatsBroker::open(options).await.unwrap().check().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{who}: {refused}");
    }
}
