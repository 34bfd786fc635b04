//! What hostile hosts and builds become on GitHub, on our pages and in our files.
use std::io::Read;
use std::path::Path;

use procfs::process::{Process, all_processes};

use crate::evaluations::names;
use crate::fleet::Host;
use crate::nix::TestNix;
use crate::world::World;
use crate::world::github::{CheckRunView, Options};

const TOKEN: &str = "ghs_A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8";

async fn started(nix: TestNix) -> World {
    let mut world = World::with(nix, Options::default()).await;
    world.start().await;
    world
}

/// The service's process.
fn service(world: &World) -> Process {
    let folder = world.directory().display().to_string();
    let is_it = |it: &Process| {
        it.cmdline().is_ok_and(|it| {
            it.iter().any(|a| a == "serve") && it.iter().any(|a| a.contains(&folder))
        })
    };
    all_processes().unwrap().flatten().find(is_it).unwrap()
}

async fn get(url: &str) -> String {
    let answer = reqwest::get(url).await.unwrap();
    assert!(answer.status().is_success(), "{url}: {}", answer.status());
    answer.text().await.unwrap()
}

/// The log of the build that a check leads to.
fn log_of(check: &CheckRunView) -> String {
    format!("{}/log", check.details_url.split('?').next().unwrap())
}

/// Every file of logs below the service's folder, unpacked.
fn log_files(folder: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            found.extend(log_files(&entry.path()));
            continue;
        }
        let file = std::fs::File::open(entry.path()).unwrap();
        let size = file.metadata().unwrap().len();
        let mut plain = Vec::new();
        zstd::Decoder::new(file).unwrap().read_to_end(&mut plain).unwrap();
        found.push((size, plain));
    }
    found
}

/// Markdown without what stands in fences, inside of which nothing calls anybody.
fn outside_fences(markdown: &str) -> String {
    let mut fence = None;
    let mut outside = String::new();
    for line in markdown.lines() {
        let ticks = line.len() - line.trim_start_matches('`').len();
        match fence {
            None if ticks >= 3 => fence = Some(ticks),
            Some(open) if ticks >= open && line.trim_end().len() == ticks => fence = None,
            None => {
                outside.push_str(line);
                outside.push('\n');
            }
            Some(_) => {}
        }
    }
    assert_eq!(fence, None, "a fence is left open:\n{markdown}");
    outside
}

fn assert_harmless(what: &str, markdown: &str) {
    let unseen = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!markdown.contains(unseen), "{what}: {markdown:?}");
    let outside = outside_fences(markdown);
    for bad in ["@acme", "@octocat", "<script", "</pre>", "<img"] {
        assert!(!outside.contains(bad), "{what} has {bad}:\n{markdown}");
    }
}

#[tokio::test]
async fn a_host_with_a_name_that_no_check_can_have_is_in_the_gate_and_the_others_go_on() {
    for nix in TestNix::all() {
        let world = started(nix).await;
        let mut hosts: Vec<Host> =
            names().iter().map(|it| Host::new(it, "mk \"odd\" \"echo > $out\"")).collect();
        hosts.push(Host::new("<img src=x>", "throw \"no\""));
        hosts.push(Host::good("orion", "1"));
        let sha = world.push(&hosts, &[]).await;
        world.settled(&sha, &["fleet", "fleet / orion"]).await;
        let gate = world.check(&sha, "fleet");
        assert_eq!(gate.conclusion.as_deref(), Some("failure"), "{}", gate.title);
        assert!(gate.title.contains("<img src=x>"), "{}", gate.title);
        assert_harmless("the gate", &gate.summary);
        assert_harmless("the gate", &gate.text);
        for says in ["a b", "a/b", "touch pwned"] {
            assert!(gate.summary.contains(says), "{}", gate.summary);
        }
        let page = get(&gate.details_url).await;
        assert!(page.contains("&lt;script&gt;") && page.contains("&lt;img src=x&gt;"), "{page}");
        assert!(!page.contains("<script>alert") && !page.contains("<img"), "{page}");
    }
}

#[tokio::test]
async fn what_a_build_prints_calls_nobody_closes_no_fence_and_shows_no_token() {
    for nix in TestNix::all() {
        let world = started(nix).await;
        let script = format!(
            "echo '```'; echo '~~~~~~'; echo '````````````````````````'; \
             echo '</pre><script>alert(1)</script>'; echo '@acme/owners @octocat #1'; \
             printf '\\033[2J\\033]0;title\\007red\\033[31m\\r\\b\\177 end\\n'; printf 'a\\000b\\377\\376\\n'; \
             echo 'token {TOKEN}'; printf ghs_Z1y2X3w4V5; printf 'u6T7s8R9q0P1o2N3m4L5k6J7i8\\n'; \
             printf '\\342\\200\\256backwards\\n'; exit 3"
        );
        let script = script.replace("''", "'''");
        let hosts = [
            Host::new("viper", &format!("mk \"viper\" ''{script}''")),
            Host::throws("raider", &format!("@octocat ``` <script> [x](http://evil) {TOKEN}")),
        ];
        let sha = world.push(&hosts, &[]).await;
        world.settled(&sha, &["fleet", "fleet / raider", "fleet / viper"]).await;
        for name in ["fleet", "fleet / raider", "fleet / viper"] {
            let check = world.check(&sha, name);
            assert_harmless(name, &check.summary);
            assert_harmless(name, &check.text);
            assert!(!check.title.contains(|c: char| c.is_control()), "{:?}", check.title);
            let all = format!("{}{}{}", check.title, check.summary, check.text);
            assert!(!all.contains("A1b2C3d4"), "{name}: {all}");
            let page = get(&check.details_url).await;
            assert!(!page.contains("<script>alert") && !page.contains("A1b2C3d4"), "{page}");
        }
        let check = world.check(&sha, "fleet / viper");
        let shown = format!("{}{}", check.summary, check.text);
        assert!(shown.contains("@octocat #1") && shown.contains("token removed"), "{shown}");
        for form in ["", "?ansi", "?html"] {
            let log = get(&format!("{}{form}", log_of(&check))).await;
            assert!(log.contains("backwards") && log.contains("octocat"), "{log}");
            assert!(!log.contains("A1b2C3d4") && !log.contains("Z1y2X3w4"), "{log}");
        }
        for (_, log) in log_files(&world.directory().join("state/logs")) {
            let log = String::from_utf8_lossy(&log);
            assert!(!log.contains("A1b2C3d4") && !log.contains("Z1y2X3w4"), "{log}");
        }
        assert!(!world.log().contains("A1b2C3d4"), "{}", world.log());
    }
}

#[tokio::test]
async fn a_build_that_prints_200_mib_keeps_head_and_tail_in_bounded_memory() {
    let world = started(TestNix::one()).await;
    // Lines that hardly pack, so that the file would be large.
    let script = "PATH=/usr/bin:/bin; echo the beginning; \
                  head -c 157286400 /dev/urandom | base64 -w 1000; echo the end; echo > $out";
    let sha = world.push(&[Host::script("viper", script)], &[]).await;
    world.settled(&sha, &["fleet", "fleet / viper"]).await;
    let check = world.check(&sha, "fleet / viper");
    assert_eq!(check.conclusion.as_deref(), Some("success"), "{}", check.title);
    let logs = log_files(&world.directory().join("state/logs"));
    assert_eq!(logs.len(), 1);
    let (packed, plain) = &logs[0];
    let mib = |bytes: u64| bytes >> 20;
    assert!(mib(*packed) <= 64 && (60..=64).contains(&mib(plain.len() as u64)), "{packed}");
    let head = String::from_utf8_lossy(&plain[..100]);
    assert!(head.contains("the beginning\n"), "{head}");
    assert!(plain.ends_with(b"the end\n"));
    let log = get(&log_of(&check)).await;
    assert!(log.contains("left out"), "the gap is told");
    let peak = service(&world).status().unwrap().vmhwm.unwrap() >> 10;
    println!("peak {peak} MiB");
    assert!(peak < 200, "the service held {peak} MiB");
}

#[tokio::test]
async fn what_a_build_leaves_running_ends_with_it() {
    for nix in TestNix::all() {
        let store = nix.directory().display().to_string();
        let world = started(nix).await;
        let leave = "PATH=/usr/bin:/bin; (setsid sleep 4242 >&- 2>&- &); (sleep 4242 >&- 2>&- &); ";
        let hosts = [
            Host::script("good", &format!("{leave} echo > $out")),
            Host::script("bad", &format!("{leave} exit 1")),
            // Holds the log open.
            Host::script("holds", "PATH=/usr/bin:/bin; (setsid sleep 4242 &); echo > $out"),
        ];
        let sha = world.push(&hosts, &[]).await;
        world.settled(&sha, &["fleet", "fleet / bad", "fleet / good", "fleet / holds"]).await;
        let left = all_processes().unwrap().flatten().filter(|it| {
            let sleeps = it.cmdline().is_ok_and(|it| it.iter().any(|arg| arg == "4242"));
            let ours = it
                .environ()
                .is_ok_and(|it| it.values().any(|v| v.to_string_lossy().contains(&store)));
            sleeps && ours && it.stat().is_ok_and(|it| it.state != 'Z')
        });
        let left: Vec<i32> = left.map(|it| it.pid).collect();
        assert!(left.is_empty(), "{left:?} live on\n{}", world.checks(&sha));
        println!("{}", world.checks(&sha));
    }
}

#[tokio::test]
async fn one_hosts_endless_evaluation_shows_on_it_alone() {
    let mut world = World::new().await.setting("evaluation_timeout = \"3s\"");
    world.start().await;
    let hosts = [Host::new("endless", crate::evaluations::ENDLESS), Host::good("orion", "1")];
    let sha = world.push(&hosts, &[]).await;
    world.settled(&sha, &["fleet", "fleet / endless", "fleet / orion"]).await;
    let title = world.check(&sha, "fleet / endless").title;
    assert!(title.contains("3 seconds") && title.contains("nix.evaluation_timeout"), "{title}");
    assert_eq!(world.check(&sha, "fleet / orion").conclusion.as_deref(), Some("success"));
}
