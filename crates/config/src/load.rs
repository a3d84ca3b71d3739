//! The layers of a configuration, laid over each other.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::check::{Report, check};
use crate::fault::{Fault, Faults, Position};
use crate::model::Config;
use crate::read::read;
use crate::tree::{Entry, Id, Tree, Value, compose};

/// The largest configuration file.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;

/// What environment variables that configure begin with. The levels of a key
/// are separated by two underscores.
const PREFIX: &str = "ORDERWIRE__";

/// Where a configuration comes from, beside the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The YAML file, over the defaults.
    pub file: Option<PathBuf>,
    /// YAML that comes with the program, in place of a file: its name and text.
    pub builtin: Option<(&'static str, &'static str)>,
    /// Environment variables, over the file. Those that do not begin with
    /// `ORDERWIRE__` are passed over. See [`environment`].
    pub env: Vec<(String, String)>,
    /// What was said explicitly, over everything.
    pub overrides: Overrides,
}

/// Values from the command line.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The value of `--listen`.
    pub listen: Option<String>,
    /// The value of `--data`.
    pub data: Option<PathBuf>,
}

/// The variables of this process that configure it. Unlike `std::env::vars`
/// this does not panic over a variable that is not UTF-8; what is not is
/// replaced, and then refused as a value.
pub fn environment() -> Vec<(String, String)> {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    let vars = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
    vars.filter(|(name, _)| name.starts_with(PREFIX)).collect()
}

impl Config {
    /// Loads and checks a configuration.
    ///
    /// # Errors
    /// Every fault of every source. A file that cannot be read or is not YAML
    /// hides the faults that its content may have.
    pub fn load(sources: &Sources) -> Result<Self, Faults> {
        Self::load_with(sources, |_, _| {})
    }

    /// The same, with checks that need more than is known here; their faults
    /// are reported together with all others.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with(sources: &Sources, more: impl FnOnce(&Self, &mut Report<'_>)) -> Result<Self, Faults> {
        let file = sources.file.as_deref().map(|path| (path, read_file(path)));
        let builtin = sources.builtin.map(|(name, text)| (Path::new(name), Ok(text.to_owned())));
        let text = file.or(builtin);
        let mut faults = Vec::new();
        let mut tree = Tree::default();
        let mut root = tree.add(Position::whole("configuration"), Value::Map(Vec::new()));
        let mut readable = true;
        if let Some((path, text)) = text {
            let source = path.display().to_string();
            match text.and_then(|text| compose(&mut tree, &source, &text, &mut faults)) {
                Ok(file) if is_map(&tree, file) => root = tree.merge(root, file),
                Ok(file) => {
                    let position = Some(tree.node(file).at.clone());
                    let detail =
                        "a configuration is a map of keys and values, such as `listen: 127.0.0.1:8080`";
                    faults.push(Fault { position, key: String::new(), detail: detail.to_owned() });
                    readable = false;
                }
                Err(fault) => {
                    faults.push(fault);
                    readable = false;
                }
            }
        }
        for layer in
            [env_layer(&mut tree, &sources.env, &mut faults), flags_layer(&mut tree, &sources.overrides)]
        {
            root = tree.merge(root, layer);
        }
        if readable {
            let mut lost = Vec::new();
            if let Some(config) = read::<Self>(&mut tree, root, later, &mut faults, &mut lost) {
                let mut report = Report::new(&tree, root, &lost, &mut faults);
                check(&config, &mut report);
                more(&config, &mut report);
                Faults::none_or(faults)?;
                return Ok(config);
            }
        }
        Faults::none_or(faults)?;
        unreachable!("a configuration that cannot be read has a fault")
    }

    /// Checks a configuration that was not loaded but made. [`Config::load`]
    /// has done this already.
    ///
    /// # Errors
    /// Every fault, without positions.
    pub fn check(&self) -> Result<(), Faults> {
        let mut tree = Tree::default();
        let root = tree.add(Position::whole("configuration"), Value::Map(Vec::new()));
        let mut faults = Vec::new();
        check(self, &mut Report::new(&tree, root, &[], &mut faults));
        Faults::none_or(faults)
    }
}

/// Keys of the product that this version does not have yet.
const LATER: [&str; 4] = ["auth", "channels", "rollouts", "scaler"];
/// Kinds of target that it does not have yet.
const LATER_TARGET: [&str; 2] = ["kubernetes", "gitops"];

fn later(path: &[String], word: Option<&str>) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (path.as_slice(), word) {
        ([key], None) => LATER.contains(key),
        (["targets", _, "kind"], Some(word)) => LATER_TARGET.contains(&word),
        _ => false,
    }
}

/// Whether this can be a configuration; an empty file is an empty map.
fn is_map(tree: &Tree, id: Id) -> bool {
    let value = &tree.node(id).value;
    value.is_null() || matches!(value, Value::Map(_))
}

fn read_file(path: &Path) -> Result<String, Fault> {
    let source = path.display().to_string();
    let fault =
        |position: Position, detail: String| Fault { position: Some(position), key: String::new(), detail };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| fault(Position::whole(&source), format!("the file cannot be read: {error}")))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(fault(Position::whole(&source), "the file is larger than 1 MiB".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let (valid, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let valid = String::from_utf8_lossy(valid);
        let last = valid.rsplit('\n').next().unwrap_or_default();
        let line = Some(valid.matches('\n').count() + 1);
        let position =
            Position { source: source.as_str().into(), line, column: Some(last.chars().count() + 1) };
        fault(position, "a byte that is not UTF-8; save the file as UTF-8".to_owned())
    })
}

/// The tree of the variables that configure.
fn env_layer(tree: &mut Tree, env: &[(String, String)], faults: &mut Vec<Fault>) -> Id {
    let root = tree.add(Position::whole("environment"), Value::Map(Vec::new()));
    let mut vars: Vec<&(String, String)> = env.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    vars.sort();
    for (name, text) in vars {
        // A variable that a deployment declares and leaves empty says nothing.
        if text.trim().is_empty() {
            continue;
        }
        let at = Position::whole(name);
        let path: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_lowercase).collect();
        let fault = |detail: &str| Fault {
            position: Some(at.clone()),
            key: path.join("."),
            detail: detail.to_owned(),
        };
        if path.iter().any(String::is_empty) {
            faults
                .push(fault("this name has an empty level; separate the levels of a key by two underscores"));
            continue;
        }
        match env_value(tree, &at, text, faults) {
            Ok(value) if set(tree, root, &path, &at, value) => {}
            Ok(_) => faults.push(fault("given by two variables, once as a whole and once in part; keep one")),
            Err(detail) => faults.push(fault(&detail)),
        }
    }
    root
}

/// A value as it stands; one in quotes, brackets or braces is YAML.
fn env_value(tree: &mut Tree, at: &Position, text: &str, faults: &mut Vec<Fault>) -> Result<Id, String> {
    let text = text.trim();
    if text.contains('\u{FFFD}') {
        return Err("the value is not UTF-8".to_owned());
    }
    if text.starts_with(['[', '{', '"', '\'']) {
        compose(tree, &at.source, text, faults).map_err(|fault| fault.detail)
    } else {
        Ok(tree.add(at.clone(), Value::Scalar { text: text.to_owned(), plain: true }))
    }
}

/// Puts a value at a path; false when something is there already.
fn set(tree: &mut Tree, root: Id, path: &[String], at: &Position, value: Id) -> bool {
    let (last, levels) = path.split_last().expect("a split has at least one part");
    let mut map = root;
    for level in levels {
        map = match tree.entries(map).iter().find(|entry| entry.key == *level) {
            Some(entry) => entry.id,
            None => {
                let id = tree.add(at.clone(), Value::Map(Vec::new()));
                tree.push(map, Entry { key: level.clone(), at: at.clone(), id });
                id
            }
        };
        if !matches!(tree.node(map).value, Value::Map(_)) {
            return false;
        }
    }
    if tree.entries(map).iter().any(|entry| entry.key == *last) {
        return false;
    }
    tree.push(map, Entry { key: last.clone(), at: at.clone(), id: value });
    true
}

fn flags_layer(tree: &mut Tree, overrides: &Overrides) -> Id {
    let root = tree.add(Position::whole("command line"), Value::Map(Vec::new()));
    let data = overrides.data.as_ref().map(|path| path.to_string_lossy().into_owned());
    for (key, value) in [("listen", overrides.listen.clone()), ("data", data)] {
        if let Some(text) = value {
            let at = Position::whole(&format!("--{key}"));
            let id = tree.add(at.clone(), Value::Scalar { text, plain: false });
            tree.push(root, Entry { key: key.to_owned(), at, id });
        }
    }
    root
}
