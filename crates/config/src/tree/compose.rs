//! From YAML text to nodes, within bounds.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Marker, Options, Parser, ScalarStyle};

use super::{Entry, Id, Tree, Value};
use crate::fault::{Fault, PathName, Position};

/// The deepest nesting of a document, aliases written out.
const DEPTH_MAX: usize = 32;
/// The most values of a document, aliases written out.
const VALUES_MAX: usize = 50_000;
/// The most text of a document, aliases written out.
const TEXT_MAX: usize = 16 << 20;

/// Adds the nodes of one YAML document to the tree and returns its root.
/// Faults after which reading can go on (a key given twice, a tag) are pushed
/// to `faults`; one that ends it is the error.
pub(crate) fn compose(
    tree: &mut Tree,
    source: &str,
    text: &str,
    faults: &mut Vec<Fault>,
) -> Result<Id, Fault> {
    let roots = compose_some(tree, source, text, faults, 1)?;
    let start = Position { source: source.into(), line: Some(1), column: Some(1) };
    let nothing = || tree.add(start, Value::Scalar { text: String::new(), plain: true });
    Ok(roots.first().copied().unwrap_or_else(nothing))
}

/// The same for a text of several documents, whose bounds hold for all of them together.
pub(crate) fn compose_all(
    tree: &mut Tree,
    source: &str,
    text: &str,
    faults: &mut Vec<Fault>,
) -> Result<Vec<Id>, Fault> {
    compose_some(tree, source, text, faults, VALUES_MAX)
}

fn compose_some(
    tree: &mut Tree,
    source: &str,
    text: &str,
    faults: &mut Vec<Fault>,
    documents_max: usize,
) -> Result<Vec<Id>, Fault> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.block_nesting_limit = DEPTH_MAX * 2;
    options.flow_nesting_limit = DEPTH_MAX * 2;
    options.emit_unresolved_aliases = true;
    let mut composer = Composer {
        tree,
        faults,
        source: source.into(),
        open: Vec::new(),
        anchors: HashMap::new(),
        extents: HashMap::new(),
        roots: Vec::new(),
        total: NOTHING,
        documents: 0,
        documents_max,
    };
    for next in Parser::new_from_str_with_options(text, options) {
        match next {
            Ok((event, span)) => composer.take(event, composer.position(&span.start))?,
            Err(error) => {
                let detail = format!("this is not YAML: {}", error.info());
                return Err(fault(composer.position(error.marker()), detail));
            }
        }
    }
    Ok(composer.roots)
}

struct Composer<'t> {
    tree: &'t mut Tree,
    faults: &'t mut Vec<Fault>,
    source: Arc<str>,
    open: Vec<Open>,
    /// Finished nodes by the parser's anchor number; none while it is open.
    anchors: HashMap<usize, Option<Id>>,
    extents: HashMap<Id, Extent>,
    roots: Vec<Id>,
    /// Of every document that ended.
    total: Extent,
    documents: usize,
    documents_max: usize,
}

/// A container whose end was not seen yet.
struct Open {
    at: Position,
    anchor: usize,
    extent: Extent,
    parts: Parts,
}

enum Parts {
    List(Vec<Id>),
    Map { entries: Vec<Entry>, lines: HashMap<String, usize>, key: Option<(String, Position)> },
}

/// How large a node is with its aliases written out.
#[derive(Clone, Copy)]
struct Extent {
    values: usize,
    depth: usize,
    /// Bytes of keys and values.
    text: usize,
}

const NOTHING: Extent = Extent { values: 0, depth: 0, text: 0 };
const LEAF: Extent = Extent { values: 1, depth: 1, text: 0 };

impl Extent {
    fn add(&mut self, part: Self, depth: usize) {
        self.values = self.values.saturating_add(part.values);
        self.text = self.text.saturating_add(part.text);
        self.depth = self.depth.max(part.depth + depth);
    }

    /// Why this is too large.
    fn excess(self) -> Option<String> {
        let Self { values, depth, text } = self;
        if values > VALUES_MAX {
            Some(format!("more than {VALUES_MAX} values with aliases written out"))
        } else if depth > DEPTH_MAX {
            Some(format!("nested deeper than {DEPTH_MAX} levels with aliases written out"))
        } else if text > TEXT_MAX {
            Some(format!("more than {} MiB of text with aliases written out", TEXT_MAX >> 20))
        } else {
            None
        }
    }
}

impl Composer<'_> {
    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), Fault> {
        if let Some(tag) = event.tag() {
            let detail = format!("the tag {} is not supported; remove it", tag.original());
            self.faults.push(fault(at.clone(), detail));
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > self.documents_max {
                    let detail = match self.documents_max {
                        1 => "a second document begins here; put everything into one".to_owned(),
                        most => format!("more than {most} documents"),
                    };
                    return Err(fault(at, detail));
                }
            }
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                if self.takes_key() {
                    return self.key(text.into_owned(), at);
                }
                let extent = Extent { text: text.len(), ..LEAF };
                let id = self.tree.add(at, Value::Scalar { text: text.into_owned(), plain });
                self.finish(id, anchor, extent)?;
            }
            Event::SequenceStart(_, anchor, _) => self.begin(at, anchor, Parts::List(Vec::new()))?,
            Event::MappingStart(_, anchor, _) => {
                self.begin(at, anchor, Parts::Map { entries: Vec::new(), lines: HashMap::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.open.pop().expect("the parser pairs ends with starts");
                let value = match open.parts {
                    Parts::List(items) => Value::List(items),
                    Parts::Map { entries, .. } => Value::Map(entries),
                };
                let id = self.tree.add(open.at, value);
                self.finish(id, open.anchor, open.extent)?;
            }
            Event::Alias(anchor) => {
                if self.takes_key() {
                    return Err(fault(at, "an alias cannot be a key; write the key out".into()));
                }
                let Some(Some(id)) = self.anchors.get(&anchor).copied() else {
                    return Err(fault(
                        at,
                        "this alias stands inside its own anchor; write the value out".into(),
                    ));
                };
                let extent = self.extents.get(&id).copied().unwrap_or(LEAF);
                self.attach(id, extent)?;
            }
            Event::UnresolvedAlias(name) => {
                return Err(fault(
                    at,
                    format!("no anchor &{name} stands before this alias; write the value out"),
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn takes_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { parts: Parts::Map { key: None, .. }, .. }))
    }

    fn key(&mut self, text: String, at: Position) -> Result<(), Fault> {
        if let Some(Open { parts: Parts::Map { key, .. }, extent, .. }) = self.open.last_mut() {
            extent.text = extent.text.saturating_add(text.len());
            *key = Some((text, at));
        }
        Ok(())
    }

    fn begin(&mut self, at: Position, anchor: usize, parts: Parts) -> Result<(), Fault> {
        if self.takes_key() {
            return Err(fault(at, "a key must be plain text".into()));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(fault(at, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, None);
        }
        self.open.push(Open { at, anchor, extent: LEAF, parts });
        Ok(())
    }

    fn finish(&mut self, id: Id, anchor: usize, extent: Extent) -> Result<(), Fault> {
        if anchor > 0 {
            self.anchors.insert(anchor, Some(id));
            self.extents.insert(id, extent);
        }
        self.attach(id, extent)
    }

    /// Gives a value to the container that is open, or makes it the root.
    fn attach(&mut self, id: Id, extent: Extent) -> Result<(), Fault> {
        let Some(parent) = self.open.last_mut() else {
            self.roots.push(id);
            self.total.add(extent, 0);
            return match self.total.excess() {
                Some(detail) => Err(fault(self.tree.node(id).at.clone(), detail)),
                None => Ok(()),
            };
        };
        parent.extent.add(extent, 1);
        if let Some(detail) = parent.extent.excess() {
            return Err(fault(parent.at.clone(), detail));
        }
        let (entries, lines, key) = match &mut parent.parts {
            Parts::List(items) => {
                items.push(id);
                return Ok(());
            }
            Parts::Map { entries, lines, key } => (entries, lines, key),
        };
        let (key, at) = key.take().expect("the parser gives a key before each value");
        let line = at.line.unwrap_or_default();
        let detail = if key == "<<" {
            "merge keys are not supported; write the fields out".to_owned()
        } else if let Some(first) = lines.get(&key) {
            format!("given twice, first on line {first}; keep one")
        } else {
            lines.insert(key.clone(), line);
            entries.push(Entry { key, at, id });
            return Ok(());
        };
        let key = self.path(&key);
        self.faults.push(Fault { position: Some(at), key, detail });
        Ok(())
    }

    /// The full name of a key in the container that is open.
    fn path(&self, key: &str) -> String {
        let mut path = PathName::default();
        for open in &self.open {
            match &open.parts {
                Parts::List(items) => path.index(items.len()),
                Parts::Map { key: Some((key, _)), .. } => path.key(key),
                Parts::Map { key: None, .. } => {}
            }
        }
        path.key(key);
        path.0
    }

    fn position(&self, marker: &Marker) -> Position {
        Position { source: self.source.clone(), line: Some(marker.line()), column: Some(marker.col() + 1) }
    }
}

fn fault(at: Position, detail: String) -> Fault {
    Fault { position: Some(at), key: String::new(), detail }
}
