//! What Nix is asked about several attributes at once.
use std::fmt::Write as _;

use crate::domain::id::AttrPath;
use crate::nix::eval::{LARGEST_BATCH, LONGEST_EXPRESSION, path, warnings};

/// How many of `attrs` one process takes, and what it is asked.
pub(super) fn batch(attrs: &[AttrPath]) -> (usize, String) {
    let output = attrs[0].output();
    let mut apply = format!("o: let d = {DERIVATION}; in {{ s = builtins.storeDir;");
    let mut taken = 0;
    for attr in attrs.iter().take(LARGEST_BATCH).take_while(|it| it.output() == output) {
        let before = apply.len();
        // Writing into a `String` cannot fail.
        // One alone needs no mark, and its trace is shown to its author.
        let mark = if attrs.len() > 1 { warnings::mark(taken) } else { String::new() };
        let value = format!("d (o{}{})", path(&attr.components()[1..]), toplevel(attr));
        let _ = write!(apply, " \"{taken}\" = {mark}{value};");
        if apply.len() > LONGEST_EXPRESSION {
            apply.truncate(before);
            break;
        }
        taken += 1;
    }
    apply.push_str(" }");
    (taken, apply)
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
