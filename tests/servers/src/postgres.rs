//! PostgreSQL.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::free_port;

/// A server that ends with this value.
pub struct Postgres {
    folder: TempDir,
    port: u16,
}

impl Postgres {
    /// A server that answers, with an empty database `orderwire` of the user `orderwire`, whom it
    /// asks for the password `secret`, unlike `postgres`, who may do everything.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn started() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("orderwire-pg-").tempdir()?;
        give(folder.path())?;
        let server = Self { port: free_port()?, folder };
        let data = server.data();
        let init =
            ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"];
        run(program("initdb").args(init).arg(&data))?;
        let (port, socket) = (server.port, server.folder.path().display());
        server.append(
            "postgresql.conf",
            &format!(
                "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{socket}'\nmax_connections = 100\n"
            ),
        )?;
        let who = "host all postgres all trust\nhost all all all scram-sha-256\n";
        std::fs::write(data.join("pg_hba.conf"), who)?;
        server.start()?;
        server.tell("CREATE ROLE orderwire LOGIN PASSWORD 'secret'")?;
        server.tell("CREATE DATABASE orderwire OWNER orderwire ENCODING 'UTF8' TEMPLATE template0")?;
        Ok(server)
    }

    /// Starts it again, and returns when it takes connections.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&self) -> Result<()> {
        let log = self.folder.path().join("log");
        run(program("pg_ctl").args(["start", "-w", "-t", "60", "-D"]).arg(self.data()).arg("-l").arg(log))
    }

    /// Stops it: `smart`, `fast`, or `immediate`, which is as if it had been killed.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(&self, mode: &str) -> Result<()> {
        run(program("pg_ctl").args(["stop", "-w", "-t", "60", "-m", mode, "-D"]).arg(self.data()))
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of the database for its user, without the password.
    pub fn url(&self) -> String {
        format!("postgres://orderwire@127.0.0.1:{}/orderwire", self.port)
    }

    /// Has somebody who may do everything say something in a database; what was answered, a line a row.
    ///
    /// # Errors
    /// What the server refused.
    pub fn ask(&self, database: &str, sql: &str) -> Result<String> {
        let output = self.psql(database).args(["-c", sql]).stdin(Stdio::null()).output().context(NO_PSQL)?;
        ensure!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// The same in the maintenance database.
    ///
    /// # Errors
    /// What the server refused.
    pub fn tell(&self, sql: &str) -> Result<()> {
        self.ask("postgres", sql).map(drop)
    }

    /// Has somebody who may do everything say something in a transaction, which stays open: what it
    /// locks is locked until the value ends.
    ///
    /// # Errors
    /// What the server refused.
    pub fn hold(&self, database: &str, sql: &str) -> Result<Held> {
        let (stdin, stdout) = (Stdio::piped(), Stdio::piped());
        let child = self.psql(database).stdin(stdin).stdout(stdout).spawn().context(NO_PSQL)?;
        let mut held = Held(child);
        let mut says = held.0.stdin.as_ref().context("stdin is piped")?;
        writeln!(says, "BEGIN;\n{sql};\n\\echo held")?;
        let stdout = held.0.stdout.take().context("stdout is piped")?;
        let answered = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line == "held");
        ensure!(answered, "{sql}: it was refused");
        Ok(held)
    }

    fn psql(&self, database: &str) -> Command {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]);
        command.args(["-p", &self.port.to_string(), "-d", database]);
        command
    }

    /// Moves a database into this folder, which becomes the server's: what it needs of disk, but for
    /// its log of changes, it needs there.
    ///
    /// # Errors
    /// When somebody is connected to it, or the folder is not empty.
    pub fn put(&self, database: &str, folder: &Path) -> Result<()> {
        give(folder)?;
        self.tell(&format!("CREATE TABLESPACE elsewhere LOCATION '{}'", folder.display()))?;
        self.tell(&format!("ALTER DATABASE {database} SET TABLESPACE elsewhere"))
    }

    /// What it wrote to its log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("log"))?)
    }

    fn append(&self, file: &str, lines: &str) -> Result<()> {
        let path = self.data().join(file);
        let before = std::fs::read_to_string(&path)?;
        Ok(std::fs::write(path, format!("{before}\n{lines}"))?)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists()
            && let Err(error) = self.stop("immediate")
        {
            eprintln!("a PostgreSQL of a test's own does not stop: {error}");
        }
    }
}

const NO_PSQL: &str = "starting psql, of the package postgresql-client";

/// A transaction that is open.
pub struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        // With its connection the transaction ends; nobody asks how.
        self.0.kill().ok();
        self.0.wait().ok();
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
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(path).current_dir("/");
    command
}

/// Makes a file the server's: one never runs as root.
fn give(path: &Path) -> Result<()> {
    if is_root() { run(Command::new("chown").arg("postgres:").arg(path)) } else { Ok(()) }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| String::from_utf8_lossy(&id.stdout).trim() == "0")
}

fn run(command: &mut Command) -> Result<()> {
    // What it starts lives on: it must not hold our pipes.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status =
        command.status().with_context(|| format!("starting {command:?}, of the package postgresql"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
