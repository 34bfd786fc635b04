//! What a machine says of itself.
use crate::domain::Timestamp;
use crate::domain::builder::Facts;

/// What is asked of a machine. Each line begins with the name of what it answers; what a machine
/// cannot answer it leaves out. `show-config` is the name in old versions and understood by all.
pub(super) const QUESTIONS: &str = r#"
PATH=$PATH:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin
export PATH
echo "time $(date +%s)"
echo "load $(cut -d ' ' -f 1 /proc/loadavg 2>/dev/null)"
echo "disk $(df -Pk "${NIX_STORE_DIR:-/nix/store}" 2>/dev/null | tail -n 1)"
nix --extra-experimental-features nix-command show-config 2>/dev/null |
  sed -n -e 's/^system = /system /p' -e 's/^extra-platforms = /extra-platforms /p' \
    -e 's/^system-features = /system-features /p'
"#;

/// What a machine answered to [`QUESTIONS`]; hostile or broken answers are left out.
pub(super) fn facts(text: &str, now: Timestamp) -> Facts {
    let mut facts = Facts::default();
    let words = |rest: &str| {
        let good = |it: &&str| it.len() <= 50 && it.bytes().all(|b| b.is_ascii_graphic());
        rest.split_whitespace().filter(good).take(50).map(str::to_owned).collect::<Vec<_>>()
    };
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(' ') else { continue };
        match name {
            "time" => {
                facts.ahead = rest.trim().parse::<i64>().ok().map(|it| it - now.0 / 1000);
            }
            "load" => {
                let load = rest.trim();
                facts.load = load.parse::<f32>().is_ok().then(|| load.to_owned());
            }
            "disk" => {
                let numbers: Vec<u64> =
                    rest.split_whitespace().skip(1).map_while(|it| it.parse().ok()).collect();
                if let [size, _, free, ..] = numbers.as_slice() {
                    facts.size = Some(size.saturating_mul(1024));
                    facts.free = Some(free.saturating_mul(1024));
                }
            }
            "system" | "extra-platforms" => facts.systems.extend(words(rest)),
            "system-features" => facts.features = words(rest),
            _ => {}
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_says_of_itself_is_read_line_by_line() {
        let said = "time 1000\nload 0.52\ndisk /dev/sda1 1000 400 600 40% /nix\n\
                    system x86_64-linux\nextra-platforms i686-linux aarch64-linux\n\
                    system-features kvm big-parallel\nwho knows\n";
        assert_eq!(
            facts(said, Timestamp(990_000)),
            Facts {
                version: None,
                systems: ["x86_64-linux", "i686-linux", "aarch64-linux"].map(String::from).into(),
                features: ["kvm", "big-parallel"].map(String::from).into(),
                free: Some(600 << 10),
                size: Some(1000 << 10),
                load: Some("0.52".into()),
                ahead: Some(10),
                collection: None,
            }
        );
        assert_eq!(facts("time x\nload \ndisk \n", Timestamp(0)), Facts::default());
    }
}
