//! A front with a store and logs of a test's own.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use fleetcheck::config::Sealed;
use fleetcheck::domain::Timestamp;
use fleetcheck::domain::build::{Attempted, Derivation, Required, Waiting};
use fleetcheck::domain::id::{
    AttemptId, AttrPath, BuildId, CommitSha, InstallationId, RepositoryId, RunId,
};
use fleetcheck::domain::incoming::{Repository, Visibility};
use fleetcheck::domain::link::Links;
use fleetcheck::domain::page::Counts;
use fleetcheck::domain::run::{Approval, Reason, Run, RunState, Skip, Trust};
use fleetcheck::github::webhook::Secrets;
use fleetcheck::http::health::Readiness;
use fleetcheck::http::{Front, router};
use fleetcheck::nix::log::{LogStore, LogWriter};
use fleetcheck::nix::redact;
use fleetcheck::store::decide::Decided;
use fleetcheck::store::insights::Origin;
use fleetcheck::store::intake::{Arrival, NewDelivery};
use fleetcheck::store::runs::{EvaluationOutcome, NewBuild, Outcome, Subject};
use fleetcheck::store::{AttemptClaim, Body, RunClaim, Store};
use hmac::{Hmac, KeyInit as _, Mac as _};
use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::{Client, RequestBuilder, Response};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) const NOW: Timestamp = Timestamp(1_795_000_000_000);
pub(crate) const SECRET: &str = "a secret of the webhook's";
const LEASE: i64 = 60_000;

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// A fresh id of any kind.
pub(crate) fn id<T: std::str::FromStr>() -> T
where
    T::Err: std::fmt::Debug,
{
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("01890a5d-ac96-774b-bcce-{number:012x}").parse().unwrap()
}

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) logs: LogStore,
    pub(crate) links: Links,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) arrived: Arc<Notify>,
    pub(crate) progress: Arc<DashMap<AttemptId, Counts>>,
    pub(crate) url: String,
    client: Client,
    /// Ends the committer, after which nothing more is kept.
    pub(crate) stop: CancellationToken,
    tasks: JoinSet<()>,
    _directory: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("fleet.db").display());
        let store = Store::open(&url).await.unwrap();
        let (writer, committer) = store.intake();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(committer.run(stop.clone()));
        let logs = LogStore::new(directory.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let links = Links::new(&url, &[7; 32]);
        let readiness = Arc::new(Readiness::default());
        let arrived = Arc::new(Notify::new());
        let progress = Arc::default();
        let front = Front {
            secrets: Secrets::new(&[Sealed::new(SECRET.to_owned())]),
            app_id: 12345,
            owners: vec!["acme".to_owned()],
            writer: Some(writer),
            arrived: {
                let arrived = arrived.clone();
                Arc::new(move || arrived.notify_one())
            },
            store: store.clone(),
            progress: Arc::clone(&progress),
            logs: logs.clone(),
            archive: None,
            links: links.clone(),
            readiness: readiness.clone(),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            clock: Arc::new(|| NOW),
        };
        let service = router(Arc::new(front)).into_make_service_with_connect_info::<SocketAddr>();
        tasks.spawn(async move { axum::serve(listener, service).await.unwrap() });
        let client = Client::new();
        Self {
            store,
            logs,
            links,
            readiness,
            arrived,
            progress,
            url,
            client,
            stop,
            tasks,
            _directory: directory,
        }
    }

    /// Ends the task that keeps deliveries.
    pub(crate) async fn lose_the_store(&mut self) {
        self.stop.cancel();
        self.tasks.join_next().await;
    }

    pub(crate) async fn get(&self, path_or_url: &str) -> Response {
        let url = if path_or_url.starts_with("http") {
            path_or_url.to_owned()
        } else {
            format!("{}{path_or_url}", self.url)
        };
        self.client.get(url).send().await.unwrap()
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.unwrap()
    }

    /// A delivery without a signature.
    pub(crate) fn unsigned(&self, event: &str, guid: &str, body: &[u8]) -> RequestBuilder {
        self.client
            .post(format!("{}/webhook", self.url))
            .header("x-github-event", event)
            .header("x-github-delivery", guid)
            .body(body.to_vec())
    }

    pub(crate) async fn deliver(&self, event: &str, guid: &str, body: &[u8]) -> Response {
        let request = self.unsigned(event, guid, body);
        request.header("x-hub-signature-256", signature(body)).send().await.unwrap()
    }

    /// A run of one push, claimed for its evaluation.
    pub(crate) async fn run(&self, visibility: Visibility) -> (RunId, RunClaim) {
        self.run_after(visibility, None).await
    }

    /// And compared with this commit.
    pub(crate) async fn run_after(
        &self,
        visibility: Visibility,
        base: Option<&CommitSha>,
    ) -> (RunId, RunClaim) {
        let run = new_run(visibility, base);
        let id = run.id.clone();
        let delivery = delivery("push", run.repository);
        let start = Decided::Start { repository: repository(visibility), run, supersede: vec![] };
        self.store.accept(vec![delivery.clone()]).await.unwrap();
        let _ = self.store.decide(&delivery.guid, start, NOW).await.unwrap();
        let (claim, _) = self.store.claim_run("me", NOW, LEASE).await.unwrap().unwrap();
        let subject = Subject { compared_with: base, ..Subject::default() };
        self.store.set_subject(&claim, &subject, NOW).await.unwrap();
        let origin = Origin { compared_with: base.cloned(), ..Origin::default() };
        self.store.set_origin(&claim, &origin, NOW).await.unwrap();
        (id, claim)
    }

    /// Lists a host with what became of its evaluation.
    pub(crate) async fn host(&self, claim: &RunClaim, name: &str, outcome: Outcome) -> BuildId {
        let build = self.listed(claim, name).await;
        let outcome =
            EvaluationOutcome { build: build.clone(), outcome, took: None, warnings: vec![] };
        let _ = self.store.evaluated(claim, vec![outcome], NOW).await.unwrap();
        build
    }

    /// Lists a host.
    pub(crate) async fn listed(&self, claim: &RunClaim, name: &str) -> BuildId {
        let attr = AttrPath::host(name);
        let build: BuildId = id();
        let new = NewBuild {
            id: build.clone(),
            label: attr.label().ok(),
            attr,
            required: Required::Required,
        };
        let _ = self.store.list_builds(claim, vec![new], NOW).await.unwrap();
        build
    }

    /// Begins to build a host that waits.
    pub(crate) async fn start(&self, name: &str) -> (AttemptClaim, LogWriter) {
        let wanted = [(derivation(name).path, id::<AttemptId>())];
        let claimed = self.store.claim_attempts(&wanted, "local", "me", NOW, LEASE).await;
        let claim = claimed.unwrap().0.pop().unwrap();
        let log = self.logs.create(claim.attempt()).unwrap();
        (claim, log)
    }

    pub(crate) async fn finish(&self, claim: &AttemptClaim, attempted: Attempted) {
        let _ = self.store.finish_attempts(vec![(claim, attempted, 0)], NOW).await.unwrap();
    }
}

fn number(visibility: Visibility) -> RepositoryId {
    RepositoryId(match visibility {
        Visibility::Public => 1,
        Visibility::Private => 2,
    })
}

fn repository(visibility: Visibility) -> Repository {
    let name = match visibility {
        Visibility::Public => "fleet",
        Visibility::Private => "secret",
    };
    Repository {
        id: number(visibility),
        node_id: None,
        owner: "acme".parse().unwrap(),
        name: name.parse().unwrap(),
        default_branch: "main".parse().unwrap(),
        visibility,
        installation: InstallationId(7),
    }
}

fn new_run(visibility: Visibility, base: Option<&CommitSha>) -> Run {
    let id: RunId = id();
    Run {
        sha: format!("{:0>40}", &id.as_str()[24..]).parse().unwrap(),
        id,
        repository: number(visibility),
        reason: Reason::Push("main".parse().unwrap()),
        base: base.cloned(),
        occurred_at: NOW,
        created_at: NOW,
        problem: None,
        waits: None,
        trust: Trust::Trusted,
        approval: Approval::NotNeeded,
        base_branch: None,
        merge: None,
        skip: Skip::Heeded,
        lock: None,
        note: None,
        state: RunState::Requested,
    }
}

/// A delivery of this event, about a repository or none.
pub(crate) fn delivery(event: &str, repository: impl Into<Option<RepositoryId>>) -> NewDelivery {
    let guid = id::<AttemptId>().to_string();
    NewDelivery {
        guid: guid.parse().unwrap(),
        event: event.into(),
        action: None,
        repository: repository.into(),
        installation: None,
        received_at: NOW,
        standing: Arrival::Received { body_sha256: guid },
        body: Body::pack(b"{}").unwrap(),
    }
}

/// What a page's main part says, a line for each piece of text.
pub(crate) fn words(page: &str) -> String {
    let (_, main) = page.split_once("<main").unwrap();
    let (_, main) = main.split_once('>').unwrap();
    let (main, _) = main.split_once("</main>").unwrap();
    let mut words = String::new();
    for piece in main.split('<') {
        let text = piece.split_once('>').map_or(piece, |(_, text)| text).trim();
        if !text.is_empty() {
            words.push_str(text);
            words.push('\n');
        }
    }
    words
}

/// What GitHub puts into `X-Hub-Signature-256`.
pub(crate) fn signature(body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    format!("sha256={}", hex::encode(mac.chain_update(body).finalize().into_bytes()))
}

pub(crate) fn write(log: &mut LogWriter, text: &str) {
    for line in text.lines() {
        log.line(redact::clean(line.as_bytes(), &mut Vec::new()));
    }
    log.flush();
}

pub(crate) fn waiting(name: &str) -> Outcome {
    Outcome::Wait(derivation(name), Waiting::Slot)
}

pub(crate) fn derivation(name: &str) -> Derivation {
    let path = |end: &str| format!("/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-{name}{end}");
    Derivation {
        path: path(".drv").parse().unwrap(),
        outputs: BTreeMap::from([("out".to_owned(), path("").parse().unwrap())]),
        system: "x86_64-linux".into(),
        features: vec![],
    }
}
