//! Nix's answers as values; nothing in them is believed before it was looked at.
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::domain::build::Derivation;
use crate::domain::id::{AttrPath, DrvPath, StorePath};
use crate::nix::eval::{EvalError, expression};

/// JSON that we asked Nix for.
pub(super) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, EvalError> {
    serde_json::from_slice(json).map_err(|error| {
        let json: String = String::from_utf8_lossy(json).chars().take(200).collect();
        EvalError::Operator(format!("Nix answered `{json}`: {error}"))
    })
}

/// A list of texts, or what stands in its place.
pub(super) fn names(json: &[u8], attr: &AttrPath) -> Result<Vec<String>, EvalError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Found {
        List(Vec<Name>),
        Type(String),
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Name {
        Text(String),
        Type([String; 1]),
    }
    let list = match parse(json)? {
        Found::List(list) => list,
        Found::Type(found) => {
            let text = format!("`{attr}` is {}; it must be a list of names", with_article(&found));
            return Err(EvalError::of_flake(text));
        }
    };
    let name = |name| match name {
        Name::Text(text) => Ok(text),
        Name::Type([found]) => Err(EvalError::of_flake(format!(
            "`{attr}` holds {}; it must be a list of names",
            with_article(&found)
        ))),
    };
    list.into_iter().map(name).collect()
}

/// What stands under each number of the answer, as derivations.
pub(super) fn derivations(json: &[u8], attrs: &[AttrPath]) -> Result<Vec<Derivation>, EvalError> {
    #[derive(Deserialize)]
    struct Found {
        /// The store's directory.
        s: String,
        #[serde(flatten)]
        values: BTreeMap<String, Value>,
    }
    let Found { s: store, mut values } = parse(json)?;
    let derivation = |(at, attr): (usize, &AttrPath)| {
        let value = values.remove(&at.to_string()).ok_or_else(|| {
            EvalError::Operator(format!("Nix's answer has nothing about `{attr}`"))
        })?;
        value.derivation(attr, &store)
    };
    attrs.iter().enumerate().map(derivation).collect()
}

/// What `nix-eval-jobs` tells of an attribute.
pub(super) enum Told {
    /// It has no line.
    Nothing,
    /// Why is not looked at.
    Failure,
    Derivation(Derivation),
}

/// What the lines of `nix-eval-jobs` tell of each attribute, in any order; what else it prints
/// tells nothing.
pub(super) fn lines(stdout: &[u8], attrs: &[AttrPath]) -> Vec<Told> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "attrPath")]
        path: [String; 1],
        error: Option<IgnoredAny>,
        #[serde(rename = "extraValue")]
        extra: Option<Extra>,
    }
    #[derive(Deserialize)]
    struct Extra {
        /// The store's directory.
        s: String,
        v: Value,
    }
    let lines = stdout.split(|it| *it == b'\n').filter_map(|it| serde_json::from_slice(it).ok());
    let mut by_key: BTreeMap<String, Line> =
        lines.map(|line: Line| (line.path[0].clone(), line)).collect();
    let told = |(at, attr): (usize, &AttrPath)| match by_key.remove(&expression::key(at)) {
        Some(Line { error: None, extra: Some(Extra { s: store, v }), .. }) => {
            v.derivation(attr, &store).map_or(Told::Failure, Told::Derivation)
        }
        Some(Line { error: Some(_), .. }) => Told::Failure,
        Some(Line { error: None, extra: None, .. }) | None => Told::Nothing,
    };
    attrs.iter().enumerate().map(told).collect()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Derivation {
        drv: String,
        system: serde_json::Value,
        outputs: Vec<(String, String)>,
        features: Vec<String>,
    },
    Type(String),
}

impl Value {
    fn derivation(self, attr: &AttrPath, store: &str) -> Result<Derivation, EvalError> {
        let no = |what: &str| EvalError::of_flake(format!("`{attr}` is not a derivation: {what}"));
        let (drv, system, outputs, features) = match self {
            Self::Derivation { drv, system, outputs, features } => (drv, system, outputs, features),
            Self::Type(found) => return Err(no(&format!("it is {}", with_article(&found)))),
        };
        let here = |path: &str| path.rsplit_once('/').is_some_and(|(folder, _)| folder == store);
        let path: DrvPath = drv.parse().map_err(|_| no("its drvPath is not a store path"))?;
        if !here(path.as_str()) {
            return Err(no("its drvPath is not in this store"));
        }
        let Some(system) = system.as_str().filter(|it| !it.is_empty()) else {
            return Err(no("it has no system"));
        };
        let mut paths = BTreeMap::new();
        for (name, path) in outputs {
            // The outputs of a content-addressed derivation have no path before it is built.
            let path: StorePath =
                path.parse().ok().filter(|it: &StorePath| here(it.as_str())).ok_or_else(|| {
                    no(&format!("where its output `{name}` will be is not known"))
                })?;
            paths.insert(name, path);
        }
        let features = features.into_iter().filter(|it| !it.is_empty()).collect();
        Ok(Derivation { path, outputs: paths, system: system.to_owned(), features })
    }
}

/// `builtins.typeOf` in words.
pub(super) fn with_article(kind: &str) -> String {
    match kind {
        "int" | "integer" => "an integer".to_owned(),
        "bool" => "true or false".to_owned(),
        "lambda" => "a function".to_owned(),
        "null" => "null".to_owned(),
        "float" => "a number".to_owned(),
        "set" => "a set that is no derivation".to_owned(),
        other => format!("a {other}"),
    }
}
