//! A real PostgreSQL of a test's own: a private cluster on a socket and on one TCP port, gone when it is dropped.
#![allow(dead_code, reason = "no test needs all of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on says so"
)]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// For anything that the server is to do, far above what it takes.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks where there is no event to wait for.
const LOOK: Duration = Duration::from_millis(20);

/// Peer authentication on the socket, a password over TCP.
const PEERS: &str =
    "local all,replication all peer map=anybody\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// A cluster. Its superuser is `viva`, who needs no password on the socket and the password `secret` over TCP.
pub struct Postgres {
    directory: tempfile::TempDir,
    binaries: PathBuf,
    user: Option<&'static str>,
    port: u16,
}

impl Postgres {
    /// Makes and starts one, with settings as `name=value`.
    pub fn start(settings: &[&str]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("viva-pg-")
            .tempdir_in("/tmp")
            .expect("a short path, for a socket");
        let is_root = std::fs::metadata("/proc/self").expect("/proc").uid() == 0;
        let postgres = Self {
            binaries: binaries(),
            user: is_root.then_some("nobody"),
            port: 0,
            directory,
        };
        postgres.give(postgres.directory.path());
        let password = postgres.directory.path().join("password");
        std::fs::write(&password, "secret\n").expect("a password file");
        postgres.give(&password);
        let data = postgres.data();
        postgres.must(
            "initdb",
            &[
                "--username=viva",
                "--auth-local=peer",
                "--auth-host=scram-sha-256",
                &format!("--pwfile={}", password.display()),
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
                &format!("--pgdata={}", data.display()),
            ],
        );
        let socket = postgres.directory.path().display().to_string();
        let mut configuration = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{socket}'\nfsync = off\nmax_connections = 40\n\
             shared_buffers = 16MB\nlog_min_messages = warning\n"
        );
        for setting in settings {
            configuration += &format!("{}\n", setting.replacen('=', " = ", 1));
        }
        let write = |name: &str, text: &str| {
            std::fs::write(data.join(name), text).expect("a configuration");
        };
        write("postgresql.auto.conf", &configuration);
        // Whoever this system's user is, the server asks the kernel who it is and lets it be these.
        write("pg_hba.conf", PEERS);
        write(
            "pg_ident.conf",
            "anybody /^.*$ viva\nanybody /^.*$ clerk\nanybody /^.*$ platform\n",
        );
        postgres.with_a_port()
    }

    /// A standby that follows this one; it may be behind.
    pub fn standby(&self) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("viva-pg-")
            .tempdir_in("/tmp")
            .expect("a short path, for a socket");
        let mut standby = Self {
            binaries: self.binaries.clone(),
            user: self.user,
            port: 0,
            directory,
        };
        standby.give(standby.directory.path());
        let data = format!("--pgdata={}", standby.data().display());
        let host = self.directory.path().display().to_string();
        let port = self.port.to_string();
        let from = ["--host", &host, "--port", &port, "--username=viva"];
        let how = [
            data.as_str(),
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        ];
        standby.must("pg_basebackup", &[&from[..], &how[..]].concat());
        let socket = format!(
            "unix_socket_directories = '{}'\n",
            standby.directory.path().display()
        );
        let file = standby.data().join("postgresql.auto.conf");
        let before = std::fs::read_to_string(&file).expect("the settings of the primary");
        std::fs::write(&file, before + &socket).expect("a configuration");
        for _ in 0..20 {
            standby.port = fastrand::u16(20_000..32_000);
            if standby.try_up() {
                return standby;
            }
        }
        panic!("no port is free: {}", standby.log());
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        let data = format!("--pgdata={}", self.data().display());
        self.must("pg_ctl", &[&data, "--wait", "promote"]);
    }

    /// Its port is not held for it, so another process may take it first: then the next is tried.
    fn with_a_port(mut self) -> Self {
        for _ in 0..20 {
            self.port = fastrand::u16(20_000..32_000);
            if self.try_up() {
                self.psql("CREATE DATABASE viva");
                return self;
            }
        }
        panic!("no port is free: {}", self.log());
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Gives a file or a directory to whoever the server runs as.
    pub fn give(&self, path: &Path) {
        if let Some(user) = self.user {
            let status = Command::new("chown").arg(user).arg(path).status();
            assert!(status.expect("chown").success());
        }
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).expect("permissions");
    }

    fn command(&self, program: &str) -> Command {
        let mut program = self.binaries.join(program);
        if !program.is_file() {
            program = program.file_name().expect("a name").into();
        }
        let mut command = match self.user {
            None => Command::new(&program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={user}")).arg("--clear-groups");
                command.arg("--").arg(&program);
                command
            }
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.current_dir("/");
        command
    }

    fn must(&self, program: &str, arguments: &[&str]) {
        let output = self
            .command(program)
            .args(arguments)
            .stderr(Stdio::piped())
            .output();
        let output = output.expect("PostgreSQL's programs run");
        assert!(
            output.status.success(),
            "{program}: {}\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
    }

    fn try_up(&self) -> bool {
        let data = format!("--pgdata={}", self.data().display());
        let log = format!("--log={}", self.directory.path().join("log").display());
        let port = format!("--options=-p {}", self.port);
        let status = self
            .command("pg_ctl")
            .args([&data, &log, &port, "--wait", "--silent", "start"])
            .status();
        status.expect("pg_ctl runs").success()
    }

    /// Starts it again after [`stop`](Self::stop).
    pub fn up(&self) {
        assert!(self.try_up(), "it does not start again: {}", self.log());
    }

    /// Stops it as a machine that dies would: connections break, nothing is said.
    pub fn stop(&self) {
        let data = format!("--pgdata={}", self.data().display());
        self.must("pg_ctl", &[&data, "--mode=immediate", "--wait", "stop"]);
    }

    /// Takes TLS from now on.
    pub fn encrypt(&self, certificate: &Path, key: &Path) {
        let data = self.data();
        for (from, name, mode) in [
            (certificate, "server.crt", 0o644),
            (key, "server.key", 0o600),
        ] {
            let to = data.join(name);
            std::fs::copy(from, &to).expect("a copy");
            self.give(&to);
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(mode))
                .expect("permissions");
        }
        self.psql("ALTER SYSTEM SET ssl = on");
        self.stop();
        self.up();
    }

    /// Makes every process of the server stand still, or go on.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { "STOP" } else { "CONT" };
        let postmaster = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let postmaster = postmaster.lines().next().unwrap().to_owned();
        let children =
            std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
        for pid in children
            .unwrap()
            .split_whitespace()
            .chain([postmaster.as_str()])
        {
            // A child may have ended by itself.
            let _ = Command::new("kill")
                .args(["-s", signal, pid])
                .stderr(Stdio::null())
                .status();
        }
    }

    /// The server's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of the database `viva` on the socket.
    pub fn url(&self) -> String {
        self.url_of("viva")
    }

    /// The address of a database on the socket.
    pub fn url_of(&self, database: &str) -> String {
        format!(
            "postgresql://viva@localhost:{}/{database}?host={}",
            self.port,
            self.directory.path().display()
        )
    }

    /// The same over TCP, where a password is asked for, through a port that may be another's.
    pub fn tcp_url(&self, port: u16) -> String {
        format!("postgresql://viva@127.0.0.1:{port}/viva?sslmode=disable")
    }

    /// Runs statements in the database `postgres`.
    pub fn psql(&self, sql: &str) {
        self.psql_in("postgres", sql);
    }

    /// Runs statements in a database.
    pub fn psql_in(&self, database: &str, sql: &str) {
        let url = self.url_of(database);
        self.must(
            "psql",
            &[
                "--no-psqlrc",
                "--set=ON_ERROR_STOP=1",
                "--dbname",
                &url,
                "--command",
                sql,
            ],
        );
    }

    /// A connection with Viva's schema.
    pub async fn connect(&self) -> PgConnection {
        let options: sqlx::postgres::PgConnectOptions = self.url().parse().unwrap();
        let options = options.options([("search_path", "viva")]);
        PgConnection::connect_with(&options)
            .await
            .expect("a connection")
    }

    /// One number.
    pub async fn count(&self, sql: &str) -> i64 {
        let mut connection = self.connect().await;
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut connection)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        connection.close().await.unwrap();
        count
    }

    /// Waits until a query yields this number.
    pub async fn wait_for(&self, sql: &str, expected: i64) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let mut connection = self.connect().await;
            // The table may not be there yet.
            let found: Result<i64, _> = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
                .fetch_one(&mut connection)
                .await;
            connection.close().await.unwrap();
            if matches!(found, Ok(found) if found == expected) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{sql} is {found:?} and not {expected} within {LIMIT:?}\n{}",
                self.log()
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.data().join("postmaster.pid"));
        if pid.is_ok() {
            self.freeze(false);
            let data = format!("--pgdata={}", self.data().display());
            let _ = self
                .command("pg_ctl")
                .args([&data, "--mode=immediate", "--wait", "stop"])
                .status();
        }
    }
}

/// A disk of one megabyte that any user may write to; gone when it is dropped.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts it; only root may.
    pub fn mount() -> Option<Self> {
        let directory = tempfile::Builder::new()
            .prefix("viva-disk-")
            .tempdir_in("/tmp")
            .expect("a mount point");
        let disk = Self(directory);
        disk.run(
            "mount",
            &["-t", "tmpfs", "-o", "size=1m,mode=0777", "viva-test"],
        )
        .then_some(disk)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// There is room from now on.
    pub fn enlarge(&self) {
        let done = self.run("mount", &["-o", "remount,size=256m"]);
        assert!(done, "the disk is made larger");
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let status = Command::new(program)
            .args(arguments)
            .arg(self.0.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Where it was not mounted there is nothing to take away.
        self.run("umount", &["--lazy"]);
    }
}

/// Where the server's programs are: on the path, or where Debian puts them.
fn binaries() -> PathBuf {
    let on_path = std::env::var_os("PATH").and_then(|path| {
        // A link leads to where the others are.
        std::env::split_paths(&path)
            .filter_map(|directory| directory.join("postgres").canonicalize().ok())
            .find_map(|program| Some(program.parent()?.to_owned()))
    });
    on_path.unwrap_or_else(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten();
        let mut found: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
        found.retain(|directory| directory.join("initdb").is_file());
        found.sort();
        found
            .pop()
            .expect("PostgreSQL is missing; `make setup-test` installs it")
    })
}
