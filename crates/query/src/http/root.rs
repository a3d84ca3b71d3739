//! `/rest/`: what there is, as PostgREST describes it, for the datasets of the key.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use orderwire_api::Problem;
use orderwire_store::Dataset;
use orderwire_types::dataset::{Field, FieldType};
use serde_json::{Map, Value, json};

use super::Service;
use super::rest::caller;
use crate::error::Error;

/// The parameters that every dataset takes.
const PARAMETERS: [(&str, &str, &str, &str); 8] = [
    ("select", "select", "query", "Filtering Columns"),
    ("order", "order", "query", "Ordering"),
    ("range", "Range", "header", "Limiting and Pagination"),
    ("rangeUnit", "Range-Unit", "header", "Limiting and Pagination"),
    ("offset", "offset", "query", "Limiting and Pagination"),
    ("limit", "limit", "query", "Limiting and Pagination"),
    ("cursor", "cursor", "query", "Where a page begins: start, then what Orderwire-Next said"),
    ("preferCount", "Prefer", "header", "Preference: count=exact"),
];

/// The datasets of the key, as an OpenAPI 2.0 document like that of PostgREST.
#[utoipa::path(get, path = "/rest/", tag = "rest", security(("bearer" = []), ("api_key" = [])),
    responses((status = 200, description = "an OpenAPI 2.0 document", body = Object, content_type = "application/openapi+json"),
        (status = 401, description = "no key, or one that is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "the key may not", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn describe(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, Error> {
    let (mut parts, _) = request.into_parts();
    let scope = caller(&mut parts).await?;
    let document = document(&service.store.datasets(&scope)).to_string();
    let headers = [
        (CONTENT_TYPE, "application/openapi+json; charset=utf-8"),
        (CACHE_CONTROL, "private, no-cache"),
        (VARY, "Authorization, X-API-Key"),
    ];
    Ok((headers, document).into_response())
}

fn document(datasets: &[Arc<Dataset>]) -> Value {
    let mut paths = Map::new();
    let mut definitions = Map::new();
    let mut parameters = Map::new();
    paths.insert("/".to_owned(), json!({"get": {"tags": ["Introspection"], "summary": "OpenAPI description (this document)",
        "produces": ["application/openapi+json", "application/json"], "responses": {"200": {"description": "OK"}}}}));
    for (key, name, place, description) in PARAMETERS {
        let parameter = json!({"name": name, "in": place, "description": description, "required": false, "type": "string"});
        parameters.insert(key.to_owned(), parameter);
    }
    parameters.insert("preferPost".to_owned(), json!({"name": "Prefer", "in": "header", "required": false, "type": "string",
        "description": "Preference", "enum": ["return=representation", "return=minimal", "resolution=ignore-duplicates",
            "resolution=merge-duplicates"]}));
    for dataset in datasets {
        let name = dataset.name.as_str();
        let body = json!({"name": name, "in": "body", "description": name, "required": false,
            "schema": {"$ref": format!("#/definitions/{name}")}});
        parameters.insert(format!("body.{name}"), body);
        let mut read: Vec<Value> = Vec::new();
        for field in &dataset.def.fields {
            let filter = format!("rowFilter.{name}.{}", field.name);
            read.push(json!({"$ref": format!("#/parameters/{filter}")}));
            let parameter =
                json!({"name": field.name.as_str(), "in": "query", "required": false, "type": "string"});
            parameters.insert(filter, parameter);
        }
        read.extend(PARAMETERS.iter().map(|(key, ..)| json!({"$ref": format!("#/parameters/{key}")})));
        let write = ["select".to_owned(), format!("body.{name}"), "preferPost".to_owned()];
        let write = write.map(|key| json!({"$ref": format!("#/parameters/{key}")}));
        let rows = json!({"type": "array", "items": {"$ref": format!("#/definitions/{name}")}});
        paths.insert(
            format!("/{name}"),
            json!({
                "get": {"tags": [name], "parameters": read, "responses": {
                    "200": {"description": "OK", "schema": rows}, "206": {"description": "Partial Content"}}},
                "post": {"tags": [name], "parameters": write, "responses": {
                    "201": {"description": "Created"}, "202": {"description": "Accepted"}}},
            }),
        );
        definitions.insert(name.to_owned(), definition(dataset));
    }
    let media = ["application/json", "application/vnd.pgrst.object+json", "text/csv"];
    json!({
        "swagger": "2.0",
        "info": {"title": "Orderwire", "version": env!("CARGO_PKG_VERSION"), "description": "The datasets of this key"},
        "basePath": "/rest",
        "consumes": media, "produces": media,
        "paths": paths, "definitions": definitions, "parameters": parameters,
        "externalDocs": {"description": "PostgREST Documentation", "url": "https://postgrest.org/en/stable/api.html"},
    })
}

fn definition(dataset: &Dataset) -> Value {
    let def = &dataset.def;
    let required: Vec<&str> =
        def.fields.iter().filter(|field| field.required).map(|field| field.name.as_str()).collect();
    let properties: Map<String, Value> = def
        .fields
        .iter()
        .map(|field| (field.name.to_string(), property(field, def.key.contains(&field.name))))
        .collect();
    json!({"type": "object", "required": required, "properties": properties})
}

fn property(field: &Field, in_key: bool) -> Value {
    let (format, kind) = match field.field_type {
        FieldType::Integer => ("bigint", Some("integer")),
        FieldType::Float => ("double precision", Some("number")),
        FieldType::Boolean => ("boolean", Some("boolean")),
        FieldType::Timestamp => ("timestamp with time zone", Some("string")),
        FieldType::Decimal => ("numeric", Some("number")),
        FieldType::Texts => ("text[]", Some("array")),
        FieldType::Json => ("json", None),
        other => (other.as_str(), Some("string")),
    };
    let unit = field.unit.as_ref().map(|unit| format!("[{unit}]"));
    // What clients of PostgREST look for.
    let key = in_key.then(|| "Note:\nThis is a Primary Key.<pk/>".to_owned());
    let described: Vec<String> = field.description.clone().into_iter().chain(unit).chain(key).collect();
    let mut property = json!({"format": format});
    if let Some(kind) = kind {
        property["type"] = kind.into();
    }
    if kind == Some("array") {
        property["items"] = json!({"type": "string"});
    }
    if !described.is_empty() {
        property["description"] = described.join("\n\n").into();
    }
    property
}
