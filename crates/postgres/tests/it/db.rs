//! The way to the server: what is said when it cannot be used, TLS, migrations.

use std::process::Command;

use orderwire_postgres::{Database, Error, ErrorKind, Identity, Options, PostgresQueue, QueueOptions};
use orderwire_servers::{Authority, Signed};

use crate::support::{TestDatabase, TestServer, connect};

async fn refused(url: &str) -> Error {
    Database::open(&Options::for_testing(url)).await.expect_err("it cannot be used")
}

fn says(error: &Error, kind: ErrorKind, words: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    assert!(!text.contains('\n') && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_with_what_to_do() {
    let database = TestDatabase::new().await;
    let url = database.url().replace("orderwire_test", "nowhere");
    says(&refused(&url).await, ErrorKind::Refused, &["does not exist", "nowhere", "CREATE DATABASE"]);
}

#[tokio::test]
async fn a_wrong_password_is_refused_with_what_to_do() {
    let server = TestServer::start("");
    let client = connect(&server.url()).await;
    client.batch_execute("CREATE USER someone PASSWORD 'right'").await.unwrap();
    std::fs::write(
        server.data().join("pg_hba.conf"),
        "host all postgres all trust\nhost all all all scram-sha-256\n",
    )
    .unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let url = server.url().replace("postgres@", "someone:secret@");
    let error = loop {
        // Until the server has read its settings anew.
        match Database::open(&Options::for_testing(&url)).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    says(&error, ErrorKind::Refused, &["password", "look at the user in the URL and at the password"]);
    let url = server.url().replace("postgres@", "someone:right@");
    Database::open(&Options::for_testing(&url)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refused(&format!("postgres://u:secret@127.0.0.1:{port}/d")).await;
    says(&error, ErrorKind::Unavailable, &["refused", &format!("127.0.0.1:{port}/d")]);
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let database = TestDatabase::new().await;
    let client = connect(&database.url()).await;
    let name = format!("{}_latin", url::Url::parse(&database.url()).unwrap().path().trim_start_matches('/'));
    let create =
        format!("CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    client.batch_execute(&create).await.unwrap();
    let url = format!("{}_latin", database.url());
    let error = refused(&url).await;
    client.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    says(&error, ErrorKind::Refused, &["LATIN1", "UTF8"]);
}

#[tokio::test]
async fn connections_are_set_up_alike() {
    let database = TestDatabase::new().await;
    let _queue = crate::queue::open(&database.url()).await;
    let client = connect(&database.url()).await;
    let ask = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'orderwire'";
    let ours: i64 = client.query_one(ask, &[]).await.unwrap().get(0);
    assert!(ours >= 2, "{ours} connections carry our name");
}

/// A server whose certificate the first of two authorities signed, for `localhost`.
fn server_with_tls() -> (TestServer, Authority, Authority) {
    let server = TestServer::start("");
    let (right, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let Signed { certificate, key } = right.sign("localhost").unwrap();
    for (name, file) in [("server.crt", certificate), ("server.key", key), ("root.crt", right.file())] {
        let path = server.data().join(name);
        std::fs::copy(file, &path).unwrap();
        server.own(&path);
        assert!(Command::new("chmod").arg("600").arg(&path).status().unwrap().success());
    }
    server.stop("fast");
    let config = server.data().join("postgresql.conf");
    let before = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, before + "ssl = on\nssl_ca_file = 'root.crt'\n").unwrap();
    std::fs::write(server.data().join("pg_hba.conf"), "hostssl all all all trust\n").unwrap();
    server.begin();
    (server, right, other)
}

#[tokio::test]
async fn tls_trusts_whom_the_url_says() {
    let (server, right, other) = server_with_tls();
    let (by_name, by_address) = (server.url().replace("127.0.0.1", "localhost"), server.url());
    let open = async |url: &str, settings: &str| {
        Database::open(&Options::for_testing(format!("{url}?{settings}"))).await
    };
    let right = format!("sslrootcert={}", right.file().display());
    for (url, settings) in [
        (&by_address, "sslmode=prefer".to_owned()),
        (&by_address, "sslmode=require".to_owned()),
        (&by_address, format!("sslmode=verify-ca&{right}")),
        (&by_name, format!("sslmode=verify-full&{right}")),
    ] {
        open(url, &settings).await.unwrap_or_else(|error| panic!("{settings}: {error}"));
    }
    let wrong = format!("sslrootcert={}", other.file().display());
    for (url, settings) in [
        (&by_address, "sslmode=disable".to_owned()),
        (&by_name, "sslmode=verify-full".to_owned()),
        (&by_address, format!("sslmode=require&{wrong}")),
        (&by_name, format!("sslmode=verify-ca&{wrong}")),
        (&by_name, format!("sslmode=verify-full&{wrong}")),
        (&by_address, format!("sslmode=verify-full&{right}")),
    ] {
        assert!(open(url, &settings).await.is_err(), "{settings} was taken");
    }
}

#[tokio::test]
async fn certificates_are_checked_and_shown_as_the_settings_say() {
    let (server, right, other) = server_with_tls();
    server.stop("fast");
    let hba = server.data().join("pg_hba.conf");
    std::fs::write(hba, "hostssl all all all trust clientcert=verify-ca\n").unwrap();
    server.begin();
    let url = server.url().replace("127.0.0.1", "localhost");
    let Signed { certificate, key } = right.sign("us").unwrap();
    let ours = Identity { certificate_file: certificate, key_file: key };
    let options = |authority: &Authority, identity: Option<&Identity>| Options {
        ca_file: Some(authority.file()),
        identity: identity.cloned(),
        ..Options::for_testing(url.clone())
    };
    Database::open(&options(&right, Some(&ours))).await.unwrap();
    let error = Database::open(&options(&right, None)).await.expect_err("we show no certificate");
    assert!(error.to_string().contains("certificate"), "{error}");
    // Without a word of sslmode whoever is trusted is asked for, and by name.
    let error = Database::open(&options(&other, Some(&ours))).await.expect_err("the server is somebody else");
    assert!(error.to_string().contains("look at sslmode"), "{error}");
    let by_address = Options { url: server.url(), ..options(&right, Some(&ours)) };
    assert!(Database::open(&by_address).await.is_err(), "the name was not looked at");
    let missing = Identity { key_file: "/nowhere".into(), ..ours };
    let error = options(&right, Some(&missing)).check().expect_err("there is no such file");
    says(&error, ErrorKind::Refused, &["nowhere", "private key"]);
}

#[tokio::test]
async fn it_is_tried_out_whether_a_database_can_be_used() {
    let database = TestDatabase::new().await;
    let version = Database::try_out(&database.options()).await.unwrap();
    assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
    let client = connect(&database.url()).await;
    let ours = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('orderwire', 'store', 'queue')";
    assert_eq!(client.query_one(ours, &[]).await.unwrap().get::<_, i64>(0), 0, "it left something behind");
    let name = url::Url::parse(&database.url()).unwrap().path().trim_start_matches('/').to_owned();
    let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    client.batch_execute(&read_only).await.unwrap();
    let error = Database::try_out(&database.options()).await.expect_err("it takes no writes");
    says(&error, ErrorKind::Refused, &["takes no writes", "primary"]);
}

#[tokio::test]
async fn processes_that_start_at_once_migrate_once() {
    let database = TestDatabase::new().await;
    let url = database.url();
    let opened = futures::future::join_all((0..4).map(|_| crate::queue::open(&url))).await;
    assert_eq!(opened.len(), 4);
    let client = connect(&url).await;
    let ask = "SELECT count(*) FROM orderwire.migration WHERE module = 'queue'";
    assert_eq!(client.query_one(ask, &[]).await.unwrap().get::<_, i64>(0), 1);
}

async fn reopened(database: &TestDatabase) -> Error {
    let opened = Database::open(&database.options()).await.unwrap();
    PostgresQueue::open(&opened, &QueueOptions::default()).await.expect_err("it cannot be used")
}

#[tokio::test]
async fn a_schema_of_a_later_version_is_refused() {
    let database = TestDatabase::new().await;
    drop(crate::queue::open(&database.url()).await);
    let client = connect(&database.url()).await;
    let later = "INSERT INTO orderwire.migration VALUES ('queue', 1000, '\\x00')";
    client.batch_execute(later).await.unwrap();
    says(&reopened(&database).await, ErrorKind::Later, &["later version", "use that version"]);
}

#[tokio::test]
async fn a_step_that_was_edited_is_noticed() {
    let database = TestDatabase::new().await;
    drop(crate::queue::open(&database.url()).await);
    let client = connect(&database.url()).await;
    client.batch_execute("UPDATE orderwire.migration SET checksum = '\\x00'").await.unwrap();
    says(&reopened(&database).await, ErrorKind::Damaged, &["step 1", "queue"]);
}

#[tokio::test]
async fn a_schema_of_somebody_else_is_left_alone() {
    let database = TestDatabase::new().await;
    let client = connect(&database.url()).await;
    client.batch_execute("CREATE SCHEMA queue; CREATE TABLE queue.theirs (n int)").await.unwrap();
    says(&reopened(&database).await, ErrorKind::Refused, &["not Orderwire's", "a database of its own"]);
    client.batch_execute("SELECT n FROM queue.theirs").await.unwrap();
}
