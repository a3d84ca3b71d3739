//! What can be ordered.

use axum::Json;
use axum::extract::State;
use orderwire_api::extract::Segments;
use orderwire_api::problem::shown;
use orderwire_api::wire::{List, ProductInfo, ProductOpening};
use orderwire_api::{Caller, Problem, ReadProblems};
use orderwire_types::{Label, Right};

use super::Shared;
use crate::catalogue::{OnFailure, Opening, Product};

/// The products of the catalogue, by name: all of them, as few as they are.
#[utoipa::path(get, path = "/v1/products", tag = "products",
    responses((status = 200, description = "the products", body = List<ProductInfo>), ReadProblems))]
pub(super) async fn list_products(
    State(state): State<Shared>,
    caller: Caller,
) -> Result<Json<List<ProductInfo>>, Problem> {
    may_look(&caller)?;
    let items = state.provisioner.parts.catalogue.products().map(|product| info(&state, product)).collect();
    Ok(Json(List { items, next: None }))
}

/// One product, by name or alias.
#[utoipa::path(get, path = "/v1/products/{name}", tag = "products",
    params(("name" = String, Path, description = "its name, or an alias")),
    responses((status = 200, description = "the product", body = ProductInfo), ReadProblems))]
pub(super) async fn get_product(
    State(state): State<Shared>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<Json<ProductInfo>, Problem> {
    may_look(&caller)?;
    let parts = &state.provisioner.parts;
    let product = parts.catalogue.get(&parts.names.product(&name));
    let product = product.ok_or_else(|| {
        Problem::not_found(format!("product {} is not in the catalogue; see /v1/products", shown(&name)))
    })?;
    Ok(Json(info(&state, product)))
}

fn may_look(caller: &Caller) -> Result<(), Problem> {
    if caller.scope.may(Right::Order) { Ok(()) } else { caller.require(Right::Read) }
}

fn opening((name, opening): (&Label, &Opening)) -> ProductOpening {
    ProductOpening {
        name: name.to_string(),
        scheme: opening.scheme.to_string(),
        description: opening.description.as_ref().map(|text| text.trim().to_owned()),
    }
}

fn info(state: &super::State, product: &Product) -> ProductInfo {
    let names = &state.provisioner.parts.names;
    let on_failure = match product.on_failure {
        OnFailure::Rollback => "rollback",
        OnFailure::Freeze => "freeze",
        OnFailure::Keep => "keep",
    };
    ProductInfo {
        product: product.name.to_string(),
        version: product.version.clone(),
        description: product.description.clone(),
        aliases: names.aliases_of(product.name.as_str()).map(str::to_owned).collect(),
        targets: product.targets.clone(),
        parameters: product.parameters.clone(),
        openings: product.openings.iter().map(opening).collect(),
        on_failure: on_failure.to_owned(),
    }
}
