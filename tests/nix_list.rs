//! Flakes listed on real Nix, without evaluating what they list.
#[path = "world/flakes.rs"]
mod flakes;
#[path = "world/forge.rs"]
mod forge;
#[path = "world/git_http.rs"]
mod git_http;
#[path = "world/nix.rs"]
mod nix;

use fleetcheck::domain::id::AttrPath;
use fleetcheck::nix::eval::EvalError;

use crate::flakes::{Lab, attr, pattern};
use crate::nix::TestNix;

#[tokio::test]
async fn hosts_are_listed_without_evaluating_them() {
    for nix in TestNix::all() {
        let lab = Lab::new(nix, "failing").await;
        let listed = lab.list(&["nixosConfigurations.*"]).await.unwrap();
        assert_eq!(listed.len(), 17);
        assert!(listed.contains(&"nixosConfigurations.whole".to_owned()));
        assert!(listed.is_sorted());
        let some = lab.list(&["nixosConfigurations.b*", "nixosConfigurations.good"]).await.unwrap();
        assert_eq!(some, ["best", "better", "good"].map(|it| format!("nixosConfigurations.{it}")));
    }
}

#[tokio::test]
async fn names_that_want_to_be_something_else_are_names() {
    for nix in TestNix::all() {
        let lab = Lab::new(nix, "hostile").await;
        let hosts = [pattern("nixosConfigurations.*")];
        let listed = lab.evaluator.list(&lab.flake, &hosts, &[], &lab.stop).await.unwrap();
        assert_eq!(listed.len(), 14);
        assert!(listed.contains(&AttrPath::host("${builtins.throw 1}")));
        assert!(listed.contains(&AttrPath::host("a\nb\tc")));
        let evaluated = lab.evaluate(&listed).await.unwrap();
        for it in evaluated {
            let drv = std::fs::read_to_string(it.derivation.path.as_str()).unwrap();
            let name = &it.attr.components()[1];
            let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
            let escaped = escaped.replace('\n', "\\n").replace('\t', "\\t");
            assert!(drv.contains(&format!("(\"host\",\"{escaped}\")")), "{name}: {drv}");
        }
        let output = attr("a\"; throw 1; \"");
        let ended = lab.evaluate(&[output]).await.unwrap_err();
        assert!(matches!(ended, EvalError::Flake(_)), "{ended:?}");
    }
}

#[tokio::test]
async fn what_a_flake_does_not_have_is_an_empty_list() {
    for nix in TestNix::all() {
        let lab = Lab::new(nix, "plain").await;
        let listed = lab
            .list(&["nixosConfigurations.*", "checks.x86_64-linux.*", "hydraJobs.**", "formatter"])
            .await;
        assert_eq!(listed.unwrap(), Vec::<String>::new());
        let ended = lab.evaluate(&[attr("checks.x86_64-linux.lint")]).await.unwrap_err();
        assert!(ended.to_string().contains("has no output `checks."), "{ended}");
    }
}

#[tokio::test]
async fn every_kind_of_output_is_listed_and_evaluated() {
    for nix in TestNix::all() {
        let lab = Lab::new(nix, "outputs").await;
        let listed =
            lab.list(&["packages.x86_64-linux.*", "checks.*.lint", "hydraJobs.**"]).await.unwrap();
        assert_eq!(
            listed,
            [
                "checks.x86_64-linux.lint",
                "hydraJobs.\"a.b\"",
                "hydraJobs.aborting.inner.bad",
                "hydraJobs.aborting.inner.fine",
                "hydraJobs.deeper.and.deeper",
                "hydraJobs.hello.aarch64-linux",
                "hydraJobs.hello.x86_64-linux",
                "packages.x86_64-linux.broken",
                "packages.x86_64-linux.hello",
            ]
        );
        // What cannot be looked into is listed, and fails by itself.
        let all = lab.list(&["packages.*.*"]).await.unwrap();
        assert_eq!(all[..2], ["packages.aarch64-linux", "packages.riscv64-linux"]);
        let ended = lab.evaluate(&[attr("packages.riscv64-linux")]).await.unwrap_err();
        assert_eq!(ended.to_string(), "nothing catches this");

        let home = AttrPath::new(vec!["homeConfigurations".into(), "ada@raider".into()]).unwrap();
        let mixed = [home, attr("darwinConfigurations.apple"), attr("hydraJobs.deeper.and.deeper")];
        let evaluated = lab.evaluate(&mixed).await.unwrap();
        let names: Vec<_> = evaluated.iter().map(|it| it.derivation.path.name()).collect();
        assert_eq!(names, ["home", "darwin", "deep"]);

        let excluded = [pattern("packages.*.broken")];
        let outputs = [pattern("packages.x86_64-linux.*")];
        let listed = lab.evaluator.list(&lab.flake, &outputs, &excluded, &lab.stop).await.unwrap();
        assert_eq!(listed, [attr("packages.x86_64-linux.hello")]);
        for (output, words) in [("deep.**", "more than 10 levels"), ("nothing.*", "is a list")] {
            let ended = lab.list(&[output]).await.unwrap_err();
            assert!(ended.to_string().contains(words), "{ended}");
        }
    }
}

#[tokio::test]
async fn required_names_are_a_list_of_texts() {
    for nix in TestNix::all() {
        let lab = Lab::new(nix, "outputs").await;
        let names = async |text| lab.evaluator.names(&lab.flake, &attr(text), &lab.stop).await;
        assert_eq!(names("tiers.tier1").await.unwrap(), ["raider", "web-1"]);
        assert_eq!(names("nothing").await.unwrap(), Vec::<String>::new());
        for (wrong, words) in [
            ("tiers.wrong", "`tiers.wrong` is a string; it must be a list of names"),
            ("tiers.mixed", "`tiers.mixed` holds an integer; it must be a list of names"),
            ("tiers.tier2", "attribute 'tier2' missing"),
            ("levels.tier1", "the flake has no output `levels.tier1`"),
        ] {
            assert_eq!(names(wrong).await.unwrap_err().to_string(), words);
        }
    }
}

#[tokio::test]
async fn broken_packages_do_not_hide_hosts() {
    for nix in TestNix::all() {
        let lab = Lab::new(nix, "shadowed").await;
        let listed = lab.list(&["nixosConfigurations.*"]).await;
        let version = lab.nix.nix().version().await.unwrap();
        if version.starts_with("2.8.") {
            // It looks for every attribute in the packages first, `nix build` too.
            assert_eq!(listed.unwrap_err().to_string(), "the packages are broken");
            continue;
        }
        assert_eq!(listed.unwrap(), ["nixosConfigurations.raider"]);
        lab.evaluate(&[AttrPath::host("raider")]).await.unwrap();
        let packages = lab.list(&["packages.x86_64-linux.*"]).await.unwrap();
        assert_eq!(packages, ["packages.x86_64-linux"], "and they fail by themselves");
    }
}
