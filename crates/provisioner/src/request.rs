//! From the words of whoever asks to the names of an order.
//!
//! Every fault is found in one go. What is wrong with the request itself is kept
//! apart from what is well-formed and not allowed, because a plan shows the latter.

mod namespace;
mod near;

use std::sync::Arc;

use orderwire_store::orders::{Order, Refusal, Release, ReleaseFilter};
use orderwire_types::json::nests_at_most;
use orderwire_types::{Action, Fault, Label, OrderState, RawJson, Scope};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use self::namespace::{Whose, namespace};
use self::near::near;
use crate::catalogue::Product;
use crate::provisioner::{OrderRequest, Parts};

/// The most bytes that the parameters of an order take as JSON.
pub(crate) const PARAMETERS_BYTES_MAX: usize = 64 << 10;
/// How deep the parameters of an order nest at most, the object itself included.
pub(crate) const PARAMETERS_DEPTH_MAX: usize = 32;
/// How much of a text that is no name is kept and shown, in characters.
const SHOWN_CHARS_MAX: usize = 64;

/// A request, resolved.
pub(crate) struct Resolved {
    /// The order, accepted. Where there are faults, it holds what was given, cut.
    pub(crate) order: Order,
    /// The release that it is about, if it is there.
    pub(crate) release: Option<Release>,
    /// What is wrong with the request.
    pub(crate) faults: Vec<Fault>,
    /// What is well-formed and not allowed.
    pub(crate) policy: Vec<Fault>,
    /// Why it is refused before the store is asked: what would have to be known of
    /// the release is not there.
    pub(crate) refused: Option<Refusal>,
}

/// The action that an order asks for by this word; none is create or update.
///
/// # Errors
/// For another word, at `/action`.
pub fn requested_action(given: Option<&str>) -> Result<Action, Fault> {
    match given.map(str::to_ascii_lowercase).as_deref() {
        None => Ok(Action::Apply),
        Some("create") => Ok(Action::Create),
        Some("update") => Ok(Action::Update),
        Some("remove") => Ok(Action::Remove),
        Some(_) => {
            let given = shown(given.unwrap_or_default());
            Err(Fault::invalid(
                "/action",
                format!(
                    "action {given} is not known: create, update or remove, or leave it out to create or update"
                ),
            ))
        }
    }
}

/// Tells two requests apart that come under one id. Over what was asked, not over
/// what it was resolved to, so that a changed configuration makes no other request
/// of a repeated one.
pub(crate) fn fingerprint(request: &OrderRequest) -> [u8; 16] {
    let asked = serde_json::json!([
        request.client.as_str(),
        request.product,
        request.name,
        request.environment,
        request.archtype,
        request.hardware,
        request.namespace,
        request.parameters,
        request.action.as_str(),
        request.to_revision,
    ]);
    let hash = Sha256::digest(asked.to_string().as_bytes());
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&hash[..16]);
    fingerprint
}

/// Resolves a request. Reads the store, changes nothing.
pub(crate) async fn resolve(
    parts: &Parts,
    request: &OrderRequest,
) -> Result<Resolved, orderwire_store::Error> {
    let mut faults = Vec::new();
    let mut policy = Vec::new();
    let mut refused = None;

    if !is_label(request.client.as_str()) {
        faults.push(no_label("/client", "client", request.client.as_str()));
    }
    let asked = request.product.as_deref().map(|given| parts.names.product(given));
    let environment = words(parts, request, &mut faults);
    let name = match request.name.as_ref().or(asked.as_ref()) {
        Some(name) if is_label(name) => Some(name.clone()),
        Some(name) => {
            // A product that is no name is not in the catalogue either, and is said so there.
            if request.name.is_some() || !makes_content(request.action) {
                faults.push(no_label("/name", "name", name));
            }
            None
        }
        None => None,
    };

    let release = match (&name, &environment.found) {
        (Some(name), Some(environment)) => find(parts, request, name, environment).await?,
        _ => None,
    };
    if release.is_none() && (request.action == Action::Rollback || asked.is_none()) {
        match &name {
            Some(name) if matches!(request.action, Action::Update | Action::Rollback | Action::Remove) => {
                refused = Some(Refusal::Missing(name.clone()));
            }
            _ => {}
        }
    }

    let product_name = asked.clone().or_else(|| release.as_ref().map(|release| release.product.clone()));
    let product = if makes_content(request.action) {
        let needed = request.action != Action::Update || request.name.is_none();
        product(parts, request, asked.as_deref(), product_name.as_deref(), needed, &mut faults)
    } else {
        if name.is_none() && request.name.is_none() && asked.is_none() {
            faults.push(Fault::invalid("/name", "which release is not said: give its name or its product"));
        }
        None
    };
    let target = target(parts, environment.found.as_deref(), release.as_ref(), &mut faults);
    if let (Some(product), Some(target)) =
        (&product, target.as_ref().and_then(|name| parts.targets.get(name)))
        && !product.targets.iter().any(|kind| kind == target.kind())
    {
        policy.push(Fault::invalid(
            "/product",
            format!(
                "product {} does not run on targets of kind {}: it runs on {}",
                product.name,
                target.kind(),
                product.targets.join(", ")
            ),
        ));
    }
    let whose = Whose {
        request,
        name: name.as_deref(),
        product: product_name.as_deref(),
        environment: environment.found.as_deref(),
        target: target.as_deref(),
        release: release.as_ref(),
    };
    let namespace = namespace(parts, &whose, &mut faults, &mut policy);
    let parameters = parameters(request, product.as_deref(), &mut faults);

    let now = parts.clock.now();
    let settled = release.as_ref().filter(|_| !makes_content(request.action));
    let order = Order {
        id: request.id,
        trace: request.trace.clone(),
        client: request.client.clone(),
        name: name.or_else(|| request.name.as_deref().map(cut)).unwrap_or_default(),
        product: cut(&product_name.unwrap_or_default()),
        environment: environment.kept,
        archtype: environment.archtype.or_else(|| settled.and_then(|release| release.archtype.clone())),
        hardware: environment.hardware.or_else(|| settled.and_then(|release| release.hardware.clone())),
        namespace: namespace.or_else(|| request.namespace.as_deref().map(cut)).unwrap_or_default(),
        target: target.unwrap_or_default(),
        action: request.action,
        to_revision: request.to_revision,
        parameters,
        principal: request.principal.clone(),
        fingerprint: fingerprint(request),
        ordered_at: request.ordered_at,
        depth: request.depth,
        release: request.release,
        state: OrderState::Accepted,
        reason: None,
        revision: None,
        cancel: false,
        removed: Vec::new(),
        created_at: now,
        updated_at: now,
    };
    Ok(Resolved { order, release, faults, policy, refused })
}

/// Whether an action makes a new revision from the catalogue.
pub(crate) fn makes_content(action: Action) -> bool {
    matches!(action, Action::Apply | Action::Create | Action::Update)
}

/// The scope of the provisioner's own reads.
pub(crate) fn own_scope() -> Scope {
    Scope::internal("provisioner")
}

/// The words of an order that are enumerations.
struct Words {
    /// The canonical environment, if it is known.
    found: Option<String>,
    /// The same, or what was given, cut.
    kept: String,
    archtype: Option<String>,
    hardware: Option<String>,
}

fn words(parts: &Parts, request: &OrderRequest, faults: &mut Vec<Fault>) -> Words {
    let names = &parts.names;
    let mut word = |kind: &str, given: Option<&str>, found: Option<&str>, known: Vec<&str>| {
        let given = given?;
        if found.is_none() {
            faults.push(Fault::invalid(
                format!("/{kind}"),
                format!("{kind} {} is not known: choose one of {}", shown(given), known.join(", ")),
            ));
        }
        Some(found.map_or_else(|| cut(given), str::to_owned))
    };
    let found = names.environment(request.environment.as_deref());
    let kept = word("environment", request.environment.as_deref(), found, names.environments().collect());
    let given = request.archtype.as_deref();
    let archtype = word("archtype", given, given.and_then(|given| names.archtype(given)), names.archtypes());
    let given = request.hardware.as_deref();
    let hardware =
        word("hardware", given, given.and_then(|given| names.hardware(given)), names.hardware_classes());
    Words {
        kept: kept.or_else(|| found.map(str::to_owned)).unwrap_or_default(),
        found: found.map(str::to_owned),
        archtype,
        hardware,
    }
}

/// The release of this name, if it is there.
async fn find(
    parts: &Parts,
    request: &OrderRequest,
    name: &str,
    environment: &str,
) -> Result<Option<Release>, orderwire_store::Error> {
    let filter = ReleaseFilter {
        clients: Some(vec![request.client.clone()]),
        name: Some(name.to_owned()),
        environment: Some(environment.to_owned()),
        ..ReleaseFilter::default()
    };
    Ok(parts.store.releases(&own_scope(), &filter, None, 1).await?.pop())
}

/// The catalogue's entry, which an order that makes a revision needs.
fn product(
    parts: &Parts,
    request: &OrderRequest,
    asked: Option<&str>,
    name: Option<&str>,
    needed: bool,
    faults: &mut Vec<Fault>,
) -> Option<Arc<Product>> {
    let Some(name) = name else {
        if needed {
            faults.push(Fault::invalid(
                "/product",
                "an order needs a product; `orderwire product list` shows what there is",
            ));
        }
        return None;
    };
    let product = parts.catalogue.get(name).cloned();
    if product.is_none() {
        let given = shown(request.product.as_deref().unwrap_or(name));
        let hint = match asked.and_then(|asked| near(parts, asked)) {
            Some(near) => format!("did you mean {near}?"),
            None => "`orderwire product list` shows what there is".to_owned(),
        };
        faults.push(Fault::invalid("/product", format!("product {given} is not in the catalogue; {hint}")));
    }
    product
}

/// Where the release lives already, else where its environment's releases run.
fn target(
    parts: &Parts,
    environment: Option<&str>,
    release: Option<&Release>,
    faults: &mut Vec<Fault>,
) -> Option<String> {
    let environment = environment?;
    let target = match release {
        Some(release) => release.target.as_str(),
        None => parts.names.target_of(environment)?,
    };
    if !parts.targets.contains_key(target) {
        let what = match release {
            Some(release) => format!("release {} is on target {target}", release.name),
            None => format!("environment {environment} runs on target {target}"),
        };
        let detail = format!("{what}, which is not configured on this server; configure it again");
        faults.push(Fault::invalid("/environment", detail));
        return None;
    }
    Some(target.to_owned())
}

/// The parameters, checked; none where they are no parameters.
fn parameters(request: &OrderRequest, product: Option<&Product>, faults: &mut Vec<Fault>) -> RawJson {
    let none = Value::Object(Map::new());
    let given = match &request.parameters {
        None | Some(Value::Null) => &none,
        Some(given) => given,
    };
    let text = given.to_string();
    let fault = if !given.is_object() {
        Some("parameters must be a JSON object".to_owned())
    } else if text.len() > PARAMETERS_BYTES_MAX {
        Some(format!("parameters take {} bytes, at most {PARAMETERS_BYTES_MAX} are taken", text.len()))
    } else if !nests_at_most(text.as_bytes(), PARAMETERS_DEPTH_MAX) {
        Some(format!("parameters nest deeper than {PARAMETERS_DEPTH_MAX} levels"))
    } else {
        None
    };
    if let Some(fault) = fault {
        faults.push(Fault::invalid("/parameters", fault));
        return RawJson::parse("{}".to_owned()).expect("an empty object is JSON");
    }
    if let Some(product) = product {
        faults.extend(product.check_parameters(given));
    }
    RawJson::parse(text).expect("a JSON value is JSON")
}

const LABEL_RULE: &str = "1 to 63 of a-z 0-9 - and a letter or digit first and last";

fn is_label(text: &str) -> bool {
    text.parse::<Label>().is_ok()
}

fn no_label(pointer: &str, what: &str, given: &str) -> Fault {
    Fault::invalid(pointer, format!("{what} {} is no DNS label: {LABEL_RULE}", shown(given)))
}

/// The beginning of a text, quoted and escaped, so that nothing in it can be taken for
/// more.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(SHOWN_CHARS_MAX).collect::<String>())
}

/// The beginning of a text that is kept, harmless wherever it is shown.
fn cut(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).map(harmless).collect()
}

/// A character that moves no cursor, ends no line and turns no text around.
fn harmless(c: char) -> char {
    match c {
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// An order that nobody can do, with everything that is wrong with it.
pub(crate) fn failed(mut order: Order, reason: &str) -> Order {
    order.state = OrderState::Failed;
    // It may quote what was given.
    order.reason = Some(reason.chars().map(harmless).collect());
    order
}

/// The faults as one text, for an order that can only say them afterwards.
pub(crate) fn reason(faults: &[Fault]) -> String {
    /// A schema can find as many faults as there are parameters.
    const CHARS_MAX: usize = 2_000;
    let sentences = faults.iter().map(|fault| match fault.pointer.strip_prefix("/parameters/") {
        Some(_) => format!("{}: {}", fault.pointer, fault.detail),
        None => fault.detail.clone(),
    });
    let text = sentences.collect::<Vec<_>>().join("; ");
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
