//! Builds that run for exactly as long as a test wants, without a clock.
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::unix::pipe::{OpenOptions, Receiver};

/// A build that says that it runs, and waits to be let go.
pub struct Hold {
    said: PathBuf,
    go: PathBuf,
    /// Ends when the last build that has it open ends.
    listening: Receiver,
    /// Open for reading too, so that words wait for whoever reads them.
    letting_go: File,
}

const PATIENCE: Duration = Duration::from_mins(1);

impl Hold {
    /// Its pipes lie in this folder under this name.
    pub fn new(directory: &Path, name: &str) -> Self {
        let at = |what: &str| directory.join(format!("{name}-{what}"));
        let (said, go) = (at("said"), at("go"));
        for fifo in [&said, &go] {
            let mode = rustix::fs::Mode::from_raw_mode(0o666);
            rustix::fs::mkfifoat(rustix::fs::CWD, fifo, mode).unwrap();
        }
        let listening = OpenOptions::new().open_receiver(&said).unwrap();
        let letting_go = File::options().read(true).write(true).open(&go).unwrap();
        Self { said, go, listening, letting_go }
    }

    /// What a builder's shell runs to be held.
    pub fn script(&self) -> String {
        let (said, go) = (self.said.display(), self.go.display());
        format!("exec 9> {said}; echo x >&9; read word < {go}")
    }

    /// Waits until a build runs.
    pub async fn runs(&mut self) {
        self.reads(|count| count > 0, "no build has started").await;
    }

    /// Whether a build has started since that was waited for.
    pub fn has_started(&self) -> bool {
        self.listening.try_read(&mut [0; 64]).is_ok_and(|count| count > 0)
    }

    /// Waits until no build runs any more.
    pub async fn is_over(&mut self) {
        self.reads(|count| count == 0, "the build runs on").await;
        // The end of a pipe stays its end, however many write to it later.
        self.listening = OpenOptions::new().open_receiver(&self.said).unwrap();
    }

    async fn reads(&mut self, wanted: impl Fn(usize) -> bool, otherwise: &str) {
        let listening = &self.listening;
        let found = async {
            let mut buffer = [0; 64];
            loop {
                listening.readable().await.unwrap();
                match listening.try_read(&mut buffer) {
                    Ok(count) if wanted(count) => break,
                    Ok(0) => panic!("{otherwise}, or it ended"),
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
                }
            }
        };
        assert!(tokio::time::timeout(PATIENCE, found).await.is_ok(), "{otherwise}");
    }

    /// Lets a build that runs, or will run, go to its end.
    pub fn let_go(&mut self) {
        self.letting_go.write_all(b"go\n").unwrap();
    }
}
