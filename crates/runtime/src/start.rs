//! Start and drain.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orderwire_api::places::Places;
use orderwire_config::{Names, Overrides, RULES_QUEUE, Sources};
use orderwire_gateway::{Causes, Gateway, KeyRing, Outlet};
use orderwire_provisioner::Provisioner;
use orderwire_queue::{Clock, Queues};
use orderwire_sqlite::DataDir;
use orderwire_types::{Limits, Scope};
use tokio_util::sync::CancellationToken;

use crate::engines::{self, Engines};
use crate::error::{Error, While as _};
use crate::load::load;
use crate::stage::Stage;
use crate::transport::Transport;
use crate::work::{keep_up, orders_patience, start_orders, start_task, start_workers, sweep};
use crate::{convert, forwards, http, mqtt, orders, ready, rules, server};

/// The file in the data folder that holds the first admin key.
const ADMIN_KEY_FILE: &str = "admin.key";

/// How long consumers may take to leave; each has said goodbye by then, or never will.
const GOODBYE: Duration = Duration::from_secs(4);

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// A configuration that comes with the program, in place of a file: its name and text.
    pub builtin: Option<(&'static str, &'static str)>,
    /// The data folder, over the configuration.
    pub data: Option<PathBuf>,
    /// The address, over the configuration.
    pub listen: Option<String>,
}

impl Options {
    fn into_sources(self) -> Sources {
        Sources {
            file: self.config,
            builtin: self.builtin,
            env: orderwire_config::environment(),
            overrides: Overrides { listen: self.listen, data: self.data },
        }
    }
}

/// A running server.
pub struct Running {
    address: SocketAddr,
    data: PathBuf,
    admin_key: String,
    queues: Queues,
    /// The lock of the data folder, where no engine holds it.
    _folder: Option<DataDir>,
    /// Ends what would go on for as long as nothing happens.
    closing: CancellationToken,
    /// Orders first, while what they run can still be heard, then what comes in, then workers,
    /// then the queue.
    stages: Vec<Stage>,
}

/// Starts every role in this process; returns when all are ready.
///
/// # Errors
/// Every fault of the configuration, or what else is in the way, with what to do.
pub async fn start(options: Options) -> Result<Running, Error> {
    let config = load(&options.into_sources())?;
    let limits = Limits::from(&config.limits);
    let views = convert::views(&config, &limits);
    orderwire_telemetry::start_logs(&config.telemetry.log).while_("starting")?;
    let metrics = orderwire_telemetry::start_metrics().while_("starting")?;
    let clock = Clock::system();
    let names = Arc::new(Names::of(&config));
    let catalogue = Arc::new(orders::catalogue(&config, &names)?);

    // The port first: a taken one is found before a file is touched.
    let (listener, address) = server::bind(&config.listen.to_string()).await.map_err(Error::failed)?;
    let Engines { queue: queue_engine, store, folder } = engines::open(&config, &limits).await?;

    let definitions = config.queue_definitions();
    let queue_options = convert::queue_options(&config, &limits);
    let (queues, queue_service) =
        Queues::open(queue_engine, definitions, convert::workers(&config), queue_options, clock.clone())
            .await
            .while_("opening the queues")?;
    let mut queue_stage = Stage::new("the queue", Duration::from_secs(20));
    let stopped = queue_stage.stop.clone().cancelled_owned();
    queue_stage.spawn("the queue", queue_service.run(stopped));

    let internal = Scope::internal("configuration");
    for (name, def) in &config.datasets {
        store
            .define(&internal, name, def, clock.now())
            .await
            .while_(&format!("making dataset {name} of the configuration"))?;
    }
    let transport = match Transport::open(&config, store.as_ref(), &clock).await? {
        Some((transport, service)) => {
            if let Some(service) = service {
                let stopped = queue_stage.stop.clone().cancelled_owned();
                queue_stage.spawn("the queue of the spool", service.run(stopped));
            }
            let (broker, stop) = (transport.broker.clone(), queue_stage.stop.clone());
            queue_stage.spawn("the connection to the broker", async move {
                stop.cancelled().await;
                broker.close().await;
            });
            Some(transport)
        }
        None => None,
    };
    let keys = Arc::new(KeyRing::new(store.clone(), clock.clone()));
    let key_file = config.data.join(ADMIN_KEY_FILE);
    if keys.ensure_admin(&key_file, config.store.is_postgres()).await.while_("making the admin key")? {
        tracing::info!(file = %key_file.display(), "a new admin key was made");
    }
    let admin_key = std::fs::read_to_string(&key_file).while_(&format!("reading {}", key_file.display()))?;

    let provisioner = Provisioner::new(orderwire_provisioner::Parts {
        store: store.clone(),
        catalogue,
        names,
        targets: Arc::new(orders::targets(&config)?),
        target_settings: Arc::new(config.target_settings()),
        keys: Arc::new(orders::Keys(keys.clone())),
        publisher: Arc::new(orders::Publications(queues.clone())),
        url: url_of(address),
        clock: clock.clone(),
    });
    let mut worker_stage = Stage::new("the workers", Duration::from_secs(30));
    let streams = start_workers(&mut worker_stage, &queues, &store, &provisioner, &clock, transport.as_ref());
    let (forwarder, posting) = orderwire_forwarder::Forwarder::new(orderwire_forwarder::Parts {
        endpoints: forwards::endpoints(&config)?,
        queues: queues.clone(),
        store: store.clone(),
        lookup: Arc::new(orderwire_forwarder::SystemLookup),
        clock: clock.clone(),
        log_for: config.retention.forwards.0,
    })
    .map_err(Error::failed)?;
    worker_stage.spawn("the forwarder", posting.run(worker_stage.stop.clone().cancelled_owned()));
    if let Some(emitter) = rules::emitter(&config, &limits, &queues, &store, &clock) {
        let worker = (RULES_QUEUE, rules::ROLE);
        start_task(&mut worker_stage, &queues, worker, "the emitter", emitter, transport.as_ref());
    }
    worker_stage.spawn(
        "the sweeper of the store",
        sweep(store.clone(), config.retention.clone(), clock.clone(), worker_stage.stop.clone()),
    );

    let stop = worker_stage.stop.clone();
    worker_stage.spawn("the upkeep of metrics", keep_up(metrics.clone(), stop));

    let (causes, noting) = Causes::open(store.clone());
    worker_stage.spawn("the notes of causes", noting.run(worker_stage.stop.clone().cancelled_owned()));

    let cache = crate::cache::open(&config.cache, &*store)?;
    let handle = queues.clone();
    let closing = CancellationToken::new();
    let outlet: Arc<dyn Outlet> = match &transport {
        Some(transport) => transport.outlet(&queues),
        None => Arc::new(queues.clone()),
    };
    let readiness = ready::Parts {
        queues: queues.clone(),
        store: store.clone(),
        broker: transport.as_ref().map(|transport| transport.broker.clone()),
        spool: transport.as_ref().and_then(|transport| transport.spool.clone()),
        topology: transport.as_ref().map(|transport| transport.topology.clone()),
        mqtt: std::sync::OnceLock::new(),
    };
    let readiness = Arc::new(readiness);
    let broker = transport.as_ref().map(Transport::view);
    let connections = Places::new(limits.consumer_connections, limits.consumer_connections_per_key);
    let gateway = Gateway {
        queues,
        outlet,
        broker,
        store: store.clone(),
        causes,
        keys,
        readiness: readiness.clone(),
        clock,
        limits,
        connections: connections.clone(),
    };
    let (mqtt_stage, health) = mqtt::start(&config, &gateway)?;
    readiness.mqtt.get_or_init(|| health);
    let transport_stage = transport.map(|transport| transport.start(&gateway, &streams));
    let router = http::router(http::Parts {
        views,
        gateway,
        cache,
        provisioner: provisioner.clone(),
        forwarder,
        closing: closing.clone(),
        metrics,
    })?;
    let mut http_stage = Stage::new("the HTTP server", Duration::from_secs(15));
    let stopped = http_stage.stop.clone();
    http_stage.spawn("the HTTP server", async move {
        let cut = server::serve(listener, router, server::Options::default(), stopped).await;
        if cut > 0 {
            tracing::warn!(connections = cut, "requests were cut at the end of the drain");
        }
        // A WebSocket is no request any more, so that the server does not wait for it.
        if tokio::time::timeout(GOODBYE, connections.vacant()).await.is_err() {
            tracing::warn!("connections of consumers were cut at the end of the drain");
        }
    });
    // Last, because what it brings back calls this server.
    let options = convert::reconciler_options(&config);
    let graces = config.target_settings().into_values().map(|target| target.grace.0);
    let patience = orders_patience(options.drain, graces);
    let order_stage = start_orders(store.clone(), provisioner, options, patience);
    tracing::info!(listen = %address, data = %config.data.display(), "ready");
    Ok(Running {
        address,
        data: config.data.clone(),
        admin_key: admin_key.trim().to_owned(),
        queues: handle,
        _folder: folder,
        closing,
        stages: [
            Some(order_stage),
            Some(http_stage),
            mqtt_stage,
            transport_stage,
            Some(worker_stage),
            Some(queue_stage),
        ]
        .into_iter()
        .flatten()
        .collect(),
    })
}

/// The address as a URL that this machine can call.
fn url_of(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{address}")
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a URL that this machine can call.
    pub fn url(&self) -> String {
        url_of(self.address)
    }

    /// The admin key.
    pub fn admin_key(&self) -> &str {
        &self.admin_key
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Waits for a part that ends by itself, which is a fault.
    pub async fn fault(&mut self) -> Error {
        let faults = self.stages.iter_mut().map(|stage| Box::pin(stage.fault()));
        futures::future::select_all(faults).await.0
    }

    /// Stops every part in order, so that nothing acknowledged is lost and
    /// nothing is done twice.
    ///
    /// # Errors
    /// When a part did not stop in time; what it held goes on at the next start.
    pub async fn drain(self) -> Result<(), Error> {
        tracing::info!("draining");
        // A long poll or a watch would hold up the HTTP server until its time is over.
        self.queues.stop_waiting();
        self.closing.cancel();
        let mut first = Ok(());
        for stage in self.stages {
            let drained = stage.drain().await;
            if first.is_ok() {
                first = drained;
            }
        }
        tracing::info!("drained");
        first
    }
}
