//! What orders need of the other parts: the provisioner's ports filled, its
//! catalogue read, its targets made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use orderwire_config::{Config, Names, TargetKind};
use orderwire_gateway::KeyRing;
pub use orderwire_provisioner::catalogue::RenderRequest;
use orderwire_provisioner::catalogue::{Source, Sources, render_folder};
use orderwire_provisioner::targets::process::{BEAT, ProcessOptions, ProcessTarget};
use orderwire_provisioner::{Catalogue, Publisher, ReleaseKeys, Target, Targets};
use orderwire_queue::Queues;
use orderwire_types::envelope::Incoming;
use orderwire_types::{Client, Event, Right, Scope};

use crate::error::{Error, While as _};

/// The subcommand of the binary that supervises the processes of a release.
pub(crate) const SUPERVISE: &str = "supervise";

/// The folder of releases in the data folder.
const RELEASES: &str = "releases";

/// Keys of releases are keys like all others.
pub(crate) struct Keys(pub(crate) Arc<KeyRing>);

#[async_trait]
impl ReleaseKeys for Keys {
    async fn make(
        &self,
        id: &str,
        name: &str,
        client: &Client,
        rights: &[Right],
        objects: &[String],
    ) -> Result<String, String> {
        let made = self.0.make_release_key(id, name, client, rights, objects).await;
        made.map_err(|error| error.to_string())
    }

    async fn revoke(&self, id: &str) -> Result<(), String> {
        self.0.revoke(id).await.map_err(|error| error.to_string())
    }
}

/// Events of the provisioner go where all events go.
pub(crate) struct Publications(pub(crate) Queues);

#[async_trait]
impl Publisher for Publications {
    async fn publish(&self, events: Vec<Event>) -> Result<(), String> {
        let scope = Scope::internal("provisioner");
        let events = events.into_iter().map(|event| Incoming { event, named: true }).collect();
        let missed = self.0.publish_where_room(&scope, events).await.map_err(|error| error.to_string())?;
        for (queue, events) in missed {
            metrics::counter!("orderwire_order_changes_missed_total", "queue" => queue.to_string())
                .increment(events);
            tracing::warn!(
                queue = queue.as_str(),
                events,
                "a queue is full and does not get these changes of orders; take what waits in it, or change its types"
            );
        }
        Ok(())
    }
}

/// Reads every product of the configuration.
pub(crate) fn catalogue(config: &Config, names: &Names) -> Result<Catalogue, Error> {
    let faulty =
        |faults: Vec<String>| Error::failed(format!("the products have faults:\n{}", faults.join("\n")));
    Catalogue::load(&sources(config), names).map_err(faulty)
}

/// What is wrong with the products of the configuration.
pub(crate) fn product_faults(config: &Config) -> Vec<String> {
    Catalogue::load(&sources(config), &Names::of(config)).err().unwrap_or_default()
}

fn sources(config: &Config) -> Sources {
    Sources { builtin: config.products.builtin, folders: config.products.folders.clone() }
}

/// Checks the product in a folder for a server with this configuration: every fault
/// with its file and line.
pub fn lint(config: &Config, folder: &Path) -> Vec<String> {
    orderwire_provisioner::catalogue::lint(folder, &Names::of(config))
}

/// Renders the product in a folder, or the one that a server with this configuration
/// has under the name.
///
/// # Errors
/// Every fault with its file and line.
pub fn render(config: &Config, product: &str, request: &RenderRequest) -> Result<String, Vec<String>> {
    let names = Names::of(config);
    let folder = PathBuf::from(product);
    let source = if folder.join("product.yaml").exists() {
        Source::Folder(folder)
    } else {
        Source::Named(names.product(product), sources(config))
    };
    render_folder(source, &names, request)
}

/// Every target of the configuration.
pub(crate) fn targets(config: &Config) -> Result<Targets, Error> {
    let data = std::path::absolute(&config.data).while_("finding the data folder")?;
    let program = std::env::current_exe().while_("finding the program that supervises processes")?;
    let mut targets = Targets::new();
    for (name, settings) in config.target_settings() {
        let target: Arc<dyn Target> = match settings.kind {
            TargetKind::Process => Arc::new(ProcessTarget::new(ProcessOptions {
                folder: data.join(RELEASES).join(&name),
                program: program.clone(),
                supervise: vec![SUPERVISE.to_owned()],
                memory: settings.memory.0,
                grace: settings.grace.0,
                beat: BEAT,
            })),
        };
        targets.insert(name, target);
    }
    Ok(targets)
}
