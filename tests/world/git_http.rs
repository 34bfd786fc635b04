//! Repositories over HTTP as a forge serves them: `git http-backend` behind Basic authorisation.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use base64::Engine;
use tokio::io::AsyncWriteExt;

/// What a forge answers someone with this token, or without one, about a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Allowed,
    /// 401, as for a token that has expired.
    Unauthorized,
    /// 403, as for a suspended installation.
    Forbidden,
    /// 404, as GitHub answers about what one may not see.
    NotFound,
    /// 503, as on a bad day.
    Unavailable,
}

/// Serves `ROOT/OWNER/NAME.git` at `/OWNER/NAME.git`.
///
/// `authorise` is asked for every request with the owner, the name without `.git` and the
/// password of `Authorization: Basic x-access-token:TOKEN`. Fetching works as it is; a repository
/// that is to be pushed to sets `http.receivepack`.
pub fn router(
    root: PathBuf,
    authorise: impl Fn(&str, &str, Option<&str>) -> Access + Send + Sync + 'static,
) -> Router {
    let authorise = Arc::new(authorise);
    let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        let (root, authorise) = (root.clone(), Arc::clone(&authorise));
        async move {
            let access = match repository(uri.path()) {
                Some((owner, name)) => authorise(owner, name, token(&headers).as_deref()),
                None => Access::NotFound,
            };
            match access {
                Access::Allowed => backend(&root, &method, &uri, &headers, &body).await,
                Access::Unauthorized => {
                    let mut response = plain(StatusCode::UNAUTHORIZED, "Invalid token.\n");
                    response.headers_mut().insert(
                        header::WWW_AUTHENTICATE,
                        HeaderValue::from_static("Basic realm=\"GitHub\""),
                    );
                    response
                }
                Access::Forbidden => plain(StatusCode::FORBIDDEN, "Suspended.\n"),
                Access::NotFound => plain(StatusCode::NOT_FOUND, "Not Found\n"),
                Access::Unavailable => plain(StatusCode::SERVICE_UNAVAILABLE, "Unicorn\n"),
            }
        }
    };
    Router::new().fallback(answer).layer(DefaultBodyLimit::max(64 << 20))
}

/// `/OWNER/NAME.git/…` as owner and name.
fn repository(path: &str) -> Option<(&str, &str)> {
    let mut parts = path.strip_prefix('/')?.split('/');
    let (owner, name) = (parts.next()?, parts.next()?.strip_suffix(".git")?);
    let plain = |it: &str| !it.is_empty() && !it.starts_with('.') && !it.contains('%');
    (plain(owner) && plain(name)).then_some((owner, name))
}

/// The token of a request, where it is sent as GitHub wants it.
fn token(headers: &HeaderMap) -> Option<String> {
    let basic = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let pair = base64::engine::general_purpose::STANDARD.decode(basic).ok()?;
    Some(String::from_utf8(pair).ok()?.strip_prefix("x-access-token:")?.to_owned())
}

/// RFC 3875, as far as `git http-backend` goes.
async fn backend(
    root: &Path,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Response<Body> {
    let header = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or("");
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or(""))
        .env("REQUEST_METHOD", method.as_str())
        .env("REMOTE_USER", "x-access-token")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sent = async move {
        // It closes its input early when it refuses.
        let _ = stdin.write_all(body).await;
    };
    let ((), output) = tokio::join!(sent, child.wait_with_output());
    respond(&output.unwrap().stdout)
}

/// The head and body that the program printed, as a response.
fn respond(printed: &[u8]) -> Response<Body> {
    let end = printed.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let (head, body) = (std::str::from_utf8(&printed[..end]).unwrap(), &printed[end + 4..]);
    let mut response = Response::builder();
    for (name, value) in head.lines().filter_map(|it| it.split_once(": ")) {
        response = match name {
            "Status" => response.status(&value[..3]),
            name => response.header(name, value),
        };
    }
    response.body(Body::from(body.to_vec())).unwrap()
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Body::from(text))
        .unwrap()
}
