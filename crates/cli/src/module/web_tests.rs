//! Over a socket, with requests as an attacker writes them.

use std::os::unix::fs::symlink;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

struct Site {
    _folder: tempfile::TempDir,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    std::fs::create_dir_all(site.join("sub")).unwrap();
    std::fs::create_dir_all(folder.path().join("site-2")).unwrap();
    for (path, content) in [
        ("site/index.html", "<h1>Hello</h1>"),
        ("site/sub/index.html", "sub"),
        ("site/a b.css", "a{}"),
        ("site/.hidden", "SECRET"),
        ("secret", "SECRET"),
        ("site-2/secret", "SECRET"),
    ] {
        std::fs::write(folder.path().join(path), content).unwrap();
    }
    symlink(folder.path().join("secret"), site.join("link")).unwrap();
    symlink(folder.path(), site.join("up")).unwrap();
    symlink("index.html", site.join("inside.html")).unwrap();
    let large = std::fs::File::create(site.join("large.bin")).unwrap();
    large.set_len(FILE_MAX + 1).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let root = root(&site).unwrap();
    let task = tokio::spawn(async move {
        serve(listener, root, async {
            stopped.await.ok();
        })
        .await;
    });
    Site { _folder: folder, address, stop, task }
}

impl Site {
    /// The whole answer to a request line.
    async fn ask(&self, line: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }
}

#[tokio::test]
async fn files_have_their_types_and_folders_their_index() {
    let site = site().await;
    for (path, content_type, body) in [
        ("/", "text/html; charset=utf-8", "<h1>Hello</h1>"),
        ("/index.html?x=1", "text/html; charset=utf-8", "<h1>Hello</h1>"),
        ("/sub", "text/html; charset=utf-8", "sub"),
        ("/sub/", "text/html; charset=utf-8", "sub"),
        ("/a%20b.css", "text/css; charset=utf-8", "a{}"),
        ("/inside.html", "text/html; charset=utf-8", "<h1>Hello</h1>"),
    ] {
        let answer = site.ask(&format!("GET {path}")).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with(&format!("\r\n\r\n{body}")),
            "{answer}"
        );
        assert!(answer.contains(&format!("content-type: {content_type}\r\n")), "{answer}");
    }
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let answer = site().await.ask("HEAD /").await;
    assert!(answer.contains("content-length: 14\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn nothing_outside_the_folder_is_read() {
    let site = site().await;
    for path in [
        "/../secret",
        "/sub/../../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/sub/%2E%2E%2F%2e%2e/secret",
        "/..%5csecret",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/link",
        "/up/secret",
        "/up/site-2/secret",
        "/.hidden",
        "/%00",
        "/index.html%00.css",
        "/%zz",
        "/%",
        "/%ff",
        "/missing",
        "/index.html/x",
    ] {
        let answer = site.ask(&format!("GET {path}")).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        assert!(!answer.contains("SECRET") && !answer.contains("root:"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn other_methods_and_large_files_are_refused() {
    let site = site().await;
    let answer = site.ask("DELETE /").await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    assert!(site.ask("GET /large.bin").await.starts_with("HTTP/1.1 500"));
}

#[tokio::test]
async fn it_ends_when_it_is_told_even_with_an_idle_connection() {
    let site = site().await;
    let mut idle = TcpStream::connect(site.address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    site.stop.send(()).unwrap();
    tokio::time::timeout(DRAIN_MAX * 3, site.task).await.expect("it ends in time").unwrap();
    assert!(TcpStream::connect(site.address).await.is_err(), "nobody listens any more");
}

#[test]
fn the_port_comes_from_the_environment() {
    let of = |vars: &'static [(&str, &str)]| {
        port(move |name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    };
    assert_eq!(of(&[("PORT", "81"), ("PORT_HTTP", "80")]).unwrap(), 80);
    assert_eq!(of(&[("PORT", "81")]).unwrap(), 81);
    assert_eq!(of(&[]).unwrap_err().kind(), ErrorKind::Usage);
    assert_eq!(of(&[("PORT", "x")]).unwrap_err().kind(), ErrorKind::Usage);
}
