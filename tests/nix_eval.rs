//! Hosts evaluated on real Nix.
#![expect(clippy::unwrap_used, reason = "a test: it may panic")]
#[path = "world/flakes.rs"]
mod flakes;
#[path = "world/forge.rs"]
mod forge;
#[path = "world/git_http.rs"]
mod git_http;
#[path = "world/nix.rs"]
mod nix;

use std::time::Duration;

use fleetcheck::domain::build::SourcePlace;
use fleetcheck::domain::id::{AttrPath, CommitSha};
use fleetcheck::nix::eval::EvalError;
use fleetcheck::nix::flake::FlakeRef;
use fleetcheck::nix::git::Mirrors;
use tokio_util::sync::CancellationToken;

use crate::flakes::{Lab, SHARE, evaluator};
use crate::forge::{Forge, TOKEN, git, source};
use crate::nix::TestNix;

/// What `nix build` makes of a clone of that commit, by its own JSON.
fn built(lab: &Lab) -> serde_json::Value {
    let clone = lab.nix.directory().join("clone");
    let (from, to) = (lab.repository.bare().display().to_string(), clone.display().to_string());
    git(lab.repository.folder(), &["clone", "--quiet", &from, &to]);
    git(&clone, &["checkout", "--quiet", lab.commit.as_str()]);
    let attr = "nixosConfigurations.raider.config.system.build.toplevel";
    let built =
        lab.nix.output("nix", ["build", "--no-link", "--json", &format!("{to}/nix#{attr}")]);
    serde_json::from_str(&built).unwrap()
}

#[tokio::test]
async fn what_is_evaluated_is_what_nix_build_gives_at_that_commit() {
    for nix in TestNix::all() {
        // 2.8 clones a mirror whose path has to be encoded; all else is read in place.
        let (plain, encoded) = (nix, "ours % and ?");
        let lab = Lab::within(plain, "identity", "nix", "ours").await;
        let evaluated = lab.evaluate(&[AttrPath::host("raider")]).await.unwrap();
        let clones = lab.nix.directory().join("ours/evaluation/cache/nix/gitv3");
        assert!(!clones.exists(), "it was cloned to {}", clones.display());
        let (built, derivation) = (built(&lab), &evaluated[0].derivation);
        assert_eq!(built[0]["drvPath"], derivation.path.as_str(), "{:?}", lab.nix.program());
        assert_eq!(built[0]["outputs"]["out"], derivation.outputs["out"].as_str());
        assert_eq!(derivation.system, "x86_64-linux");
        let drv = std::fs::read_to_string(derivation.path.as_str()).unwrap();
        assert!(drv.contains(lab.commit.as_str()) && drv.contains("(\"revCount\",\"2\")"), "{drv}");

        let mirrors = Mirrors::new(&lab.nix.directory().join(encoded), &lab.forge.url);
        let from = source(&lab.repository, Some(TOKEN));
        let mirror = mirrors.fetch(&from, &lab.commit, &lab.stop).await.unwrap();
        let flake = mirror.flake(&lab.commit, "nix");
        let flake = lab.evaluator.pin(&flake, Some(&lab.commit), &lab.stop).await.unwrap();
        let hosts = [AttrPath::host("raider")];
        let elsewhere = lab.evaluator.evaluate(&flake, &hosts, SHARE, &lab.stop).await.unwrap();
        assert_eq!(&elsewhere[0].derivation, derivation);
    }
}

#[tokio::test]
async fn each_host_fails_in_words_that_its_author_understands() {
    let cases = [
        ("throws", "gtk-engine-murrine was removed", Some(("hosts/removed.nix", 3))),
        ("whole", "the whole host is thrown", Some(("flake.nix", 26))),
        ("aborts", "stop here", Some(("flake.nix", 27))),
        ("recursive", "infinite recursion encountered", Some(("hosts/recursive.nix", 4))),
        ("missing", "attribute 'foo' missing", Some(("hosts/missing.nix", 2))),
        ("syntax", "syntax error, unexpected ';'", Some(("hosts/syntax.nix", 3))),
        ("undefined", "undefined variable 'pkgs'", Some(("hosts/undefined.nix", 2))),
        ("asserts", "Set a password for root.", None),
        (
            "imports",
            "generated-1.0, which evaluation needs, cannot be built: builder failed with exit code 3",
            None,
        ),
        ("empty", "attribute 'system' missing", None),
        ("absent", "attribute 'absent' missing", None),
    ];
    for nix in TestNix::all() {
        let lab = Lab::new(nix, "failing").await;
        for (host, headline, place) in cases {
            let failure = lab.failure(host).await;
            assert_eq!(failure.headline, headline);
            if let Some((path, line)) = place {
                let found = failure.place.unwrap();
                // An old Nix does not say where `throw` stands, only in which function.
                let old = !failure.trace.starts_with("error:\n");
                let line = if old { found.line } else { line };
                assert_eq!(found, SourcePlace { path: path.to_owned(), line }, "{host}");
            }
            assert!(!failure.trace.contains("ours/mirrors"), "{}", failure.trace);
        }
    }
}

#[tokio::test]
async fn what_is_no_derivation_is_said_to_be_none() {
    for nix in TestNix::all() {
        let lab = Lab::new(nix, "failing").await;
        let number = lab.failure("number").await.headline;
        assert_eq!(number, "`nixosConfigurations.number` is not a derivation: it is an integer");
        let forged = lab.failure("forged").await.headline;
        assert!(forged.contains("its drvPath is not in this store"), "{forged}");
    }
}

#[tokio::test]
async fn a_host_that_eats_memory_is_over_its_limit() {
    for nix in TestNix::all() {
        let lab = Lab::new(nix, "failing").await;
        let small = evaluator(&lab.nix, |it| it.memory = 256 << 20);
        let ended = small.evaluate(&lab.flake, &[AttrPath::host("eats")], SHARE, &lab.stop).await;
        let ended = ended.map_err(|it| it.error);
        let Err(EvalError::Memory(failure)) = ended else { panic!("{ended:?}") };
        assert_eq!(
            failure.headline,
            "evaluation needed more than 256 MiB; raise nix.memory or make the host smaller"
        );
        assert_eq!(failure.limit.as_deref(), Some("nix.memory"));
        small.evaluate(&lab.flake, &[AttrPath::host("good")], SHARE, &lab.stop).await.unwrap();
    }
}

#[tokio::test]
async fn a_host_that_never_ends_is_over_its_limit() {
    for nix in TestNix::all() {
        let lab = Lab::new(nix, "failing").await;
        let short = evaluator(&lab.nix, |it| it.evaluation_timeout = Duration::from_secs(3));
        let ended = short.evaluate(&lab.flake, &[AttrPath::host("spins")], SHARE, &lab.stop).await;
        let ended = ended.map_err(|it| it.error);
        let Err(EvalError::Limit(failure)) = ended else { panic!("{ended:?}") };
        assert!(failure.headline.contains("did not end within 3 seconds"), "{failure:?}");
        assert_eq!(failure.limit.as_deref(), Some("nix.evaluation_timeout"));
        lab.stop.cancel();
        let ended = lab.evaluate(&[AttrPath::host("spins")]).await;
        assert_eq!(ended.unwrap_err(), EvalError::Cancelled);
    }
}

#[tokio::test]
async fn a_batch_gives_each_its_derivation_in_the_order_asked_for() {
    for nix in TestNix::all() {
        let lab = Lab::new(nix, "failing").await;
        let hosts = ["good", "better", "best"].map(AttrPath::host);
        let evaluated = lab.evaluate(&hosts).await.unwrap();
        let names: Vec<_> = evaluated.iter().map(|it| it.derivation.path.name()).collect();
        assert_eq!(names, ["nixos-system-good", "nixos-system-better", "nixos-system-best"]);
        assert_eq!(evaluated[1].derivation.features, ["kvm", "big-parallel"]);
        let outputs: Vec<_> = evaluated[2].derivation.outputs.keys().collect();
        assert_eq!(outputs, ["doc", "out"]);
        assert!(evaluated.iter().all(|it| it.peak_memory > 0));
        let with_a_bad_one = ["good", "throws"].map(AttrPath::host);
        assert!(matches!(lab.evaluate(&with_a_bad_one).await, Err(EvalError::Flake(_))));
    }
}

#[tokio::test]
async fn more_than_one_process_takes_is_given_to_several() {
    let lab = Lab::new(TestNix::one(), "failing").await;
    let many = vec![AttrPath::host("good"); 600];
    assert_eq!(lab.evaluate(&many).await.unwrap().len(), 600);
    let long = [AttrPath::host("good"), AttrPath::host(&"x".repeat(200_000))];
    let ended = lab.evaluate(&long).await.unwrap_err();
    assert!(ended.to_string().contains("too long"), "{ended}");
}

#[tokio::test]
async fn a_flake_does_not_set_how_it_is_evaluated() {
    for nix in TestNix::all() {
        let lab = Lab::new(nix, "settings").await;
        lab.evaluate(&[AttrPath::host("raider")]).await.unwrap();
    }
}

#[tokio::test]
async fn another_commit_is_refused() {
    for nix in TestNix::all() {
        let lab = Lab::new(nix, "plain").await;
        let wanted: CommitSha = "1111111111111111111111111111111111111111".parse().unwrap();
        let reference = lab.mirror.flake(&lab.commit, "");
        let ended = lab.evaluator.pin(&reference, Some(&wanted), &lab.stop).await;
        let found = Some(lab.commit.clone());
        assert_eq!(ended.unwrap_err(), EvalError::AnotherCommit { wanted, found });
    }
}

#[tokio::test]
async fn a_flake_in_a_sub_folder_names_its_files_from_the_root() {
    for nix in TestNix::all() {
        let forge = Forge::start().await;
        let repository = forge.repository("fleet");
        repository.fixture("failing", "nix/fleet");
        let commit = repository.commit("one");
        let evaluator = evaluator(&nix, |_| {});
        let stop = CancellationToken::new();
        let mirrors = Mirrors::new(nix.directory(), &forge.url);
        let from = source(&repository, Some(TOKEN));
        let mirror = mirrors.fetch(&from, &commit, &stop).await.unwrap();
        let flake = mirror.flake(&commit, "nix/fleet");
        let flake = evaluator.pin(&flake, Some(&commit), &stop).await.unwrap();
        let ended = evaluator
            .evaluate(&flake, &[AttrPath::host("missing")], SHARE, &stop)
            .await
            .map_err(|it| it.error);
        let Err(EvalError::Flake(failure)) = ended else { panic!("{ended:?}") };
        assert_eq!(failure.place.unwrap().path, "nix/fleet/hosts/missing.nix");

        let none = evaluator.pin(&mirror.flake(&commit, ""), Some(&commit), &stop).await;
        let Err(EvalError::Flake(failure)) = none else { panic!("{none:?}") };
        assert!(failure.headline.contains("flake.nix"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_folder_with_changes_is_evaluated_as_it_is() {
    for nix in TestNix::all() {
        let forge = Forge::start().await;
        let repository = forge.repository("fleet");
        repository.fixture("failing", "");
        let commit = repository.commit("one");
        let evaluator = evaluator(&nix, |_| {});
        let stop = CancellationToken::new();
        let typed = FlakeRef::parse(repository.folder().to_str().unwrap()).unwrap();
        let clean = evaluator.pin(&typed, None, &stop).await.unwrap();
        assert_eq!(clean.revision.as_ref(), Some(&commit));
        assert!(clean.flake.names(&commit));
        repository.write("hosts/missing.nix", "\n\n\n{ x = { }.bar; }");
        let dirty = evaluator.pin(&typed, None, &stop).await.unwrap();
        assert_eq!((&dirty.flake, &dirty.revision), (&typed, &None));
        for (flake, headline, line) in
            [(&clean, "attribute 'foo' missing", 2), (&dirty, "attribute 'bar' missing", 4)]
        {
            let ended = evaluator
                .evaluate(flake, &[AttrPath::host("missing")], SHARE, &stop)
                .await
                .map_err(|it| it.error);
            let Err(EvalError::Flake(failure)) = ended else { panic!("{ended:?}") };
            assert_eq!(failure.headline, headline);
            let path = "hosts/missing.nix".to_owned();
            assert_eq!(failure.place, Some(SourcePlace { path, line }));
        }
    }
}
