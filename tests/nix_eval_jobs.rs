//! Outputs with many small attributes, evaluated by `nix-eval-jobs` and by real Nix alone.
#![expect(clippy::unwrap_used, reason = "a test: it may panic")]
#[path = "world/flakes.rs"]
mod flakes;
#[path = "world/forge.rs"]
mod forge;
#[path = "world/git_http.rs"]
mod git_http;
#[path = "world/nix.rs"]
mod nix;

use std::collections::BTreeMap;
use std::time::Duration;

use fleetcheck::config;
use fleetcheck::domain::build::{Derivation, Ending, SourcePlace, Warning};
use fleetcheck::domain::evaluation::{Batch, Size};
use fleetcheck::domain::id::AttrPath;
use fleetcheck::domain::lock::Lock;
use fleetcheck::flow::hosts::{Evaluation, HostOutcome};
use fleetcheck::nix::Nix;
use fleetcheck::nix::eval::{Evaluator, Untrusted};
use fleetcheck::nix::eval_jobs::EvalJobs;

use crate::flakes::{Lab, SHARE, attr};
use crate::nix::TestNix;

/// What became of each attribute, and what was warned of meanwhile.
type Outcomes = BTreeMap<String, (Result<Derivation, Ending>, Vec<Warning>)>;

const CHECK: &str = "checks.x86_64-linux";

/// The fixture `many` for each Nix, with a `nix-eval-jobs`.
async fn labs() -> Vec<Lab> {
    let mut labs = Vec::new();
    for nix in TestNix::all() {
        labs.push(Lab::new(nix.with_eval_jobs(), "many").await);
    }
    labs
}

fn checks(names: &[&str]) -> Vec<AttrPath> {
    names.iter().map(|it| under(CHECK, it)).collect()
}

/// An attribute whose last name may hold anything.
fn under(set: &str, name: &str) -> AttrPath {
    let components = set.split('.').chain([name]).map(str::to_owned);
    AttrPath::new(components.collect()).unwrap()
}

/// An evaluator of the same store, whose Nix stands where it was installed.
fn without(lab: &Lab, change: impl FnOnce(&mut config::Nix)) -> Evaluator {
    let mut settings = lab.nix.config();
    settings.program = std::fs::canonicalize(&settings.program).unwrap();
    change(&mut settings);
    let nix = Nix::new(&settings).with_env(lab.nix.env());
    Evaluator::new(nix, &settings, &lab.nix.directory().join("ours"))
}

/// One batch, to its end.
async fn outcomes(lab: &Lab, evaluator: &Evaluator, attrs: &[AttrPath]) -> Outcomes {
    let batches = vec![Batch { attrs: attrs.to_vec(), memory: SHARE, size: Size::Known }];
    let mut evaluation = Evaluation::new(evaluator, &lab.flake, batches, &lab.stop);
    let mut all = Outcomes::new();
    while let Some(outcomes) = evaluation.next().await {
        for outcome in outcomes.unwrap() {
            let (attr, outcome) = match outcome {
                HostOutcome::Evaluated(it) => (it.attr, (Ok(it.derivation), it.warnings)),
                HostOutcome::Failed { attr, ending, warnings } => (attr, (Err(ending), warnings)),
            };
            assert!(all.insert(attr.to_string(), outcome).is_none(), "{attr} came twice");
        }
    }
    assert_eq!(all.len(), attrs.len());
    all
}

/// The attributes that a run of `nix-eval-jobs` was given.
fn given(run: &[String]) -> usize {
    let select = run.iter().position(|it| it == "--select").unwrap();
    run[select + 1].matches("fleetcheck evaluates ").count()
}

#[tokio::test]
async fn what_it_gives_is_what_nix_eval_gives_of_every_kind_of_attribute() {
    for lab in labs().await {
        let failing =
            ["missing", "warns-and-throws", "aborts", "number", "function", "set", "forged"];
        let building = ["lint", "a.b", "5", "quo\"te${x}", "revision", "warns", "functor"];
        let attrs = checks(&[&failing[..], &building[..], &["absent"]].concat());
        let with = outcomes(&lab, &lab.evaluator, &attrs).await;
        let runs = lab.nix.eval_jobs_ran();
        assert_eq!(runs.iter().map(|it| given(it)).collect::<Vec<_>>(), [attrs.len()]);
        let alone = without(&lab, |_| {});
        assert_eq!(with, outcomes(&lab, &alone, &attrs).await, "{:?}", lab.nix.program());
        assert_eq!(lab.nix.eval_jobs_ran().len(), 1, "nix eval alone was asked");
        let built = with.values().filter(|(it, _)| it.is_ok()).count();
        assert_eq!(built, building.len());

        let (derivation, _) = &with[&format!("{CHECK}.\"a.b\"")];
        assert_eq!(derivation.as_ref().unwrap().features, ["kvm", "big-parallel"]);
        let (_, warnings) = &with[&format!("{CHECK}.warns")];
        assert_eq!(warnings[0].message, "warns is an old name for lint");
        let (ended, _) = &with[&format!("{CHECK}.missing")];
        let Err(Ending::EvaluationFailed(failure)) = ended else { panic!("{ended:?}") };
        assert_eq!(failure.headline, "attribute 'foo' missing");
        let place = SourcePlace { path: "checks/missing.nix".into(), line: 2 };
        assert_eq!(failure.place, Some(place));
    }
}

#[tokio::test]
async fn packages_and_jobs_at_any_depth_are_what_nix_build_gives() {
    for lab in labs().await {
        let jobs = [
            attr("hydraJobs.hello.x86_64-linux"),
            attr("hydraJobs.deeper.and.deeper"),
            AttrPath::new(["hydraJobs", "with.dots", "and.more"].map(str::to_owned).into())
                .unwrap(),
            attr("hydraJobs.broken.x86_64-linux"),
        ];
        let with = outcomes(&lab, &lab.evaluator, &jobs).await;
        assert_eq!(with, outcomes(&lab, &without(&lab, |_| {}), &jobs).await);
        let hello = attr("packages.x86_64-linux.hello");
        let packages = [hello.clone(), attr("packages.x86_64-linux.absent")];
        let packages = outcomes(&lab, &lab.evaluator, &packages).await;
        assert_eq!(lab.nix.eval_jobs_ran().len(), 2);
        let at = format!("{}#packages.x86_64-linux.hello", lab.flake.flake);
        let built = lab.nix.output("nix", ["build", "--no-link", "--json", &at]);
        let built: serde_json::Value = serde_json::from_str(&built).unwrap();
        let derivation = packages[&hello.to_string()].0.as_ref().unwrap();
        assert_eq!(built[0]["drvPath"], derivation.path.as_str());
        assert_eq!(with["hydraJobs.hello.x86_64-linux"].0.as_ref().unwrap(), derivation);
        assert_eq!(
            with["hydraJobs.\"with.dots\".\"and.more\""].0.as_ref().unwrap().path.name(),
            "dots"
        );
    }
}

#[tokio::test]
async fn whatever_becomes_of_it_nix_eval_gives_the_rest_in_the_same_words() {
    for lab in labs().await {
        let attrs = checks(&["lint", "a.b", "missing", "5"]);
        let wanted = outcomes(&lab, &without(&lab, |_| {}), &attrs).await;
        for mode in
            ["killed a1", "killed a0", "dies a1", "silent a1", "silent a2", "refuses", "garbage"]
        {
            let before = lab.nix.eval_jobs_ran().len();
            lab.nix.let_eval_jobs(mode);
            assert_eq!(outcomes(&lab, &lab.evaluator, &attrs).await, wanted, "{mode}");
            assert_eq!(lab.nix.eval_jobs_ran().len(), before + 1, "{mode}");
        }
    }
}

#[tokio::test]
async fn one_that_is_for_another_nix_or_does_not_say_so_is_not_used() {
    for mode in ["version 2.99.1", "version 1.0", "version none", "mute"] {
        let nix = TestNix::one().with_eval_jobs();
        nix.let_eval_jobs(mode);
        let lab = Lab::new(nix, "many").await;
        let attrs = checks(&["lint", "a.b"]);
        let it = outcomes(&lab, &lab.evaluator, &attrs).await;
        assert!(it.values().all(|(it, _)| it.is_ok()), "{it:?}");
        assert_eq!(lab.nix.eval_jobs_ran(), [[""; 0]; 0], "{mode}");
    }
    for nix in TestNix::all() {
        let nix = nix.with_eval_jobs();
        let version = nix.nix().version().await.unwrap();
        let found = nix.nix().eval_jobs(&version).await;
        let program = nix.program().with_file_name("nix-eval-jobs");
        assert_eq!(found, EvalJobs::Used { program, version });
    }
}

#[tokio::test]
async fn hosts_and_what_is_alone_are_given_to_nix_eval() {
    for lab in labs().await {
        let hosts = ["raider", "viper"].map(AttrPath::host);
        let found = outcomes(&lab, &lab.evaluator, &hosts).await;
        assert!(found.values().all(|(it, _)| it.is_ok()), "{found:?}");
        outcomes(&lab, &lab.evaluator, &checks(&["lint"])).await;
        assert_eq!(lab.nix.eval_jobs_ran(), [[""; 0]; 0]);
    }
}

#[tokio::test]
async fn it_holds_no_more_and_takes_no_longer_than_any_evaluation() {
    for lab in labs().await {
        let with = |change: &dyn Fn(&mut config::Nix)| {
            let mut settings = lab.nix.config();
            change(&mut settings);
            let nix = Nix::new(&settings).with_env(lab.nix.env());
            Evaluator::new(nix, &settings, &lab.nix.directory().join("ours"))
        };
        let limit = |outcomes: &Outcomes, name: &str| {
            let (ended, _) = &outcomes[name];
            let Err(Ending::EvaluationFailed(failure)) = ended else { panic!("{ended:?}") };
            failure.limit.clone().unwrap()
        };
        let packages = |name: &str| ["hello", name].map(|it| under("packages.x86_64-linux", it));
        let small = with(&|it| it.memory = 256 << 20);
        let found = outcomes(&lab, &small, &packages("eats")).await;
        assert_eq!(limit(&found, "packages.x86_64-linux.eats"), "nix.memory");
        assert!(found["packages.x86_64-linux.hello"].0.is_ok());

        let short = with(&|it| it.evaluation_timeout = Duration::from_secs(3));
        let found = outcomes(&lab, &short, &packages("spins")).await;
        assert_eq!(limit(&found, "packages.x86_64-linux.spins"), "nix.evaluation_timeout");
        assert!(found["packages.x86_64-linux.hello"].0.is_ok());
        assert_eq!(lab.nix.eval_jobs_ran().len(), 2);
    }
}

#[tokio::test]
async fn an_untrusted_flake_is_given_to_nix_eval() {
    for lab in labs().await {
        let lock = Lock::none();
        let untrusted = Untrusted { commit: &lab.commit, dir: "", lock: &lock, inputs: &[] };
        let reference = lab.mirror.flake(&lab.commit, "");
        let flake = lab.evaluator.confine(&reference, untrusted, &lab.stop).await.unwrap();
        let attrs = checks(&["lint", "a.b"]);
        let apart = lab.evaluator.evaluate_apart(&flake, &attrs, SHARE, &lab.stop).await;
        assert!(apart.is_none(), "{apart:?}");
        lab.evaluator.evaluate(&flake, &attrs, SHARE, &lab.stop).await.unwrap();
        assert_eq!(lab.nix.eval_jobs_ran(), [[""; 0]; 0]);
    }
}
