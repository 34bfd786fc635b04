//! A build that says much.
use std::process::Stdio;
use std::time::Duration;

use tokio::time::Instant;

use crate::machine;
use crate::world::World;
use crate::world::fleet::{self, Host};
use crate::world::github::{Contract, Options};
use crate::world::nix::TestNix;

const BYTES: u32 = 200_000_000;

/// One host whose build prints 200 MB of lines of 100 characters.
pub(crate) async fn run() {
    let options = Options { contract: Contract::IfPresent, ..Options::default() };
    let mut world = World::with(TestNix::one(), options).await;
    world.start().await;
    println!("log of {} MB       seconds  MB/s  our cpu s  MB/s of our cpu", BYTES / 1_000_000);
    for round in 0..3 {
        let bare = nix_build(&world, round);
        println!("nix build -L        {:>8.2} {:>5.0}", bare.as_secs_f64(), rate(bare));
        let before = machine::cpu(world.process());
        let begun = Instant::now();
        let sha = world.push(&[talkative(round)], &[]).await;
        world.concluded(&sha, "fleet", "success").await;
        let (time, cpu) = (begun.elapsed(), machine::cpu(world.process()).saturating_sub(before));
        println!(
            "fleetcheck          {:>8.2} {:>5.0} {:>10.2} {:>16.0}",
            time.as_secs_f64(),
            rate(time),
            cpu.as_secs_f64(),
            rate(cpu),
        );
    }
    let (now, most) = machine::memory(world.process());
    println!("memory: {now:.0} MiB, {most:.0} at most");
}

fn rate(time: Duration) -> f64 {
    f64::from(BYTES) / 1e6 / time.as_secs_f64()
}

fn talkative(round: u32) -> Host {
    let line = "compiling a file of the usual length with the usual flags and no warnings at all, as ever, so far";
    let path = "PATH=/bin:/usr/bin";
    Host::script("orion", &format!("{path}; yes '{round} {line}' | head -c {BYTES}; echo > $out"))
}

fn nix_build(world: &World, round: u32) -> Duration {
    let directory = tempfile::tempdir_in(world.nix.directory()).unwrap();
    let flake = fleet::flake(world.system(), &[talkative(1000 + round)]);
    std::fs::write(directory.path().join("flake.nix"), flake).unwrap();
    let installable = format!(
        "path:{}#nixosConfigurations.orion.config.system.build.toplevel",
        directory.path().display()
    );
    let begun = Instant::now();
    let status = world
        .nix
        .command("nix", ["build", "--no-link", "-L", &installable])
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    begun.elapsed()
}
