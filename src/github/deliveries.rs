//! GitHub's own list of what it tried to deliver, and asking it to try again.
use http::{HeaderMap, Method};
use serde::Deserialize;

use crate::domain::Timestamp;
use crate::domain::id::{InstallationId, RepositoryId};
use crate::domain::recover::{Answer, ListedDelivery};
use crate::github::client::{Call, Github, GithubError, PER_PAGE, get};
use crate::github::error::header;
use crate::github::webhook::shown;

/// Where the list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(String);

/// A page of the list, the newest tries first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryPage {
    pub deliveries: Vec<ListedDelivery>,
    /// `None` on the last page.
    pub next: Option<Cursor>,
    /// GitHub's time when it answered.
    pub at: Timestamp,
}

#[derive(Deserialize)]
struct Wire {
    id: i64,
    guid: String,
    delivered_at: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    status_code: i64,
    event: String,
    action: Option<String>,
    installation_id: Option<i64>,
    repository_id: Option<i64>,
}

impl Github {
    /// A page of what GitHub tried to deliver to the App, from where the page before ended.
    ///
    /// # Errors
    /// When GitHub does not answer, or does not know the App.
    pub async fn deliveries(&self, from: Option<&Cursor>) -> Result<DeliveryPage, GithubError> {
        let cursor = from.map(|it| format!("&cursor={}", it.0)).unwrap_or_default();
        let path = format!("/app/hook/deliveries?per_page={PER_PAGE}{cursor}");
        let answer = self.as_app(get("list_deliveries", "list the App's deliveries", path)).await?;
        let wire: Vec<Wire> = answer.read()?;
        Ok(DeliveryPage {
            deliveries: wire.into_iter().filter_map(listed).collect(),
            next: next(&answer.headers),
            at: answer.date(self.now()),
        })
    }

    /// Asks GitHub to send a delivery again; it does so a little later, under the same GUID.
    ///
    /// # Errors
    /// [`GithubError::Gone`] or [`GithubError::Rejected`] when GitHub no longer has it.
    pub async fn redeliver(&self, id: i64) -> Result<(), GithubError> {
        let call = Call {
            operation: "redeliver",
            about: format!("ask for delivery {id} again"),
            method: Method::POST,
            path: format!("/app/hook/deliveries/{id}/attempts"),
            body: None,
        };
        self.as_app(call).await.map(drop)
    }
}

/// One that has no GUID or time of the documented form cannot be asked for or told apart.
fn listed(wire: Wire) -> Option<ListedDelivery> {
    let at: jiff::Timestamp = wire.delivered_at.parse().ok()?;
    let is_good = wire.status == "OK" || (200..300).contains(&wire.status_code);
    Some(ListedDelivery {
        id: wire.id,
        guid: wire.guid.parse().ok()?,
        delivered_at: Timestamp(at.as_millisecond()),
        answer: if is_good { Answer::Good } else { Answer::Bad },
        event: wire.event,
        action: wire.action.as_deref().map(shown),
        repository: wire.repository_id.map(RepositoryId),
        installation: wire.installation_id.map(InstallationId),
    })
}

/// The cursor of `Link: <https://…?cursor=C&per_page=100>; rel="next"`; the address itself is
/// never called.
fn next(headers: &HeaderMap) -> Option<Cursor> {
    let links = header(headers, "link")?;
    let next = links.split(',').find(|it| it.contains("rel=\"next\""))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    let (_, query) = address.split_once('?')?;
    let cursor = query.split('&').find_map(|it| it.strip_prefix("cursor="))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%+=".contains(&byte);
    (!cursor.is_empty() && cursor.bytes().all(plain)).then(|| Cursor(cursor.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(link: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("link", link.parse().unwrap());
        next(&headers).map(|it| it.0)
    }

    #[test]
    fn the_cursor_alone_is_taken_from_a_link() {
        let link = "<https://api.github.com/app/hook/deliveries?per_page=100&cursor=v1_17%3D>; \
                    rel=\"next\", <https://api.github.com/app/hook/deliveries>; rel=\"first\"";
        assert_eq!(cursor(link).as_deref(), Some("v1_17%3D"));
        assert_eq!(cursor("<https://a.invalid/?cursor=1>; rel=\"prev\""), None);
        assert_eq!(cursor("<https://a.invalid/?cursor=a b>; rel=\"next\""), None);
        assert_eq!(cursor("nonsense"), None);
    }
}
