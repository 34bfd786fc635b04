//! Where a builder builds: Nix's store URIs, and what they say to ssh.
use crate::config::SshDestination;
use crate::config::value::{Given, Wrong};

/// A URI as `nix build --store` takes it, and whom ssh connects to for it.
pub(super) fn store(given: &Given<'_>) -> Result<(String, Option<SshDestination>), Wrong> {
    let wrong = || Wrong::wanted("a Nix store like \"ssh-ng://root@basestar\"");
    let text = given.text().map(str::trim).filter(|it| !it.is_empty()).ok_or_else(wrong)?;
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(wrong());
    }
    if text.starts_with("ssh://") {
        return Err(wrong().remedy(format!(
            "Nix builds nothing in a store of that kind: write \"ssh-ng{}\"",
            text.trim_start_matches("ssh")
        )));
    }
    let others = ["unix://", "local", "daemon", "auto", "/"];
    match text.strip_prefix("ssh-ng://") {
        Some(rest) => {
            let mut ssh = destination(rest).ok_or_else(wrong)?;
            parameters(rest, &mut ssh)?;
            Ok((text.to_owned(), Some(ssh)))
        }
        None if others.iter().any(|it| text.starts_with(it)) => Ok((text.to_owned(), None)),
        None => Err(wrong().remedy("caches and files build nothing: name a machine's store")),
    }
}

/// A store that other machines copy from, as `nix copy --from` takes it.
pub(super) fn instance_store(given: &Given<'_>) -> Result<String, Wrong> {
    let wrong = || {
        Wrong::wanted("this machine's Nix store as others reach it, like \"ssh-ng://nix@eval-1\"")
    };
    let text = given.text().map(str::trim).ok_or_else(wrong)?;
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(wrong());
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let is_good = match scheme {
        "ssh-ng" | "ssh" => destination(rest).is_some(),
        // It is shown to every instance.
        "http" | "https" if rest.contains('@') => {
            return Err(wrong()
                .found("an address with a user in it")
                .remedy("write the password into the netrc file of those who copy"));
        }
        _ => !rest.is_empty() && scheme.starts_with(|c: char| c.is_ascii_lowercase()),
    };
    is_good.then(|| text.to_owned()).ok_or_else(wrong)
}

/// `[user@]host[:port]`, up to the `?`.
fn destination(text: &str) -> Option<SshDestination> {
    let authority = text.split('?').next().unwrap_or_default().trim_end_matches('/');
    // An address of version 6 has colons of its own, in brackets.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
        _ => (authority, None),
    };
    // What begins with a dash would be an option.
    let is_good = host.starts_with(|c: char| c.is_ascii_alphanumeric() || "_[".contains(c))
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"@._-:[]%".contains(&b))
        && !host.ends_with('@');
    is_good.then(|| SshDestination {
        host: host.replace(['[', ']'], ""),
        port,
        key: None,
        remote_program: None,
        host_key: None,
        remote_store: None,
    })
}

/// What is behind the `?`. Of the others of Nix's parameters none says whom to reach, or how.
fn parameters(text: &str, ssh: &mut SshDestination) -> Result<(), Wrong> {
    let (_, query) = text.split_once('?').unwrap_or((text, ""));
    for (name, value) in query.split('&').filter_map(|it| it.split_once('=')) {
        let to = match name {
            "ssh-key" => &mut ssh.key,
            "remote-program" => &mut ssh.remote_program,
            "remote-store" => &mut ssh.remote_store,
            "base64-ssh-public-host-key" => {
                return Err(Wrong::wanted("a Nix store whose host key ssh knows by itself")
                    .remedy(format!("write the key into known_hosts and remove `{name}`")));
            }
            _ => continue,
        };
        // It stands on a command line that a shell of the machine reads.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:".contains(&b);
        if value.is_empty() || !value.bytes().all(plain) {
            return Err(Wrong::wanted(format!(
                "in `{name}` letters, digits, `/`, `.`, `_`, `-`, `+` and `:` alone"
            )));
        }
        *to = Some(value.to_owned());
    }
    Ok(())
}

/// A list of options, none of which Nix would split.
pub(super) fn ssh_options(given: &Given<'_>) -> Result<Vec<String>, Wrong> {
    let wrong = || Wrong::wanted("a list of ssh's options like [\"-o\", \"Port=2222\"]");
    let list = given.list().ok_or_else(wrong)?;
    let split = |it: &&String| it.is_empty() || it.contains(|c: char| c.is_whitespace());
    match list.iter().find(split) {
        Some(_) => Err(wrong().remedy(
            "Nix splits options at white space: write each word by itself, and what needs a blank \
             in it into ssh's own configuration",
        )),
        None => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_whom_ssh_connects_to() {
        let found = |text| {
            let mut ssh = destination(text)?;
            parameters(text, &mut ssh).ok()?;
            Some((ssh.host, ssh.port, ssh.key))
        };
        let host = |host: &str| Some((host.to_owned(), None, None));
        assert_eq!(found("root@basestar"), host("root@basestar"));
        assert_eq!(found("basestar/?compress=true"), host("basestar"));
        assert_eq!(found("root@[fd7a::1]"), host("root@fd7a::1"));
        assert_eq!(
            found("u@h:2234?ssh-key=/run/key&compress=true"),
            Some(("u@h".to_owned(), Some(2234), Some("/run/key".to_owned())))
        );
        let injected = "h?remote-program=nix-daemon;reboot";
        let unseen = "h?base64-ssh-public-host-key=c3No";
        for bad in ["", "-oProxyCommand=x", "root@", "h:port", "a;b", injected, unseen] {
            assert_eq!(found(bad), None, "{bad}");
        }
    }
}
