//! What a proposal changes on the hosts: rolled up, then host by host.
use crate::domain::link::Links;
use crate::domain::page::{
    BuildView, RunView, change, changes, gate_title, host_name, in_order, remark, result,
};
use crate::domain::text::{inline, plain_title};
use crate::domain::update::proposal::MOST_LINE;

/// Hosts with a row of their own; the run's page has all.
const MOST_HOSTS: usize = 100;

/// The heading is the checks' own, and so is what stands below it.
pub(super) fn section(view: &RunView, links: &Links) -> String {
    let rolled: Vec<String> = changes(view).iter().map(|it| format!("- {}", inline(it))).collect();
    let hosts = in_order(view);
    let mut rows: Vec<String> =
        hosts.iter().take(MOST_HOSTS).map(|it| row(view, it, links)).collect();
    if !rows.is_empty() {
        rows.insert(0, "| host | result | what changes |\n| --- | --- | --- |".to_owned());
    }
    let more = match hosts.len().saturating_sub(MOST_HOSTS) {
        0 => String::new(),
        more => {
            let url = links.run(&view.run.id, view.repository.visibility);
            format!("and [{more} more]({url}).")
        }
    };
    let verdict = inline(&gate_title(view));
    let mut parts =
        vec![format!("### What changes\n\n{verdict}"), rolled.join("\n"), rows.join("\n"), more];
    parts.retain(|it| !it.is_empty());
    parts.join("\n\n")
}

fn row(view: &RunView, it: &BuildView, links: &Links) -> String {
    let url = links.build(&it.build.id, view.repository.visibility);
    // What keeps a host from being there to deploy is more than what would change on it.
    let said = change(it).unwrap_or_else(|| match it.insight {
        Some(_) => "nothing changes".to_owned(),
        None => remark(it),
    });
    format!(
        "| [{}]({url}) | {} | {} |",
        inline(&host_name(it)),
        result(&it.build.state),
        inline(&plain_title(&said, MOST_LINE))
    )
}
