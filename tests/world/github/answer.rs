//! An answer as GitHub makes it: a status, a document, headers.
use axum::body::Body;
use axum::http::{Response, header};
use serde_json::{Value, json};

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) headers: Vec<(&'static str, String)>,
    /// Set when GitHub finds the request itself wrong, which our code must never cause.
    pub(super) violation: Option<String>,
}

impl Answer {
    pub(super) fn new(status: u16, body: Value) -> Self {
        Self { status, body, headers: Vec::new(), violation: None }
    }

    /// A refusal with GitHub's message.
    pub(super) fn refused(status: u16, message: &str) -> Self {
        Self::new(
            status,
            json!({ "message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string() }),
        )
    }

    /// A 422 for what our code must not send.
    pub(super) fn violation(message: &str) -> Self {
        let mut answer = Self::refused(422, "Validation Failed");
        answer.body["errors"] = json!([{ "message": message }]);
        answer.violation = Some(message.to_owned());
        answer
    }

    pub(super) fn not_found() -> Self {
        Self::refused(404, "Not Found")
    }

    pub(super) fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name, format!("{value}")));
        self
    }

    pub(super) fn into_response(self, now: i64) -> Response<Body> {
        let date = jiff::Timestamp::from_millisecond(now).unwrap();
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date);
        let mut response = Response::builder()
            .status(self.status)
            .header(header::DATE, date.unwrap())
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8");
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let body = if self.status == 204 { String::new() } else { self.body.to_string() };
        response.body(Body::from(body)).unwrap()
    }
}
