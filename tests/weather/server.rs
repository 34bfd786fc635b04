//! A server that answers as badly as it is asked to: `/503/…`, `/404/…`, `/hang/…`, `/cut/…`, and
//! `/cache`, a substituter that offers paths and gives none.
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub(crate) struct Server {
    pub(crate) url: String,
    offered: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let offered = Arc::new(Mutex::new(Vec::new()));
        let known = offered.clone();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                let known = known.lock().unwrap().clone();
                kept.extend(answer(stream, &known));
            }
        });
        Self { url, offered }
    }

    /// Takes connections and says nothing.
    pub(crate) fn deaf() -> Deaf {
        Deaf(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// The substituter says that it has this path.
    pub(crate) fn offer(&self, path: &str) {
        self.offered.lock().unwrap().push(path.to_owned());
    }
}

pub(crate) struct Deaf(TcpListener);

impl Deaf {
    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

/// Gives back a connection that is to stay open.
fn answer(mut stream: TcpStream, offered: &[String]) -> Option<TcpStream> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
    let request = lines.next()?;
    for line in lines {
        if line.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1)?.to_owned();
    let mut say = |status: &str, body: &str| {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        drop(stream.write_all(format!("{head}{body}").as_bytes()));
    };
    let store = offered.first().and_then(|it| it.rsplit_once('/')).map_or("/nix/store", |it| it.0);
    let narinfo = offered.iter().find(|it| {
        let hash = it.rsplit('/').next().and_then(|it| it.get(..32)).unwrap_or("-");
        path == format!("/cache/{hash}.narinfo")
    });
    if path == "/cache/nix-cache-info" {
        say("200 OK", &format!("StoreDir: {store}\nWantMassQuery: 1\n"));
    } else if let Some(offered) = narinfo {
        let zeros = "0".repeat(52);
        say(
            "200 OK",
            &format!(
                "StorePath: {offered}\nURL: nar/it.nar\nCompression: none\nFileHash: sha256:{zeros}\n\
                 FileSize: 120\nNarHash: sha256:{zeros}\nNarSize: 120\nReferences: \n"
            ),
        );
    } else if path.starts_with("/cache/nar/") || path.starts_with("/503/") {
        say("503 Service Unavailable", "");
    } else if path.starts_with("/hang/") {
        return Some(stream);
    } else if path.starts_with("/cut/") {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly so much"));
    } else {
        say("404 Not Found", "");
    }
    None
}
