//! A flake of packages where `nix-eval-jobs` is installed.
use serde_json::Value;

use crate::command::{Checkout, results, system};
use crate::nix::TestNix;

#[test]
fn packages_are_evaluated_by_it_and_one_that_fails_is_told_as_by_nix_eval() {
    for nix in TestNix::all() {
        let folder = Checkout::of(nix.with_eval_jobs()).setting("evaluations = 1");
        let system = system();
        folder.write(
            "flake.nix",
            &format!(
                r#"{{
                  outputs = {{ self }}: let
                    mk = name: derivation {{
                      inherit name; system = "{system}"; builder = "/bin/sh";
                      args = [ "-c" "echo ${{self.rev}} > $out" ];
                    }};
                  in {{
                    nixosConfigurations.orion.config.system.build.toplevel = mk "orion";
                    packages.{system} = {{
                      hello = mk "hello"; moon = mk "moon"; world = mk "world";
                      xeyes = throw "xeyes was removed";
                    }};
                  }};
                }}"#
            ),
        );
        let policy = "[build]\noutputs = [\"nixosConfigurations.*\", \"packages.*.*\"]\n";
        folder.write("fleetcheck.toml", policy);
        folder.commit();
        let (status, document) = folder.json(&[]);
        let package = |name: &str| format!("packages.{system}.{name}");
        let told = [
            "orion built".to_owned(),
            package("hello built"),
            package("moon built"),
            package("world built"),
            package("xeyes evaluation_failed"),
        ];
        let mut found = results(&document);
        found.sort();
        assert_eq!((status, &found[..]), (1, &told[..]));
        assert_eq!(folder.nix.eval_jobs_ran().len(), 1);
        let hosts = document["hosts"].as_array().unwrap();
        let entry = |name: &str| -> &Value {
            hosts.iter().find(|it| it["attribute"] == package(name)).unwrap()
        };
        assert!(entry("xeyes").to_string().contains("xeyes was removed"), "{document:#}");
        for name in ["hello", "moon", "world"] {
            let at = format!("{}#{}", folder.path().display(), package(name));
            let drv = folder.nix.output("nix", ["path-info", "--derivation", &at]);
            assert_eq!(entry(name)["derivation"], drv);
        }
    }
}
