//! A download that did not come, by what a fixed-output derivation printed last.
use crate::nix::reason::table::DOWNLOAD;

/// Lines at a log's end that tell why it ended; a download that failed before and went well at
/// another mirror stands further up.
const LAST: usize = 20;

/// `could not download URL: …`; `None` where the last lines tell of nothing like it, or where the
/// other side answered that there is no such thing: then the URL is wrong.
pub(crate) fn download(log: &[String]) -> Option<String> {
    let from = log.len().saturating_sub(LAST);
    let lines: Vec<String> = log[from..].iter().map(strip_ansi_escapes::strip_str).collect();
    let told = |it: &&String| DOWNLOAD.says(it) && !is_refused(it);
    let is_summary = |it: &&String| it.contains("from any mirror");
    let line = lines.iter().rev().filter(told).find(|it| !is_summary(it)).or_else(|| {
        let refused = lines.iter().any(|it| is_refused(it));
        lines.iter().rev().filter(|_| !refused).find(is_summary)
    })?;
    let tried = || lines.iter().rev().find_map(|it| it.trim().strip_prefix("trying "));
    let url = url(line).or_else(tried).unwrap_or("its source").trim();
    Some(format!("could not download {url}: {}", why(line)))
}

/// An answer of 400 to 499, of those that are no "come again later".
fn is_refused(line: &str) -> bool {
    let status = ["returned error: ", "HTTP error "].iter().find_map(|it| {
        let (_, after) = line.split_once(it)?;
        after.get(..3)?.parse::<u16>().ok()
    });
    status.is_some_and(|it| (400..500).contains(&it) && it != 408 && it != 429)
}

/// The address in quotes that the line names.
fn url(line: &str) -> Option<&str> {
    line.split('\'').find(|it| it.contains("://") && !it.contains(' '))
}

/// What is behind the address, or behind curl's number.
fn why(line: &str) -> &str {
    let line = line.trim();
    if let Some((_, why)) = line.split_once("curl: (") {
        return why.split_once(") ").map_or(why, |it| it.1);
    }
    line.split_once("': ").map_or(line, |it| it.1)
}
