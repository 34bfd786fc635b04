//! What a run and a build say beside their verdict: base, causes, changes, queue, warnings.
use fleetcheck::domain::build::{Ending, EvaluationFailure, SourcePlace, Warning};
use fleetcheck::domain::closure::{Change, PackageChange};
use fleetcheck::domain::evaluation::Known;
use fleetcheck::domain::id::{BuildId, CommitSha, DrvPath, RunId};
use fleetcheck::domain::incoming::Visibility;
use fleetcheck::domain::insight::{Changes, Insight, Names, Part, PartChange, Seen, Units};
use fleetcheck::domain::page::Counts;
use fleetcheck::store::runs::{EvaluationOutcome, Outcome};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::world::{NOW, World, derivation, waiting, words};

const HOSTILE: &str = "<img src=x>";

fn fails(headline: &str) -> Outcome {
    Outcome::Fail(Ending::EvaluationFailed(EvaluationFailure {
        headline: headline.into(),
        trace: String::new(),
        place: None,
        limit: None,
    }))
}

/// A run whose hosts fail as before and anew, change, wait and warn, and its builds by name.
struct Fleet {
    world: World,
    run: RunId,
    base: CommitSha,
    builds: Vec<(&'static str, BuildId)>,
}

impl Fleet {
    async fn new() -> Self {
        let world = World::new().await;
        let (first, claim) = world.run(Visibility::Public).await;
        world.host(&claim, "raider", fails("an old trouble")).await;
        world.host(&claim, "viper", Outcome::Reuse(derivation("viper-1"))).await;
        world.host(&claim, "boomer", Outcome::Reuse(derivation("boomer"))).await;
        let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
        let base = world.store.run_view(&first).await.unwrap().unwrap().run.sha;
        let (run, claim) = world.run_after(Visibility::Public, Some(&base)).await;
        let mut builds = Vec::new();
        for (name, outcome) in [
            ("raider", fails("an old trouble")),
            ("boomer", fails(&format!("{HOSTILE} is new"))),
            ("starbuck", fails(&format!("{HOSTILE} is new"))),
            ("viper", Outcome::Reuse(derivation("viper-2"))),
            ("orion", waiting("orion")),
        ] {
            builds.push((name, world.host(&claim, name, outcome).await));
        }
        let warnings = vec![Warning {
            message: format!("`{HOSTILE}` is deprecated"),
            place: Some(SourcePlace { path: "hosts/<b>.nix".into(), line: 7 }),
        }];
        let took = Some(Known { evaluation_ms: 1_200, peak_memory: 3 << 20 });
        let outcome = waiting("pegasus");
        let build = world.listed(&claim, "pegasus").await;
        builds.push(("pegasus", build.clone()));
        let evaluated = vec![EvaluationOutcome { build, outcome, took, warnings }];
        let _ = world.store.evaluated(&claim, evaluated, NOW).await.unwrap();
        let fleet = Self { world, run, base, builds };
        fleet.compare().await;
        fleet
    }

    /// Says what changes on the one host that is another.
    async fn compare(&self) {
        let wanted = self.world.store.insights_wanted(NOW, 9).await.unwrap();
        assert_eq!(wanted.len(), 1);
        let package = |name: &str, before: &str, after: &str| PackageChange {
            name: name.into(),
            change: Change::Upgraded,
            before: vec![before.into()],
            after: vec![after.into()],
        };
        let names = |name: &str| Names::of(vec![name.into()]);
        let changes = Changes {
            before: 1 << 30,
            after: 3 << 29,
            packages: vec![package("openssl", "3.0.13", "3.0.14"), package(HOSTILE, "1", "2")],
            more_packages: 0,
            rebuilt: names("curl"),
            files: 2,
            reboot: vec![PartChange {
                part: Part::Kernel,
                before: Some("6.6.30".into()),
                after: Some(format!("6.6.31{HOSTILE}")),
            }],
            units: Some(Units { restarted: names("nginx.service"), ..Units::default() }),
            seen: Seen::Files,
        };
        let insight = Insight::Changed { base: self.base.clone(), changes: Box::new(changes) };
        let _ = self.world.store.set_insights(&[(&wanted[0], insight)], NOW).await.unwrap();
    }

    fn build(&self, name: &str) -> &BuildId {
        &self.builds.iter().find(|(it, _)| *it == name).unwrap().1
    }

    async fn page(&self, path: &str) -> String {
        let page = self.world.text(path).await;
        assert!(!page.contains(HOSTILE) && !page.contains("<b>"), "{path}: {page}");
        words(&page).replace(self.base.short(), "BASE")
    }

    async fn json(&self, path: &str) -> Value {
        self.world.get(path).await.json().await.unwrap()
    }
}

#[tokio::test]
async fn a_run_s_page_says_what_is_new_what_was_red_and_what_changes() {
    let fleet = Fleet::new().await;
    let page = fleet.page(&format!("/runs/{}", fleet.run)).await;
    let (_, page) = page.split_once("JSON\n").unwrap();
    assert_snapshot!(page, @r"
    What changes
    a reboot is needed on the host
    units are restarted on the host
    openssl 3.0.13 to 3.0.14 on the host
    &lt;img src=x&gt; 1 to 2 on the host
    Shared causes
    2 hosts do not evaluate: &lt;img src=x&gt; is new, newly broken
    Hosts
    boomer
    does not evaluate
    newly broken · &lt;img src=x&gt; is new
    raider
    does not evaluate
    red before this change · an old trouble
    starbuck
    does not evaluate
    newly broken · &lt;img src=x&gt; is new
    orion
    waiting
    place 1 of 2 for x86_64-linux
    pegasus
    waiting
    place 2 of 2 for x86_64-linux
    viper
    reused
    openssl 3.0.13 to 3.0.14 and 1 more package; needs a reboot; restarts nginx.service; 512 MiB more
    Compared
    Against the base commit BASE:
    newly broken: boomer, starbuck
    red before this change: raider
    appeared: starbuck, orion, pegasus
    ");
}

#[tokio::test]
async fn the_front_page_says_of_a_run_what_its_check_says() {
    let fleet = Fleet::new().await;
    let page = fleet.page("/").await;
    let run = fleet.json(&format!("/api/v1/runs/{}", fleet.run)).await;
    let title = run["title"].as_str().unwrap();
    assert_eq!(
        title,
        "evaluating 6 of 6 hosts; 2 hosts do not evaluate: <img src=x> is new, newly broken; 1 more fails"
    );
    assert!(page.contains(&title.replace('<', "&lt;").replace('>', "&gt;")), "{page}");
}

#[tokio::test]
async fn a_build_s_page_says_all_that_changes_on_its_host() {
    let fleet = Fleet::new().await;
    let page = fleet.page(&format!("/builds/{}", fleet.build("viper"))).await;
    let (_, page) = page.split_once("JSON\n").unwrap();
    assert_snapshot!(page, @r"
    What changes
    Compared with
    BASE
    : openssl 3.0.13 to 3.0.14 and 1 more package; needs a reboot; restarts nginx.service; 512 MiB more.
    reboot
    needed: kernel 6.6.30 to 6.6.31&lt;img src=x&gt;
    closure
    1.0 GiB to 1.5 GiB (512 MiB more)
    configuration
    2 files
    rebuilt
    curl
    units restarted
    nginx.service
    openssl
    3.0.13 → 3.0.14
    &lt;img src=x&gt;
    1 → 2
    ");
}

#[tokio::test]
async fn a_build_s_page_says_its_turn_and_what_its_evaluation_warned_of() {
    let fleet = Fleet::new().await;
    let page = fleet.page(&format!("/builds/{}", fleet.build("pegasus"))).await;
    let (_, page) = page.split_once("push to main\n").unwrap();
    assert_snapshot!(page, @r"
    pegasus: waits for a builder: place 2 of 2 for x86_64-linux
    queued
    attribute
    nixosConfigurations.pegasus
    derivation
    /nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-pegasus.drv
    system
    x86_64-linux
    evaluation
    1 s, 3 MiB
    data
    JSON
    Warnings of the evaluation
    hosts/&lt;b&gt;.nix:7
    `&lt;img src=x&gt;` is deprecated
    ");
}

#[tokio::test]
async fn the_documents_have_the_same() {
    let fleet = Fleet::new().await;
    let run = fleet.json(&format!("/api/v1/runs/{}", fleet.run)).await;
    assert_eq!(run["base"], json!({ "sha": fleet.base.as_str(), "tested": "whole" }));
    let of = |name: &str| {
        let builds = run["builds"].as_array().unwrap();
        builds.iter().find(|it| it["name"] == name).unwrap()
    };
    assert_eq!(of("raider")["against_base"], "red_before");
    assert_eq!(of("boomer")["against_base"], "newly_broken");
    assert_eq!(of("viper")["against_base"], Value::Null);
    assert_eq!(of("orion")["queue"], json!({ "place": 1, "of": 2 }));
    assert_eq!(of("pegasus")["queue"], json!({ "place": 2, "of": 2 }));
    assert_eq!(of("viper")["queue"], Value::Null);
    let warning = json!({ "message": "`<img src=x>` is deprecated", "place": { "path": "hosts/<b>.nix", "line": 7 } });
    assert_eq!(of("pegasus")["warnings"], json!([warning]));
    let cost = json!({ "milliseconds": 1200, "peak_memory": 3 << 20 });
    assert_eq!(of("pegasus")["evaluation"], cost);
    assert_eq!(of("pegasus")["last_evaluation_ms"], 1200);
    assert_eq!(of("pegasus")["progress"], Value::Null);
    // A build by itself is not compared with a base; all else is the same.
    for name in ["raider", "viper", "pegasus"] {
        let build = fleet.json(&format!("/api/v1/builds/{}", fleet.build(name))).await;
        let mut expected = of(name).clone();
        expected["against_base"] = Value::Null;
        assert_eq!(build, expected, "{name}");
    }
    let changes = serde_json::to_string_pretty(&of("viper")["changes"]).unwrap();
    assert_snapshot!(changes.replace(fleet.base.as_str(), "BASE"), @r#"
    {
      "base": "BASE",
      "changes": {
        "after": 1610612736,
        "before": 1073741824,
        "files": 2,
        "more_packages": 0,
        "packages": [
          {
            "after": [
              "3.0.14"
            ],
            "before": [
              "3.0.13"
            ],
            "change": "upgraded",
            "name": "openssl"
          },
          {
            "after": [
              "2"
            ],
            "before": [
              "1"
            ],
            "change": "upgraded",
            "name": "<img src=x>"
          }
        ],
        "reboot": [
          {
            "after": "6.6.31<img src=x>",
            "before": "6.6.30",
            "part": "kernel"
          }
        ],
        "rebuilt": {
          "more": 0,
          "names": [
            "curl"
          ]
        },
        "units": {
          "added": {
            "more": 0,
            "names": []
          },
          "left_alone": {
            "more": 0,
            "names": []
          },
          "reloaded": {
            "more": 0,
            "names": []
          },
          "removed": {
            "more": 0,
            "names": []
          },
          "restarted": {
            "more": 0,
            "names": [
              "nginx.service"
            ]
          }
        }
      },
      "insight": "changed"
    }
    "#);
}

#[tokio::test]
async fn progress_is_told_while_a_build_runs_here() {
    let fleet = Fleet::new().await;
    let (claim, _log) = fleet.world.start("orion").await;
    let at: DrvPath = "/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-gcc-13.2.0.drv".parse().unwrap();
    let counts = Counts { done: 3, expected: 9, at: Some(at.clone()) };
    fleet.world.progress.insert(claim.attempt().clone(), counts);
    let build = fleet.json(&format!("/api/v1/builds/{}", fleet.build("orion"))).await;
    assert_eq!(build["progress"], json!({ "done": 3, "expected": 9, "at": at.as_str() }));
    assert_eq!(build["builder"], "local");
    assert_eq!((&build["state"], &build["queue"]), (&"building".into(), &Value::Null));
    let page = fleet.page(&format!("/builds/{}", fleet.build("orion"))).await;
    assert!(page.contains("3 of 9") && page.contains("\ngcc-13.2.0\n"), "{page}");
    let page = fleet.page(&format!("/runs/{}", fleet.run)).await;
    assert!(page.contains("on local; 3 of 9 derivations · at gcc-13.2.0"), "{page}");
}

#[tokio::test]
async fn progress_of_another_instance_is_told_as_it_was_noted_last() {
    let fleet = Fleet::new().await;
    let (claim, _log) = fleet.world.start("orion").await;
    let counts = Counts { done: 5, expected: 9, at: None };
    for counts in [Some(counts), None] {
        let renewed = fleet.world.store.renew_attempts(&[(&claim, counts)], NOW).await.unwrap();
        assert!(renewed.is_empty(), "nothing is lost");
    }
    let build = fleet.json(&format!("/api/v1/builds/{}", fleet.build("orion"))).await;
    assert_eq!(build["progress"], json!({ "done": 5, "expected": 9 }));
}
