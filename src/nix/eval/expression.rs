//! What Nix is asked about several attributes at once.
use crate::domain::id::{AttrPath, nix_string};
use crate::nix::eval::{LARGEST_BATCH, LONGEST_EXPRESSION, path, warnings};

/// How many of `attrs` one process takes, and what it is asked.
pub(super) fn batch(attrs: &[AttrPath]) -> (usize, String) {
    let begin = format!("o: let d = {DERIVATION}; in {{ s = builtins.storeDir;");
    listed(attrs, begin, |at, attr| {
        // One alone needs no mark, and its trace is shown to its author.
        let mark = if attrs.len() > 1 { warnings::mark(at) } else { String::new() };
        format!(" \"{at}\" = {mark}d (o{}{});", path(&attr.components()[1..]), toplevel(attr))
    })
}

/// How many of `attrs` one process of `nix-eval-jobs` takes, and the set of them that it goes
/// through: those that are derivations, each under [`key`].
///
/// It would call a function and look for derivations in a set, as `nix eval` does not.
pub(super) fn select(attrs: &[AttrPath]) -> (usize, String) {
    let begin = format!(
        "f: let o = f.outputs.{}; d = v: if (v.type or null) != \"derivation\" then null else \
         if v ? __functor then removeAttrs v [ \"__functor\" ] else v; in {{",
        nix_string(attrs[0].output())
    );
    listed(attrs, begin, |at, attr| {
        let (key, mark) = (key(at), warnings::mark(at));
        format!(" {key} = {mark}(d (o{}));", path(&attr.components()[1..]))
    })
}

/// What an attribute is called in a set for `nix-eval-jobs`, which takes a number for a place in a
/// list.
pub(super) fn key(at: usize) -> String {
    format!("a{at}")
}

/// What `nix-eval-jobs` tells of each derivation.
pub(super) fn told() -> String {
    format!("v: let d = {DERIVATION}; in {{ s = builtins.storeDir; v = d v; }}")
}

/// A set of as many as one process takes, each as `entry` says it.
fn listed(
    attrs: &[AttrPath],
    begin: String,
    entry: impl Fn(usize, &AttrPath) -> String,
) -> (usize, String) {
    let output = attrs[0].output();
    let mut set = begin;
    let mut taken = 0;
    for attr in attrs.iter().take(LARGEST_BATCH).take_while(|it| it.output() == output) {
        let entry = entry(taken, attr);
        if set.len() + entry.len() > LONGEST_EXPRESSION {
            break;
        }
        set.push_str(&entry);
        taken += 1;
    }
    set.push_str(" }");
    (taken, set)
}

/// What is told about a value: of a derivation everything, of anything else its type.
const DERIVATION: &str = r#"v: if !(builtins.isAttrs v) then builtins.typeOf v else if (v.type or null) != "derivation" then "set" else { drv = v.drvPath; system = v.system or ""; outputs = map (n: [ n (v.${n} or v).outPath ]) (v.outputs or [ "out" ]); features = let f = v.requiredSystemFeatures or [ ]; in if builtins.isList f then map toString f else builtins.filter builtins.isString (builtins.split " +" (toString f)); }"#;

/// The way from what an output lists to what is built of it.
fn toplevel(attr: &AttrPath) -> &'static str {
    match attr.components() {
        [output, _] => match output.as_str() {
            "nixosConfigurations" | "darwinConfigurations" => ".config.system.build.toplevel",
            "homeConfigurations" => ".activationPackage",
            _ => "",
        },
        _ => "",
    }
}
