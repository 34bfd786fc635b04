//! What a search for the guilty input costs: 8 inputs, 20 hosts, one input that breaks five of them.
use tokio::time::Instant;

use crate::nix::TestNix;
use crate::updates::{Fleet, names};

const INPUTS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const GUILTY: &str = "d";
const HOSTS: usize = 20;

/// One search, beside one bare build of all hosts at the newest revisions that are whole.
pub(crate) fn run() {
    let (fleet, count) = fleet();
    let begun = Instant::now();
    let child = fleet.start(&["--json"]);
    let updated = fleet.ended(child);
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(updated.status, 1, "{}", updated.stderr);
    let document: serde_json::Value = serde_json::from_str(&updated.stdout).unwrap();
    assert_eq!(names(&document["held_back"], "input"), [GUILTY]);
    let evaluations = updated.stderr.matches(": evaluated in ").count()
        + updated.stderr.matches(": evaluation failed").count();
    let built = std::fs::read_to_string(count).unwrap();
    let mut derivations: Vec<&str> = built.lines().collect();
    let builds = derivations.len();
    derivations.sort_unstable();
    derivations.dedup();
    let tries = &document["tries"];
    let (subsets, all) = (1 << INPUTS.len(), HOSTS << INPUTS.len());
    println!("                       sets of inputs  evaluations of a host  builds  seconds");
    println!("search                 {tries:>14}  {evaluations:>21}  {builds:>6}  {took:>7.2}");
    println!("every set of inputs    {subsets:>14}  {all:>21}");
    println!("derivations built more than once: {}", builds - derivations.len());
    let floor = floor();
    println!("bare `nix build` of all hosts, once: {floor:.2} s, ratio {:.1}", took / floor);
}

/// A fleet that is built as it is locked, all of whose inputs have moved since.
fn fleet() -> (Fleet, std::path::PathBuf) {
    let nix = TestNix::one();
    let count = nix.directory().join("count");
    let at = count.display();
    let script = |n: usize| {
        let (one, other) = (INPUTS[n % 8], INPUTS[(n + 3) % 8]);
        format!(
            "echo {n} ${{{one}.v}} ${{{other}.v}} >> {at}; [ ${{{one}.v}} != bad ]; [ ${{{other}.v}} != bad ]"
        )
    };
    let hosts: Vec<(String, String)> =
        (0..HOSTS).map(|n| (format!("host{n}"), script(n))).collect();
    let hosts: Vec<(&str, &str)> = hosts.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let fleet = Fleet::new(nix, &INPUTS, &hosts);
    build(&fleet);
    std::fs::write(&count, "").unwrap();
    for input in INPUTS {
        let value = if input == GUILTY { "bad" } else { "2" };
        fleet.input(input, &format!("v = \"{value}\";"));
    }
    (fleet, count)
}

fn build(fleet: &Fleet) {
    let host = |n| format!(".#nixosConfigurations.host{n}.config.system.build.toplevel");
    let args = ["build".to_owned(), "--no-link".to_owned()].into_iter().chain((0..HOSTS).map(host));
    let mut nix = fleet.checkout.nix.command("nix", args);
    let output = nix.current_dir(fleet.checkout.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Seconds of one evaluation and build of all, with what the search finds.
fn floor() -> f64 {
    let (fleet, _) = fleet();
    let moved: Vec<&str> = INPUTS.into_iter().filter(|it| *it != GUILTY).collect();
    fleet.nix_flake("update", &moved);
    let begun = Instant::now();
    build(&fleet);
    begun.elapsed().as_secs_f64()
}
