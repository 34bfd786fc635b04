//! What may be given for FLAKE, and the policy that counts for it.
use crate::command::{Checkout, results, system};
use crate::fleet::{self, Host};

fn one() -> [Host; 1] {
    [Host::good("orion", "1")]
}

#[test]
fn a_folder_without_git_is_checked_as_it_is() {
    for folder in Checkout::all() {
        let folder = folder.with(&one());
        let (status, document) = folder.json(&[]);
        assert_eq!((status, results(&document)), (0, vec!["orion built".to_owned()]));
        assert_eq!(document["revision"], serde_json::Value::Null);
        assert_eq!(document["flake"], ".");
    }
}

#[test]
fn a_clean_tree_is_checked_at_its_commit_and_a_dirty_one_as_it_is() {
    for folder in Checkout::all() {
        let folder = folder.with(&one());
        let commit = folder.commit();
        let (status, document) = folder.json(&["."]);
        assert_eq!((status, document["revision"].as_str()), (0, Some(commit.as_str())));
        let hosts = [Host::good("orion", "2"), Host::good("viper", "1")];
        folder.write("flake.nix", &fleet::flake(&system(), &hosts));
        let (status, document) = folder.json(&[folder.path().to_str().unwrap()]);
        assert_eq!(status, 0);
        assert_eq!(document["revision"], serde_json::Value::Null);
        assert_eq!(results(&document), ["orion built", "viper built"]);
    }
}

#[test]
fn any_flake_reference_is_accepted() {
    for folder in Checkout::all() {
        let folder = folder.with(&one());
        let commit = folder.commit();
        folder.write("flake.nix", "this is not committed");
        let path = folder.path().display();
        for reference in [
            format!("git+file://{path}?ref=main&rev={commit}"),
            format!("git+file://{path}?rev={commit}"),
        ] {
            let (status, document) = folder.json(&[&reference]);
            assert_eq!((status, document["revision"].as_str()), (0, Some(commit.as_str())));
            assert_eq!(document["flake"], reference);
        }
    }
}

#[test]
fn a_flake_in_a_sub_folder_is_found_by_its_folder_by_dir_and_by_the_policy() {
    for folder in Checkout::all() {
        let policy = "[build]\nflake = \"nix\"\n[gate]\nrequired = [\"orion\"]\n";
        folder.write("fleetcheck.toml", policy);
        let hosts = [Host::good("orion", "1"), Host::throws("raider", "not today")];
        folder.write("nix/flake.nix", &fleet::flake(&system(), &hosts));
        let expected = ["orion reused", "raider evaluation_failed"];
        // Without git: the folder is what its policy says.
        let (status, document) = folder.json(&[]);
        assert_eq!((status, results(&document)[0].as_str()), (0, "orion built"));
        folder.commit();
        let path = folder.path().display().to_string();
        let references = [
            ".",
            "./nix",
            &path,
            &format!("git+file://{path}"),
            &format!("git+file://{path}?dir=nix"),
        ];
        for reference in references {
            let (status, document) = folder.json(&[reference]);
            assert_eq!(
                (status, results(&document)),
                (0, expected.map(str::to_owned).into()),
                "{reference}"
            );
        }
        // A root with a flake of its own: the policy counts all the same.
        folder.write("flake.nix", "{ outputs = _: { }; }");
        folder.commit();
        let (status, document) = folder.json(&["."]);
        assert_eq!((status, results(&document)), (0, expected.map(str::to_owned).into()));
    }
}

#[test]
fn the_policy_of_the_commit_counts_not_the_one_in_the_folder() {
    let folder = Checkout::one().with(&[Host::good("orion", "1"), Host::broken("viper")]);
    folder.write(".github/fleetcheck.toml", "[gate]\nrequired = [\"orion\"]\n");
    let commit = folder.commit();
    folder.write(".github/fleetcheck.toml", "[gate]\nrequired = [\"viper\"]\n");
    let reference = format!("git+file://{}?rev={commit}", folder.path().display());
    let (status, document) = folder.json(&[&reference]);
    assert_eq!(
        (status, results(&document)),
        (0, vec!["orion built".into(), "viper build_failed".into()])
    );
    assert_eq!(folder.json(&["."]).0, 1);
}

#[test]
fn a_policy_that_cannot_be_read_is_never_replaced_by_the_default() {
    let folder = Checkout::one().with(&one());
    for (text, says) in [
        ("[gate]\nrequird = [\"x\"]\n", "fleetcheck.toml line 2:"),
        ("[gate]\nrequired = 3\n", "fleetcheck.toml line 2:"),
        ("[gate\n", "fleetcheck.toml line 1: is not valid TOML"),
    ] {
        folder.write("fleetcheck.toml", text);
        let (status, document) = folder.json(&[]);
        let headline = document["problem"]["headline"].as_str().unwrap();
        assert!(headline.contains(says), "{headline}");
        assert_eq!((status, document["verdict"].as_str()), (1, Some("broken")));
        assert_eq!(document["problem"]["place"]["path"], "fleetcheck.toml");
    }
    std::fs::remove_file(folder.path().join("fleetcheck.toml")).unwrap();
    std::os::unix::fs::symlink("/dev/null", folder.path().join("fleetcheck.toml")).unwrap();
    let it = folder.check(&[]);
    assert_eq!(it.status, 1);
    assert!(
        it.stderr.contains("fleetcheck.toml is a symbolic link; it must be a file"),
        "{}",
        it.stderr
    );
    std::fs::remove_file(folder.path().join("fleetcheck.toml")).unwrap();
    folder.write("fleetcheck.toml/x", "");
    let it = folder.check(&[]);
    assert!(
        it.status == 1 && it.stderr.contains("is a folder; it must be a file"),
        "{}",
        it.stderr
    );
}

#[test]
fn what_cannot_be_a_flake_reference_is_wrong_usage() {
    let folder = Checkout::one().with(&one());
    for reference in ["", ".#nixosConfigurations.orion", "a\nb"] {
        let it = folder.check(&[reference]);
        assert_eq!(it.status, 2, "{reference:?}: {}", it.stderr);
        assert!(it.stderr.contains("is not a flake reference"), "{}", it.stderr);
    }
    let it = folder.check(&["--hosts", "orion"]);
    assert_eq!(it.status, 2);
    assert!(it.stderr.contains("unexpected argument '--hosts'"), "{}", it.stderr);
}
