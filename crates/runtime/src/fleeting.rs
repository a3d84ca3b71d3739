//! File systems whose files do not outlive the machine, or the container.

use std::path::Path;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// What it is called, and what that means.
    pub(crate) name: &'static str,
    /// Whether files end with the machine; else with the container, which may be started again.
    pub(crate) is_memory: bool,
}

/// Their numbers (`statfs(2)`).
#[cfg(target_os = "linux")]
const KINDS: [(u32, Kind); 3] = [
    (0x0102_1994, Kind { name: "tmpfs, which is memory", is_memory: true }),
    (0x8584_58f6, Kind { name: "ramfs, which is memory", is_memory: true }),
    (0x794c_7630, Kind { name: "overlay, which goes with its container", is_memory: false }),
];

/// Which of them a folder is on, or would be once it is made; none where it is on another one, or
/// that cannot be told.
pub(crate) fn kind(folder: &Path) -> Option<Kind> {
    let there = folder.ancestors().find(|part| part.exists()).unwrap_or(Path::new("."));
    number(there).and_then(named)
}

#[cfg(target_os = "linux")]
fn number(folder: &Path) -> Option<u32> {
    // A number of 32 bits in a word whose width and sign are the machine's.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the lower 32 bits are meant"
    )]
    rustix::fs::statfs(folder).ok().map(|about| about.f_type as u32)
}

#[cfg(not(target_os = "linux"))]
fn number(_folder: &Path) -> Option<u32> {
    None
}

#[cfg(target_os = "linux")]
fn named(number: u32) -> Option<Kind> {
    KINDS.into_iter().find(|(known, _)| *known == number).map(|(_, kind)| kind)
}

#[cfg(not(target_os = "linux"))]
fn named(_number: u32) -> Option<Kind> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_from_a_disk_also_before_a_folder_is_made() {
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        for folder in [memory.path().to_owned(), memory.path().join("not/made/yet")] {
            assert!(
                kind(&folder).is_some_and(|kind| kind.is_memory && kind.name.starts_with("tmpfs")),
                "{folder:?}"
            );
        }
        // Which every Linux has, and which is neither.
        assert_eq!(kind(Path::new("/proc")), None);
        assert!(named(0x794c_7630).is_some_and(|kind| !kind.is_memory && kind.name.starts_with("overlay")));
        assert_eq!(named(0xef53), None, "ext4");
    }
}
