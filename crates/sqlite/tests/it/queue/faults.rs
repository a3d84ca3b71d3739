//! Faults: a clear error, and nothing that was acknowledged is lost.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use orderwire_queue::engine::{Append, Engine, LaneKey, NewEntry, Op, Origin};
use orderwire_queue::model::Position;
use orderwire_sqlite::{DataDir, ErrorKind, Options, SqliteQueue};

use super::support::{Bench, at, definitions, entry, key, name, number};

fn large(n: u64, bytes: usize, queues: &[(&str, LaneKey)]) -> NewEntry {
    let mut entry = entry(n, "a", queues);
    entry.body = format!("{n:0bytes$}").into_bytes().into();
    entry
}

fn append(entry: NewEntry) -> Op {
    Op::Append(Append { entries: vec![entry], request: None })
}

#[tokio::test]
async fn a_second_opening_names_folder_and_process() {
    let bench = Bench::new().await;
    let error = DataDir::open(bench.root.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    for part in [bench.root.path().to_str().unwrap(), &std::process::id().to_string()] {
        assert!(error.to_string().contains(part), "{error}");
    }
    // The engine keeps the folder, also without the handle that opened it.
    let Bench { queue, dir, root } = bench;
    drop(dir);
    assert_eq!(DataDir::open(root.path()).unwrap_err().kind(), ErrorKind::Locked);
    drop(queue);
    DataDir::open(root.path()).unwrap();
}

fn open(root: &Path) -> Result<SqliteQueue, orderwire_sqlite::Error> {
    SqliteQueue::open(&DataDir::open(root).unwrap(), &Options::for_testing())
}

#[tokio::test]
async fn what_is_no_queue_file_is_called_damaged() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("queue.db");
    std::fs::write(&file, "not a database, but long enough to look like a header might be there".repeat(99))
        .unwrap();
    let before = std::fs::read(&file).unwrap();
    let error = open(root.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    for part in [file.to_str().unwrap(), "put both files back from the same backup"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), before, "nothing was written");
}

#[tokio::test]
async fn a_damaged_header_is_found_at_the_opening() {
    let bench = Bench::new().await;
    let root = bench.root;
    drop((bench.queue, bench.dir));
    overwrite(&root.path().join("queue.db"), 16, &[0xff; 40]);
    assert_eq!(open(root.path()).unwrap_err().kind(), ErrorKind::Damaged);
}

#[tokio::test]
async fn a_database_of_something_else_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let other = rusqlite::Connection::open(root.path().join("queue.db")).unwrap();
    other.execute_batch("CREATE TABLE theirs (x); PRAGMA user_version = 1;").unwrap();
    drop(other);
    let error = open(root.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("not the one that belongs there"), "{error}");
}

#[tokio::test]
async fn a_file_of_a_later_version_is_refused() {
    let bench = Bench::new().await;
    let root = bench.root;
    drop((bench.queue, bench.dir));
    let file = rusqlite::Connection::open(root.path().join("queue.db")).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    let error = open(root.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Later);
    assert!(error.to_string().contains("later version"), "{error}");
}

fn overwrite(file: &Path, offset: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

/// Overwrites every page of the file whose text holds `mark` except for the first page.
fn damage_pages_with(path: &Path, mark: &[u8]) -> usize {
    const PAGE: usize = 4096;
    let mut bytes = Vec::new();
    std::fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    let pages = bytes.chunks(PAGE).enumerate().skip(1);
    let hit: Vec<_> = pages.filter(|(_, page)| page.windows(mark.len()).any(|text| text == mark)).collect();
    for (index, _) in &hit {
        overwrite(path, u64::try_from(index * PAGE).unwrap(), &[0xa5; PAGE]);
    }
    hit.len()
}

#[tokio::test]
async fn a_damaged_page_poisons_the_engine_and_nothing_is_acknowledged() {
    let bench = Bench::new().await;
    for n in 0..400 {
        bench.append(vec![large(n, 700, &[("t1", key("k"))])], at(0)).await;
    }
    let Bench { queue, dir, root } = bench;
    drop(queue);
    // A large file is not checked whole when it is opened.
    let file = root.path().join("queue.db");
    let pages = damage_pages_with(&file, &[b'0'; 300]);
    assert!(pages > 50, "the events' pages");
    let error = SqliteQueue::open(&dir, &Options::for_testing()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    let options = Options { check_bytes_max: 0, ..Options::for_testing() };
    let queue = SqliteQueue::open(&dir, &options).unwrap();

    let claim = super::support::claim("t1", orderwire_types::scope::Clients::All, 5, at(60));
    let error = queue.commit(vec![Op::Claim(claim)], at(1)).await.unwrap_err();
    assert_eq!(error.kind(), orderwire_queue::ErrorKind::Damaged);
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    let pause = Op::Pause { queue: name("t2"), paused: true };
    let error = queue.commit(vec![pause], at(1)).await.unwrap_err();
    assert_eq!(error.kind(), orderwire_queue::ErrorKind::Damaged, "harmless as it was");
    assert!(!queue.state(&name("t2")).await.unwrap().paused, "nothing is written any more");
    let held: i64 = rusqlite::Connection::open(&file)
        .unwrap()
        .query_row("SELECT sum(in_flight) FROM queue", [], |row| row.get(0))
        .unwrap();
    assert_eq!(held, 0, "what was not handed out is not under a lease");
    assert!(queue.declare(&[], Origin::Call).await.is_err());
}

/// Appends until the disk is full; what was acknowledged.
async fn fill(bench: &Bench) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    for n in 0..100_000 {
        let entry = large(n, 2_000, &[("s1", LaneKey::Stream)]);
        match bench.queue.commit(vec![append(entry)], at(1)).await {
            Ok(_) => acknowledged.push(n),
            Err(error) => {
                assert_eq!(error.kind(), orderwire_queue::ErrorKind::Unavailable, "{error}");
                return acknowledged;
            }
        }
    }
    panic!("the limit was never reached");
}

async fn waiting(bench: &Bench) -> Vec<u64> {
    let entries = bench.queue.read(&name("s1"), Position(0), usize::MAX, usize::MAX).await.unwrap();
    entries.iter().map(|entry| number(&entry.body)).collect()
}

#[tokio::test]
async fn a_full_file_loses_nothing_and_goes_on_when_space_is_free() {
    let options = Options { page_count_max: Some(300), ..Options::for_testing() };
    let bench = Bench::with(&options).await;
    let acknowledged = fill(&bench).await;
    assert!(acknowledged.len() > 50);
    assert_eq!(waiting(&bench).await, acknowledged);
    assert_eq!(
        bench.counts("s1").await.0,
        u64::try_from(acknowledged.len()).unwrap(),
        "counters as committed"
    );
    // Settling what waits frees space, and needs none.
    let entries = bench.queue.read(&name("s1"), Position(0), usize::MAX, usize::MAX).await.unwrap();
    bench
        .one(Op::Advance { queue: name("s1"), to: entries[entries.len() - 1].position }, at(3))
        .await
        .unwrap();
    let entry = large(7, 2_000, &[("s1", LaneKey::Stream)]);
    assert_eq!(bench.append(vec![entry], at(4)).await, [true]);
    let bench = bench.reopen();
    assert_eq!(waiting(&bench).await, [7]);
}

/// A real full disk, where the log is what cannot grow. Needs the right to mount.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_loses_nothing_and_goes_on_when_space_is_free() {
    let root = tempfile::tempdir().unwrap();
    let mount = root.path().to_str().unwrap();
    let Some(_mounted) = Mounted::at(mount) else {
        // A skip is loud, and a failure in CI.
        assert!(std::env::var_os("CI").is_none(), "CI needs the right to mount, as root or over sudo");
        eprintln!(
            "skipped: mounting a small file system needs rights; the test above limits the file instead"
        );
        return;
    };
    let ballast = root.path().join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let dir = DataDir::open(root.path().join("data")).unwrap();
    let queue = SqliteQueue::open(&dir, &Options::for_testing()).unwrap();
    queue.declare(&definitions(), Origin::Call).await.unwrap();
    let bench = Bench { queue, dir, root };
    let acknowledged = fill(&bench).await;
    assert_eq!(waiting(&bench).await, acknowledged);
    std::fs::remove_file(&ballast).unwrap();
    let entry = large(555, 2_000, &[("s1", LaneKey::Stream)]);
    assert_eq!(bench.append(vec![entry], at(2)).await, [true]);
    let bench = bench.reopen();
    assert_eq!(waiting(&bench).await.len(), acknowledged.len() + 1);
}

/// A small file system at a place, made by a command that has the right.
#[cfg(target_os = "linux")]
struct Mounted {
    place: String,
    rights: &'static [&'static str],
}

#[cfg(target_os = "linux")]
impl Mounted {
    fn at(place: &str) -> Option<Self> {
        let mount = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=777", "tmpfs", place];
        let ways: [&[&str]; 2] = [&[], &["sudo", "-n"]];
        let rights = ways.into_iter().find(|rights| succeeds(rights, &mount))?;
        Some(Self { place: place.to_owned(), rights })
    }
}

#[cfg(target_os = "linux")]
impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily, for the files are still open; the folder goes with the test.
        assert!(succeeds(self.rights, &["umount", "-l", &self.place]), "unmounting {}", self.place);
    }
}

#[cfg(target_os = "linux")]
fn succeeds(rights: &[&str], command: &[&str]) -> bool {
    let mut words = rights.iter().chain(command);
    let mut program = std::process::Command::new(words.next().expect("a command has a name"));
    program.args(words).output().is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn space_of_settled_deliveries_is_used_again() {
    let bench = Bench::new().await;
    let mut sizes = Vec::new();
    for round in 0..10u64 {
        for part in 0..4 {
            let entries = (0..50).map(|n| {
                large(round * 200 + part * 50 + n, 512, &[("t1", LaneKey::Alone), ("s1", LaneKey::Stream)])
            });
            bench.append(entries.collect(), at(0)).await;
        }
        while let held = bench.claim("t1", 100, at(0), 60).await
            && !held.is_empty()
        {
            for delivery in held {
                bench.ack("t1", delivery.id, at(0)).await;
            }
        }
        let entries = bench.queue.read(&name("s1"), Position(0), usize::MAX, usize::MAX).await.unwrap();
        let to = entries[entries.len() - 1].position;
        bench.one(Op::Advance { queue: name("s1"), to }, at(0)).await.unwrap();
        let sweep = orderwire_queue::engine::Sweep {
            remembered_before: at(1),
            steps_before: at(1),
            dead_before: at(1),
            limit: 10_000,
        };
        bench.count(Op::Sweep(sweep), at(1)).await;
        let pages: i64 = rusqlite::Connection::open(bench.file())
            .unwrap()
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap();
        sizes.push(pages);
    }
    assert!(sizes[9] <= sizes[1], "{sizes:?}");
}

#[tokio::test]
async fn an_engine_that_is_dropped_finishes_what_it_was_sent() {
    let bench = Bench::new().await;
    // Polled once, so that the commit is on its way, and never again.
    for n in 0..10 {
        let entry = entry(n, "a", &[("s1", LaneKey::Stream)]);
        let commit = bench.queue.commit(vec![append(entry)], at(0));
        tokio::select! {
            biased;
            done = commit => drop(done.unwrap()),
            () = std::future::ready(()) => {}
        }
    }
    let bench = bench.reopen();
    assert_eq!(waiting(&bench).await, (0..10).collect::<Vec<_>>());
}
