//! Who may import whom, as data. Direction is downward only:
//! `bin → runtime, cli → services → contracts → types`. The check that reads
//! these tables is in `edges`.

/// Crates of the same kind. Crates of one layer never import each other.
pub(super) struct Layer {
    pub(super) name: &'static str,
    /// Package names without `orderwire-`.
    pub(super) crates: &'static [&'static str],
    /// The layers that its code may import.
    pub(super) imports: &'static [&'static str],
    /// The layers that its tests may import besides.
    pub(super) imports_in_tests: &'static [&'static str],
}

/// Every package of the workspace is in exactly one layer.
pub(super) const LAYERS: &[Layer] = &[
    Layer { name: "types", crates: &["types"], imports: &[], imports_in_tests: &[] },
    Layer {
        name: "ports",
        crates: &["queue", "store", "cache", "broker"],
        imports: &["types"],
        imports_in_tests: &["servers"],
    },
    Layer { name: "surface", crates: &["api", "config"], imports: &["types"], imports_in_tests: &[] },
    // A form of files, which the server writes and commands read and write.
    Layer { name: "files", crates: &["parquet"], imports: &[], imports_in_tests: &[] },
    Layer {
        name: "engines",
        crates: &["sqlite", "postgres"],
        imports: &["ports", "types"],
        imports_in_tests: &["servers"],
    },
    Layer {
        name: "brokers",
        crates: &["broker-rabbitmq", "broker-nats", "broker-kafka"],
        imports: &["ports", "types"],
        imports_in_tests: &["servers"],
    },
    Layer {
        name: "services",
        crates: &[
            "gateway",
            "worker",
            "recorder",
            "query",
            "provisioner",
            "transport",
            "emitter",
            "forwarder",
            "mqtt",
        ],
        imports: &["files", "ports", "surface", "types"],
        // The real engine rather than an imitation of it, and a real broker.
        imports_in_tests: &["engines", "brokers", "servers", "requests"],
    },
    Layer { name: "telemetry", crates: &["telemetry"], imports: &["types"], imports_in_tests: &[] },
    // Commands work over the API's types and HTTP, never over the store.
    Layer { name: "cli", crates: &["cli"], imports: &["files", "surface", "types"], imports_in_tests: &[] },
    Layer {
        name: "runtime",
        crates: &["runtime"],
        imports: &["services", "engines", "brokers", "ports", "surface", "telemetry", "types"],
        imports_in_tests: &[],
    },
    Layer {
        name: "bin",
        crates: &["orderwire"],
        imports: &["runtime", "cli", "telemetry"],
        imports_in_tests: &[],
    },
    // Hot paths are counted without the network, so they are put together anew.
    Layer {
        name: "counts",
        crates: &["counts"],
        imports: &["services", "engines", "ports", "surface", "types"],
        imports_in_tests: &[],
    },
    // What holds for a request depends on what both engines make of it.
    Layer {
        name: "requests",
        crates: &["requests"],
        imports: &["services", "engines", "ports", "surface", "types"],
        imports_in_tests: &[],
    },
    // Real servers of a test's own know nothing of ours.
    Layer { name: "servers", crates: &["servers"], imports: &[], imports_in_tests: &[] },
    // End to end is from outside, through the real binary.
    Layer {
        name: "tests",
        crates: &["e2e"],
        imports: &["surface", "types", "servers"],
        imports_in_tests: &[],
    },
    Layer { name: "xtask", crates: &["xtask"], imports: &[], imports_in_tests: &[] },
];

/// An edge that the layers forbid and that is right all the same.
pub(super) struct Exception {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) because: &'static str,
}

/// Each must be in use; tidy reports one that no longer is.
pub(super) const EXCEPTIONS: &[Exception] = &[
    Exception {
        from: "recorder",
        to: "worker",
        because: "worker is the runtime that every worker shares, the recorder is one",
    },
    Exception {
        from: "transport",
        to: "worker",
        because: "worker is the runtime that every worker shares; a relay is one, and so is the drain of a spool",
    },
    Exception {
        from: "mqtt",
        to: "worker",
        because: "what failed is tried again with the same pauses everywhere",
    },
    Exception {
        from: "provisioner",
        to: "worker",
        because: "worker is the runtime that every worker shares, the provisioner is one",
    },
    Exception {
        from: "forwarder",
        to: "worker",
        because: "worker is the runtime that every worker shares, the forwarder is one",
    },
    Exception {
        from: "emitter",
        to: "worker",
        because: "worker is the runtime that every worker shares, the emitter is one",
    },
];

/// A library that only some crates may import.
pub(super) struct Kept {
    pub(super) library: &'static str,
    pub(super) by: &'static [&'static str],
    /// Whether anybody's tests may import it.
    pub(super) free_in_tests: bool,
    pub(super) because: &'static str,
}

pub(super) const KEPT: &[Kept] = &[
    Kept {
        library: "rusqlite",
        by: &["sqlite"],
        free_in_tests: false,
        because: "SQL lives only in the engine",
    },
    Kept {
        library: "parquet",
        by: &["parquet"],
        free_in_tests: false,
        because: "a file of other people may make it panic, which is caught in one place",
    },
    Kept {
        library: "tokio-postgres",
        by: &["postgres"],
        free_in_tests: true,
        because: "SQL lives only in the engine",
    },
    Kept {
        library: "deadpool-postgres",
        by: &["postgres"],
        free_in_tests: false,
        because: "SQL lives only in the engine",
    },
    Kept {
        library: "lapin",
        by: &["broker-rabbitmq"],
        free_in_tests: true,
        because: "AMQP is spoken in one place",
    },
    Kept {
        library: "mqtt-protocol-core",
        by: &["mqtt"],
        free_in_tests: false,
        because: "MQTT is spoken in one place",
    },
    Kept {
        library: "async-nats",
        by: &["broker-nats"],
        free_in_tests: true,
        because: "NATS is spoken in one place",
    },
    Kept {
        library: "rdkafka",
        by: &["broker-kafka"],
        free_in_tests: true,
        because: "Kafka is spoken in one place, and its C library is in builds that ask for it alone",
    },
    Kept { library: "redis", by: &["cache"], free_in_tests: true, because: "Redis is spoken in one place" },
    Kept {
        library: "moka",
        by: &["cache"],
        free_in_tests: false,
        because: "the cache contract hides its library",
    },
    Kept {
        library: "reqwest",
        by: &["cli", "forwarder", "e2e"],
        free_in_tests: true,
        because: "only commands call the server, only the forwarder calls others, behind its guard",
    },
    Kept {
        library: "clap",
        by: &["cli", "orderwire"],
        free_in_tests: false,
        because: "flags are the command line's",
    },
    Kept {
        library: "indicatif",
        by: &["cli"],
        free_in_tests: false,
        because: "only commands talk to a terminal",
    },
    Kept {
        library: "serde-saphyr",
        by: &["config"],
        free_in_tests: false,
        because: "YAML is read in one place, with safe options",
    },
    Kept {
        library: "governor",
        by: &["forwarder"],
        free_in_tests: false,
        because: "only endpoints have a rate",
    },
    Kept {
        library: "minijinja",
        by: &["provisioner", "emitter"],
        free_in_tests: false,
        because: "templates are rendered where no value becomes structure: objects of products, data of events",
    },
    Kept {
        library: "jsonschema",
        by: &["provisioner"],
        free_in_tests: true,
        because: "only parameters of products have a schema of their own",
    },
    Kept {
        library: "tracing-subscriber",
        by: &["telemetry"],
        free_in_tests: true,
        because: "others emit, telemetry sets up",
    },
    Kept {
        library: "metrics-exporter-prometheus",
        by: &["telemetry"],
        free_in_tests: true,
        because: "others emit, telemetry sets up",
    },
    Kept {
        library: "mimalloc",
        by: &["orderwire", "counts"],
        free_in_tests: false,
        because: "the binary chooses the allocator, and the counts are of the same",
    },
    Kept {
        library: "anyhow",
        by: &["orderwire", "counts", "e2e", "servers", "xtask"],
        free_in_tests: true,
        because: "a library's errors have types; anyhow is for programs and tests",
    },
    Kept {
        library: "tempfile",
        by: &["e2e", "requests", "servers"],
        free_in_tests: true,
        because: "temporary folders are for tests",
    },
];

/// Libraries that some crates must do without.
pub(super) struct Without {
    pub(super) crates: &'static [&'static str],
    pub(super) libraries: &'static [&'static str],
    pub(super) because: &'static str,
}

pub(super) const WITHOUT: &[Without] = &[
    Without {
        crates: &["types", "config"],
        libraries: &["tokio", "axum", "futures", "tracing", "metrics"],
        because: "plain values: no I/O, no runtime",
    },
    Without {
        crates: &["queue", "store", "worker", "recorder", "emitter", "sqlite", "postgres"],
        libraries: &["axum", "tower", "tower-http", "utoipa"],
        because: "HTTP ends in the gateway and in query",
    },
];
