use super::*;

mod server;

use self::server::{Created, Server};

const THERE: Topic = Topic { partitions: 6, replicas: 3, servers: 5, server: 1 };

fn conflict(declare: Declare, there: Topic, cleanup: Option<&str>) -> Option<String> {
    Wanted::queue(declare, &Options::default()).conflict(there, cleanup)
}

#[test]
fn a_topic_that_is_at_least_what_was_asked_for_is_no_conflict() {
    for declare in [Declare::Classic, Declare::Quorum] {
        assert_eq!(conflict(declare, THERE, Some("delete")), None);
        assert_eq!(conflict(declare, Topic { partitions: 60, replicas: 5, ..THERE }, None), None);
    }
    assert_eq!(conflict(Declare::Classic, Topic { replicas: 1, ..THERE }, None), None);
    let alone = Topic { replicas: 1, servers: 1, ..THERE };
    assert_eq!(conflict(Declare::Quorum, alone, None), None, "no more servers are there");
}

#[test]
fn a_topic_that_is_less_conflicts_and_says_in_what() {
    for (there, cleanup, word) in [
        (Topic { partitions: 1, ..THERE }, None, "partitions"),
        (Topic { replicas: 2, ..THERE }, None, "servers"),
        (THERE, Some("compact,delete"), "cleanup.policy"),
    ] {
        let why = conflict(Declare::Quorum, there, cleanup).unwrap();
        assert!(why.contains(word), "{why}");
    }
    // Old bindings would go.
    let bindings = Wanted::bindings(&Options::default());
    assert_eq!(bindings.conflict(THERE, Some("compact")), None);
    assert!(bindings.conflict(THERE, Some("delete")).unwrap().contains("cleanup.policy"));
}

#[test]
fn a_replication_that_is_set_is_asked_for() {
    let options = Options { replication: Some(2), ..Options::default() };
    let wanted = Wanted::queue(Declare::Quorum, &options);
    assert_eq!(wanted.conflict(Topic { replicas: 2, ..THERE }, None), None);
    assert_eq!((wanted.replicas(5), wanted.replicas(1)), (Some(2), Some(2)));
    assert_eq!(Wanted::queue(Declare::Classic, &options).replicas(5), None);
}

fn topics(server: &Server) -> (Topics<rdkafka::consumer::DefaultConsumerContext>, Arc<Options>) {
    let options = Options { servers: vec![server.address()], ..Options::default() };
    let options = Arc::new(Options { timeout: Duration::from_secs(20), ..options });
    let client: BaseConsumer = client::config(&options).create().unwrap();
    (Topics::new(Arc::new(client), Arc::clone(&options)), options)
}

async fn make(
    topics: &Topics<rdkafka::consumer::DefaultConsumerContext>,
    wanted: Wanted,
) -> Result<(), Error> {
    topics.make("shop", wanted, false, Instant::now() + Duration::from_secs(20)).await
}

#[tokio::test]
async fn a_topic_is_asked_for_as_it_has_to_be() {
    for (declare, replication, insync) in
        [(Declare::Quorum, 3, Some("2")), (Declare::Classic, -1, None), (Declare::Adopt, -1, None)]
    {
        let server = Server::start(5, true);
        let (topics, options) = topics(&server);
        make(&topics, Wanted::queue(declare, &options)).await.unwrap();
        let Created { name, partitions, replicas, settings } = server.created().remove(0);
        assert_eq!((name.as_str(), partitions, replicas), ("shop", 6, replication), "{declare:?}");
        let setting = |key: &str| settings.get(key).map(String::as_str);
        assert_eq!(setting(CLEANUP), Some("delete"));
        assert_eq!(setting("min.insync.replicas"), insync);
        let bytes: usize = setting("max.message.bytes").unwrap().parse().unwrap();
        assert!(bytes > options.body_bytes_max);
        // Again: it is there.
        make(&topics, Wanted::queue(declare, &options)).await.unwrap();
        assert_eq!(server.created().len(), 1);
    }
}

#[tokio::test]
async fn the_topic_of_bindings_keeps_the_last_word_of_each() {
    let server = Server::start(2, true);
    let (topics, options) = topics(&server);
    make(&topics, Wanted::bindings(&options)).await.unwrap();
    let created = server.created().remove(0);
    assert_eq!((created.partitions, created.replicas), (1, 2));
    assert_eq!(created.settings.get(CLEANUP).map(String::as_str), Some("compact"));
}

#[tokio::test]
async fn what_is_there_is_looked_at_and_adopted_by_who_wants_that() {
    let server = Server::start(3, true);
    server.add("shop", 6, 3, "compact");
    let (topics, options) = topics(&server);
    let error = make(&topics, Wanted::queue(Declare::Quorum, &options)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("shop") && error.to_string().contains("compact"), "{error}");
    let until = Instant::now() + Duration::from_secs(20);
    topics.make("shop", Wanted::queue(Declare::Adopt, &options), true, until).await.unwrap();
    assert!(server.created().is_empty());
}

#[tokio::test]
async fn a_cluster_that_refuses_a_topic_says_why() {
    let server = Server::start(1, true);
    let (topics, options) = topics(&server);
    let options = Options { replication: Some(3), ..(*options).clone() };
    let error = make(&topics, Wanted::queue(Declare::Quorum, &options)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().starts_with("make topic shop: "), "{error}");
}

#[tokio::test]
async fn a_cluster_that_cannot_be_asked_for_topics_is_told_of() {
    let server = Server::start(1, false);
    let (topics, options) = topics(&server);
    let error = make(&topics, Wanted::queue(Declare::Quorum, &options)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    // Its settings cannot be seen either, which harms nobody.
    server.add("shop", 6, 1, "delete");
    make(&topics, Wanted::queue(Declare::Quorum, &options)).await.unwrap();
}
