//! fleetcheck: CI for NixOS fleets on GitHub. One Nix build per host, each a check.
//!
//! # The way of a commit
//!
//! ```text
//!             ┌───────────┐ VerifiedBody ┌───────────┐ committed, then 202
//!  GitHub ──▶ │ http      │ ───────────▶ │ store     │
//!             │  /webhook │              │  delivery │
//!             └───────────┘              └───────────┘
//!  flow::intake    delivery         → domain::decide → run           ╔═══════╗
//!  flow::evaluate  run Requested    → nix::git, eval → builds        ║       ║
//!  flow::build     builds Waiting   → nix::realise   → attempt       ║ store ║
//!  flow::archive   attempt ended    → its log, into the bucket       ║       ║
//!  flow::insight   builds Ended     → nix::closure   → insight       ║       ║
//!  flow::report    known ≠ shown    → domain::page   → github checks ║       ║ ──▶ GitHub
//!  flow::schedule  a schedule fires → update                         ║       ║
//!  flow::updates   update           → runs            → github pulls  ║       ║
//!  flow::recover   known ≠ GitHub's → github heads   → delivery      ║       ║
//!  flow::sweep     time has passed                   → all of these  ╚═══════╝
//! ```
//!
//! A delivery is on the disk before it is acknowledged ([`http::webhook`], [`store::intake`]).
//! [`flow::intake`] decides it and leaves a run; [`flow::evaluate`] fetches the commit, lists its
//! hosts and evaluates each apart from the others ([`flow::hosts`]); a slot of
//! [`flow::build`] claims an attempt at a derivation and realises it over Nix's worker protocol;
//! [`flow::archive`] puts its log where other instances find it;
//! [`flow::insight`] compares what was built with the commit before;
//! [`flow::report`] makes GitHub show what the store knows. [`flow::updates`] tries lock files with
//! runs of their own, which GitHub never sees, and makes of what may move a pull request, which is
//! tested like anybody's. No stage calls the next: it leaves a row, and a wakeup
//! ([`flow::shared::Wakeups`]) says no more than "look". [`flow::check`] is the same engine at a
//! terminal, without GitHub and without a store; [`flow::update`] asks it which inputs of
//! `flake.lock` may move, by the same search as [`flow::updates`].
//!
//! Several instances may share a store in `PostgreSQL`, each with its [`app::roles`]: a wakeup then
//! also travels from one to the others, as a notice that may be lost. A derivation is in the Nix
//! store of the instance that evaluated it, its home, and goes to builders from there; where the
//! others reach that store, they copy it to theirs and build it when its home does not
//! ([`domain::queue::place`]). What waits with an instance that is gone, or that has no builder for
//! it and lends nothing while another has one, is evaluated again elsewhere ([`store::homes`]). A
//! builder with a `store` is one machine, whichever instances have it: they share its slots. One
//! without is its instance's own. What has no claim of its own is done by one instance at a time, by
//! a lease ([`flow::alone`]).
//!
//! # Layers
//!
//! ```text
//! domain  ←  { config | telemetry }  ←  { github | nix | store }  ←  flow  ←  http  ←  app  ←  cli
//! ```
//!
//! A module names only layers to its left, and those in one pair of braces never name each other;
//! `tests/architecture.rs` holds it. [`domain`] is arithmetic, [`github`] alone knows the wire,
//! [`nix`] alone starts processes, [`store`] alone knows SQL, [`app`] owns every task.
//!
//! # Invariants
//!
//! 1. What is needed to go on after a crash is in the store; memory holds only wakeups and children.
//! 2. Only [`domain`] moves a life ([`domain::run`], [`domain::build`]); only [`store`] writes it;
//!    only [`flow::report`] shows it.
//! 3. A delivery is acted on at most once; a page is published at least once; both are safe.
//! 4. Nothing from a repository is evaluated, built, logged or shown outside the limits of
//!    [`nix::process`] and the escaping of [`domain::text`].
//! 5. A task is owned by [`app`]; a process is owned by the task that started it.
//! 6. The domain never waits and never asks the time.
//! 7. Nothing of a fork's commit is fetched before somebody with write access lets it
//!    ([`domain::decide`]); its evaluation then reaches its own sources alone
//!    ([`nix::eval::Evaluator::confine`]), and nothing of it is ever a host's last good.
//! 8. Whoever writes a result holds a claim ([`store::RunClaim`], [`store::AttemptClaim`]), which
//!    only the store makes.
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod flow;
pub mod github;
pub mod http;
pub mod nix;
pub mod store;
pub mod telemetry;
