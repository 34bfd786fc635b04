//! `GET /builds/{id}/log`: the log of a build's newest attempt, as text.
//!
//! Without parameters the whole log comes, as far as it is written. With `from=PLACE` one piece
//! comes, with the place to go on from in the header `X-Next` and, while more is to be written,
//! `X-Open: yes`. Colours are taken out; `ansi` keeps them, `html` makes HTML of them as on pages.
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use serde::Deserialize;

use crate::domain::build::BuildState;
use crate::domain::id::AttemptId;
use crate::domain::page::BuildView;
use crate::domain::text::{clean, redact};
use crate::http::sight::{Key, Unseen, find_build};
use crate::http::{Front, archived, colour, elsewhere};
use crate::nix::log::{Chunk, LogStore};

/// Bytes that are read at once.
pub(super) const PIECE: usize = 256 << 10;

/// What may follow the end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// More lines; the last one may be half written.
    Expected,
    Over,
}

/// Whether a build's log still grows.
pub(super) fn growth(build: &BuildView) -> Growth {
    match &build.build.state {
        BuildState::Building { .. } => Growth::Expected,
        BuildState::Listed { .. } | BuildState::Waiting { .. } | BuildState::Ended { .. } => {
            Growth::Over
        }
    }
}

/// Whole lines of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// The place to go on from.
    pub(super) next: u64,
    /// Where the log ended.
    pub(super) end: u64,
}

/// Lines from a place on, wherever the log is; `None` when there is none.
pub(super) async fn read(
    front: &Front,
    attempt: &AttemptId,
    from: u64,
    growth: Growth,
) -> Result<Option<Piece>, Unseen> {
    let chunk = match here(&front.logs, attempt, from).await? {
        Some(chunk) => Some(chunk),
        None if archived::fetch(front, attempt).await? => here(&front.logs, attempt, from).await?,
        None => elsewhere::read(front, attempt, from).await?,
    };
    Ok(chunk.map(|chunk| {
        let at_end = chunk.next >= chunk.end;
        let kept = match (at_end, growth) {
            (true, Growth::Over) => chunk.bytes.len(),
            (true, Growth::Expected) => whole_lines(&chunk.bytes).unwrap_or(0),
            // A line longer than a piece is shown in parts.
            (false, _) => whole_lines(&chunk.bytes).unwrap_or(chunk.bytes.len()),
        };
        let cut = (chunk.bytes.len() - kept) as u64;
        let text = String::from_utf8_lossy(&chunk.bytes[..kept]).into_owned();
        Piece { text, next: chunk.next.saturating_sub(cut), end: chunk.end }
    }))
}

/// The same as bytes, of a log in this instance's own directory.
pub(super) async fn here(
    logs: &LogStore,
    attempt: &AttemptId,
    from: u64,
) -> Result<Option<Chunk>, Unseen> {
    let (logs, attempt) = (logs.clone(), attempt.clone());
    let named = attempt.clone();
    match tokio::task::spawn_blocking(move || logs.read(&attempt, from, PIECE)).await {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) => {
            tracing::warn!(attempt = %named, %error, "the log of attempt {named} cannot be read");
            Err(Unseen::Unavailable)
        }
        Err(error) => {
            tracing::error!(attempt = %named, %error, "reading the log of attempt {named} failed");
            Err(Unseen::Unavailable)
        }
    }
}

/// Where the last whole line ends.
fn whole_lines(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|b| *b == b'\n').map(|at| at + 1)
}

/// `text` without the rest of a line that began before it.
pub(super) fn from_a_line(text: &str, from: u64) -> &str {
    match text.find('\n') {
        Some(at) if from > 0 => &text[at + 1..],
        Some(_) | None => text,
    }
}

/// How a log is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Ansi,
    Html,
}

impl Form {
    fn show(self, text: &str) -> String {
        match self {
            Self::Plain => clean(text),
            Self::Ansi => redact(text),
            Self::Html => colour::html(text).0,
        }
    }

    fn content_type(self) -> (HeaderName, &'static str) {
        let value = match self {
            Self::Plain | Self::Ansi => "text/plain; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
        };
        (header::CONTENT_TYPE, value)
    }
}

/// Opened by itself, a piece of HTML is a page; it may load and run nothing.
const SANDBOX: (HeaderName, &str) =
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox; frame-ancestors 'none'");

/// What a request for a log may say.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    from: Option<u64>,
    ansi: Option<String>,
    html: Option<String>,
    key: Option<String>,
}

/// Answers with a log.
pub(super) async fn log(
    State(front): State<Arc<Front>>,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
    uri: Uri,
) -> Result<Response, Unseen> {
    let Wanted { from, ansi, html, key } = wanted;
    let found = find_build(&front, &id, &uri, &Key { key }).await?;
    let form = match (html, ansi) {
        (Some(_), _) => Form::Html,
        (None, Some(_)) => Form::Ansi,
        (None, None) => Form::Plain,
    };
    let growth = growth(&found.build);
    let kind = [form.content_type(), SANDBOX];
    let Some(attempt) = found.build.attempt else { return Ok(kind.into_response()) };
    let piece = read(&front, &attempt, from.unwrap_or_default(), growth).await?;
    Ok(match from {
        None => (kind, whole(front, attempt, piece, (form, growth))).into_response(),
        Some(from) => (kind, answer(piece, from, form, growth)).into_response(),
    })
}

fn answer(piece: Option<Piece>, from: u64, form: Form, growth: Growth) -> Response {
    let piece = piece.unwrap_or(Piece { text: String::new(), next: from, end: from });
    let mut response = form.show(&piece.text).into_response();
    response.headers_mut().insert("x-next", piece.next.into());
    if growth == Growth::Expected || piece.next < piece.end {
        response.headers_mut().insert("x-open", HeaderValue::from_static("yes"));
    }
    response
}

/// The whole log from its first piece on, piece by piece: a log of 64 MiB never is in memory at once.
fn whole(
    front: Arc<Front>,
    attempt: AttemptId,
    first: Option<Piece>,
    (form, growth): (Form, Growth),
) -> Body {
    let pieces = stream::try_unfold((first, 0), move |(first, from)| {
        let (front, attempt) = (front.clone(), attempt.clone());
        async move {
            let broken = |_| std::io::Error::other("the log cannot be read");
            let piece = match first {
                Some(first) => Some(first),
                None => read(&front, &attempt, from, growth).await.map_err(broken)?,
            };
            let piece = piece.filter(|it| it.next > from);
            let part = |it: Piece| (Bytes::from(form.show(&it.text)), (None, it.next));
            Ok::<_, std::io::Error>(piece.map(part))
        }
    });
    Body::from_stream(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_written_line_is_left_for_later() {
        assert_eq!(whole_lines(b"one\ntwo\nthr"), Some(8));
        assert_eq!(whole_lines(b"one"), None);
    }

    #[test]
    fn a_log_that_is_cut_begins_with_a_line() {
        assert_eq!(from_a_line("est of it\nline\n", 7), "line\n");
        assert_eq!(from_a_line("line\n", 0), "line\n");
    }
}
