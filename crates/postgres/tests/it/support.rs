//! Databases and servers of a test's own.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use orderwire_postgres::Options;
use tokio_postgres::{Client, NoTls};

/// Ends this process, and with it all that would fail for the same want, which is said loudly
/// and is a failure under `CI=true`. The runner has a process for each test; without it the
/// rest of this suite ends, too.
fn skip(why: &str) -> ! {
    assert!(std::env::var_os("CI").is_none(), "CI needs what is not there: {why}");
    // Not by `eprintln!`: what a test says is held back, and would be lost.
    writeln!(std::io::stderr(), "SKIPPED: {why}").expect("somebody hears it");
    std::process::exit(0);
}

/// A user of the server of this machine that may create databases.
fn admin_url() -> String {
    std::env::var("POSTGRES_URL").unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned())
}

/// A connection of the test's own.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// An empty database on the server of this machine; dropped with the value.
pub(crate) struct TestDatabase {
    server: String,
    name: String,
}

impl TestDatabase {
    /// A new one.
    pub(crate) async fn new() -> Self {
        let given = std::env::var_os("POSTGRES_URL").is_some();
        if !given && TcpStream::connect(("127.0.0.1", 5432)).is_err() {
            skip("no PostgreSQL on 127.0.0.1:5432; start one with cargo xtask services, or set POSTGRES_URL");
        }
        Self::on(&admin_url()).await
    }

    /// A new one on the server of this URL.
    pub(crate) async fn on(server: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("orderwire_test_{}_{count}_{:08x}", std::process::id(), fastrand::u32(..));
        let client = connect(server).await;
        let create = format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0");
        client.batch_execute(&create).await.unwrap();
        Self { server: server.to_owned(), name }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        let mut url = url::Url::parse(&self.server).unwrap();
        url.set_path(&self.name);
        url.into()
    }

    /// How to open it, with limits that tests reach.
    pub(crate) fn options(&self) -> Options {
        Options::for_testing(self.url())
    }
}

impl Drop for TestDatabase {
    /// On a thread of its own, because the test's runtime may be gone.
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let drop = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                // A server of the test's own may be gone already.
                let Ok((client, connection)) = tokio_postgres::connect(&server, NoTls).await else { return };
                tokio::spawn(connection);
                client.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
            });
        };
        let dropped = std::thread::spawn(drop).join();
        assert!(std::thread::panicking() || dropped.is_ok(), "the test's database cannot be dropped");
    }
}

/// A server of a test's own, in a folder and on a port of its own.
pub(crate) struct TestServer {
    folder: tempfile::TempDir,
    port: u16,
}

impl TestServer {
    /// Starts one; `settings` are lines of its `postgresql.conf`.
    pub(crate) fn start(settings: &str) -> Self {
        if !program("initdb").arg("--version").output().is_ok_and(|output| output.status.success()) {
            skip("no initdb; this test starts a PostgreSQL of its own, of the package postgresql");
        }
        let folder = tempfile::Builder::new().prefix("orderwire-pg-").tempdir().unwrap();
        give(folder.path());
        let port = orderwire_servers::free_port().unwrap();
        let server = Self { folder, port };
        let data = server.data();
        run(program("initdb")
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
                "-D",
            ])
            .arg(&data));
        let socket = server.folder.path().display();
        let config = format!(
            "\nport = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{socket}'\n\
             max_connections = 50\n{settings}\n"
        );
        let file = data.join("postgresql.conf");
        let before = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, before + &config).unwrap();
        server.begin();
        server
    }

    /// Starts it, and returns when it takes connections.
    pub(crate) fn begin(&self) {
        let log = self.folder.path().join("log");
        run(program("pg_ctl").args(["start", "-w", "-t", "60", "-D"]).arg(self.data()).arg("-l").arg(log));
    }

    /// Stops it: `smart`, `fast`, or `immediate`, which is as if it had been killed.
    pub(crate) fn stop(&self, mode: &str) {
        run(program("pg_ctl").args(["stop", "-w", "-t", "60", "-m", mode, "-D"]).arg(self.data()));
    }

    /// The URL of its maintenance database.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Gives it a file that we wrote.
    pub(crate) fn own(&self, path: &Path) {
        give(path);
    }

    /// The folder of its data, where settings and certificates are.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            self.stop("immediate");
        }
    }
}

/// A disk of its own size, in memory. Needs the right to mount.
pub(crate) struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    pub(crate) fn mount(size: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("orderwire-disk-").tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder.path());
        if !mount.status().is_ok_and(|status| status.success()) {
            skip("mounting a small file system needs root");
        }
        Self { folder }
    }

    /// Makes it the server's.
    pub(crate) fn give_to_server(&self) {
        give(self.folder.path());
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(self.folder.path()));
    }
}

/// A program of the newest server that is installed, run by a user that is not root.
fn program(name: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = versions
        .filter_map(|version| version.ok()?.file_name().into_string().ok()?.parse::<u32>().ok())
        .max();
    let path = match newest {
        Some(version) => Path::new("/usr/lib/postgresql").join(version.to_string()).join("bin").join(name),
        None => PathBuf::from(name),
    };
    if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(path);
        command.current_dir("/");
        command
    } else {
        Command::new(path)
    }
}

/// Makes a file the server's: one never runs as root.
fn give(path: &Path) {
    if is_root() {
        run(Command::new("chown").arg("postgres:").arg(path));
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8_lossy(&id.stdout).trim() == "0"
}

fn run(command: &mut Command) {
    // What it starts lives on: it must not hold our pipes.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
