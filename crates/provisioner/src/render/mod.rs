//! From templates and values to objects, so that no value can ever be more than
//! the scalar that it stands in.
//!
//! A template never prints a value. What `{{ … }}` prints is a placeholder that
//! nobody can guess (`tokens`); the text with the placeholders is read as YAML, and
//! only then values take the place of their placeholders, in the tree (`document`).
//! A value is therefore never read as YAML at all: it cannot end its scalar, add a
//! key, begin a document, nor be a template. Blocks and macros are text like any
//! other value; there is no way to print something raw, and no filter that could
//! open one.

mod document;
mod filters;
mod objects;
mod tokens;
mod values;

use std::collections::BTreeMap;
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use orderwire_types::Client;
use serde_json::{Value, json};

pub(crate) use objects::Placed;

use document::Budget;
use tokens::Tokens;

/// The most bytes that the templates of a product may make.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// The most objects of a release.
const OBJECTS_MAX: usize = 200;
/// The most steps of one template.
const FUEL: u64 = 500_000;
/// How deep macros and inclusions may go.
const RECURSION_MAX: usize = 32;

/// What templates know of a release. Neither its trace nor its order: the same
/// content must stay the same.
#[derive(Clone, Debug)]
pub struct Context {
    /// Whose.
    pub client: Client,
    /// The product.
    pub product: String,
    /// The name of the release.
    pub release: String,
    /// The environment.
    pub environment: String,
    /// The archtype; empty when none was given.
    pub archtype: String,
    /// The hardware class; empty when none was given.
    pub hardware: String,
    /// The namespace.
    pub namespace: String,
    /// The merged values.
    pub values: Value,
}

/// Why a product could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", self.place())]
pub struct RenderError {
    /// The template, as a path within the product.
    pub template: Option<String>,
    /// The line in it, from 1; 0 when it is not known.
    pub line: usize,
    /// What is wrong.
    pub detail: String,
}

impl RenderError {
    fn place(&self) -> String {
        let template = self.template.as_deref().unwrap_or("templates");
        if self.line == 0 { template.to_owned() } else { format!("{template}:{}", self.line) }
    }

    fn at(template: &str, line: usize, detail: impl Into<String>) -> Self {
        Self { template: Some(template.to_owned()), line, detail: detail.into() }
    }
}

/// The templates of a product, by their path within it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Templates(BTreeMap<String, String>);

impl Templates {
    /// Takes templates whose syntax is right.
    ///
    /// # Errors
    /// Every template that is not, with the line.
    pub(crate) fn new(sources: BTreeMap<String, String>) -> Result<Self, Vec<RenderError>> {
        let mut environment = environment(&Tokens::new());
        let faults: Vec<RenderError> = sources
            .iter()
            .filter_map(|(name, source)| match environment.add_template_owned(name.clone(), source.clone()) {
                Ok(()) => filters::check(name, source, syntax()).err(),
                Err(error) => Some(from_engine(name, &error)),
            })
            .collect();
        if faults.is_empty() { Ok(Self(sources)) } else { Err(faults) }
    }

    /// The objects, in the order of the templates' names.
    ///
    /// # Errors
    /// With the template and its line.
    pub(crate) fn render(&self, kinds: &[String], context: &Context) -> Result<Vec<Placed>, RenderError> {
        let tokens = Tokens::new();
        let mut environment = environment(&tokens);
        for (name, source) in &self.0 {
            let added = environment.add_template_owned(name.clone(), source.clone());
            added.map_err(|error| from_engine(name, &error))?;
        }
        let known = values::to_template(&json!({
            "client": context.client.as_str(),
            "product": context.product,
            "release": context.release,
            "environment": context.environment,
            "archtype": context.archtype,
            "hardware": context.hardware,
            "namespace": context.namespace,
            "values": context.values,
        }));
        let mut budget = Budget::new(OUTPUT_BYTES_MAX);
        let mut objects = objects::Objects::new(kinds, &context.namespace);
        for (name, source) in self.0.iter().filter(|(name, _)| !is_helper(name)) {
            let mut text = Bounded::default();
            environment
                .get_template(name)
                .and_then(|template| template.render_captured_to(&known, &mut text).map(drop))
                .map_err(|error| text.too_large(name).unwrap_or_else(|| from_engine(name, &error)))?;
            let text = text.into_text();
            for document in document::read(name, source, &text, &tokens, &mut budget)? {
                objects.add(name, document)?;
            }
        }
        objects.finish()
    }
}

/// Whether a template only holds macros for others.
fn is_helper(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|file| file.starts_with('_'))
}

fn environment(tokens: &Tokens) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_syntax(syntax());
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_MAX);
    filters::install(&mut environment);
    tokens.install(&mut environment);
    environment
}

/// The lines of blocks vanish, as people expect it where indentation counts.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build()
        .expect("the delimiters are the usual ones")
}

fn from_engine(template: &str, error: &Error) -> RenderError {
    let detail = match error.kind() {
        ErrorKind::UndefinedError => {
            let hint = "set it in values.yaml or in the parameters' defaults, or ask `is defined` first";
            format!("a value that is used here does not exist; {hint}")
        }
        ErrorKind::OutOfFuel => "the template takes too many steps; loop over less".to_owned(),
        kind => match error.detail() {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        },
    };
    RenderError::at(error.name().unwrap_or(template), error.line().unwrap_or(0), detail)
}

/// Text that ends with an error where it would grow too large.
#[derive(Default)]
struct Bounded {
    text: Vec<u8>,
    is_over: bool,
}

impl Bounded {
    fn too_large(&self, template: &str) -> Option<RenderError> {
        self.is_over.then(|| RenderError::at(template, 0, "the template makes more than 1 MiB of text"))
    }

    fn into_text(self) -> String {
        String::from_utf8(self.text).expect("templates are text, and so is what they print")
    }
}

impl io::Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > OUTPUT_BYTES_MAX {
            self.is_over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
