//! A server that is reached by TLS, and wants to see a certificate.

use std::path::Path;

use orderwire_broker::{Broker, Declare, ErrorKind, Identity, Tls};
use orderwire_broker_rabbitmq::{Options, RabbitBroker};
use orderwire_servers::{Authority, Signed};

use crate::support::server::OwnServer;
use crate::support::{connected, drain, insist, message, queue};

fn sign(authority: &Authority, name: &str) -> Identity {
    let Signed { certificate, key } = authority.sign(name).unwrap();
    Identity { certificate_file: certificate, key_file: key }
}

#[tokio::test]
async fn a_server_is_reached_by_tls_and_both_sides_are_known() {
    let (ours, strange) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (ca, strange_ca) = (ours.file(), strange.file());
    let (server_identity, client_identity) = (sign(&ours, "localhost"), sign(&ours, "client"));
    let settings = |port: u16| {
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
        port: server.tls_port(),
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
