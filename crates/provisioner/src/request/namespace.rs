//! Where on its target a release belongs.

use orderwire_store::orders::Release;
use orderwire_types::Fault;

use super::{LABEL_RULE, is_label, no_label, shown};
use crate::provisioner::{OrderRequest, Parts};

/// What a namespace depends on, as far as it is known.
pub(super) struct Whose<'a> {
    pub(super) request: &'a OrderRequest,
    pub(super) name: Option<&'a str>,
    pub(super) product: Option<&'a str>,
    pub(super) environment: Option<&'a str>,
    pub(super) target: Option<&'a str>,
    pub(super) release: Option<&'a Release>,
}

/// The namespace that was given, else that of the release, else what the target's
/// template makes.
pub(super) fn namespace(
    parts: &Parts,
    whose: &Whose<'_>,
    faults: &mut Vec<Fault>,
    policy: &mut Vec<Fault>,
) -> Option<String> {
    let namespace = match (&whose.request.namespace, whose.release) {
        (Some(given), _) if is_label(given) => given.clone(),
        (Some(given), _) => {
            faults.push(no_label("/namespace", "namespace", given));
            return None;
        }
        (None, Some(release)) => return Some(release.namespace.clone()),
        (None, None) => {
            let template = &parts.target_settings.get(whose.target?)?.namespace;
            let client = Some(whose.request.client.as_str()).filter(|client| is_label(client));
            let namespace = template
                .replace("{client}", client?)
                .replace("{environment}", whose.environment?)
                .replace("{name}", whose.name?)
                .replace("{product}", whose.product.filter(|product| is_label(product))?);
            if !is_label(&namespace) {
                faults.push(Fault::invalid(
                    "/namespace",
                    format!(
                        "the namespace comes out as {}, which is no DNS label ({LABEL_RULE}); name one in the order",
                        shown(&namespace)
                    ),
                ));
                return None;
            }
            namespace
        }
    };
    if is_reserved(&namespace) {
        policy.push(Fault::invalid(
            "/namespace",
            format!(
                "namespace {namespace} is reserved: it may not be orderwire nor begin with kube-, openshift- or \
                 orderwire-"
            ),
        ));
    }
    Some(namespace)
}

fn is_reserved(namespace: &str) -> bool {
    namespace == "orderwire"
        || ["kube-", "openshift-", "orderwire-"].iter().any(|prefix| namespace.starts_with(prefix))
}
