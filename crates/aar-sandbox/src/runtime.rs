//! Which files of the machine a program needs in order to start at all.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::spec::{Mount, Runtime};

/// Libraries that belong to the C library and may be wanted by a sibling of our executable even
/// if we ourselves have not loaded them.
const COMPANIONS: [&str; 5] = [
    "libm.so.6",
    "libgcc_s.so.1",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
];

/// The system's directories of programs and libraries.
const SYSTEM: [&str; 9] = [
    "/usr/bin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
];

/// Mounts and links (path, target).
pub(crate) type Parts = (Vec<Mount>, Vec<(String, String)>);

/// What to mount and link for a runtime. Looked up once per process.
pub(crate) fn parts(runtime: Runtime) -> Parts {
    static LAB: OnceLock<Parts> = OnceLock::new();
    static SYSTEM: OnceLock<Parts> = OnceLock::new();
    match runtime {
        Runtime::LabOnly => LAB.get_or_init(|| (loaded(), Vec::new())).clone(),
        Runtime::System | Runtime::Agent => SYSTEM.get_or_init(|| system(Path::new("/"))).clone(),
    }
}

/// The shared objects of this very process, at the same paths, and the loader where programs look
/// for it. A static executable needs none of them.
fn loaded() -> Vec<Mount> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut inside: BTreeSet<PathBuf> = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .filter(|path| path.starts_with('/') && is_library(path))
        .map(PathBuf::from)
        .collect();
    let libc = inside
        .iter()
        .find(|path| path.file_name().is_some_and(|n| n == "libc.so.6"));
    if let Some(home) = libc.and_then(|path| path.parent()) {
        let companions = COMPANIONS.map(|name| home.join(name));
        inside.extend(companions.into_iter().filter(|path| path.is_file()));
    }
    inside.extend(interpreter(Path::new("/proc/self/exe")));
    let resolve = |inside: PathBuf| Some(Mount::new(fs::canonicalize(&inside).ok()?, inside));
    inside.into_iter().filter_map(resolve).collect()
}

fn is_library(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.ends_with(".so") || name.contains(".so.")
}

/// The loader that a 64-bit ELF program names (its `PT_INTERP`).
fn interpreter(program: &Path) -> Option<PathBuf> {
    let mut file = fs::File::open(program).ok()?;
    let mut read = |at: u64, length: usize| {
        let mut bytes = vec![0; length];
        file.seek(SeekFrom::Start(at)).ok()?;
        file.read_exact(&mut bytes).ok()?;
        Some(bytes)
    };
    let number = |bytes: &[u8]| {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(wide)
    };
    let header = read(0, 64)?;
    if &header[..5] != b"\x7fELF\x02" {
        return None;
    }
    let (table, size, count) = (
        number(&header[32..40]),
        number(&header[54..56]),
        number(&header[56..58]),
    );
    for i in 0..count {
        let entry = read(table + i * size, 40)?;
        if number(&entry[..4]) == 3 {
            let length = usize::try_from(number(&entry[32..40]))
                .ok()
                .filter(|n| *n < 4096)?;
            let path = read(number(&entry[8..16]), length)?;
            let path = String::from_utf8(path).ok()?;
            return Some(PathBuf::from(path.trim_end_matches('\0')));
        }
    }
    None
}

/// Directories are mounted; where a distribution has a link (`/lib` → `usr/lib`), so do we.
/// `machine` is `/`, but for tests.
fn system(machine: &Path) -> Parts {
    let host = |path: &str| machine.join(path.trim_start_matches('/'));
    let (mut mounts, mut links) = (Vec::new(), Vec::new());
    for path in SYSTEM {
        match fs::read_link(host(path)) {
            Ok(target) => links.push((path.into(), target.to_string_lossy().into_owned())),
            Err(_) if host(path).is_dir() => mounts.push(Mount::new(host(path), path)),
            Err(_) => {}
        }
    }
    let cache = "/etc/ld.so.cache";
    if host(cache).is_file() {
        mounts.push(Mount::new(host(cache), cache));
    }
    (mounts, links)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn bin_is_a_link_or_a_directory_as_on_the_machine() {
        let machine = tempfile::tempdir().expect("directory");
        let (root, bin) = (machine.path(), machine.path().join("bin"));
        fs::create_dir_all(root.join("usr/bin")).expect("usr/bin");
        let usr = Mount::new(root.join("usr/bin"), "/usr/bin");
        symlink("usr/bin", &bin).expect("link");
        let link = ("/bin".to_owned(), "usr/bin".to_owned());
        assert_eq!(system(root), (vec![usr.clone()], vec![link]));
        fs::remove_file(&bin).expect("remove");
        fs::create_dir(&bin).expect("bin");
        assert_eq!(system(root), (vec![usr, Mount::new(bin, "/bin")], vec![]));
    }

    #[test]
    fn a_dynamic_test_finds_its_own_libraries() {
        let interpreter = interpreter(Path::new("/proc/self/exe"));
        let (mounts, _) = parts(Runtime::LabOnly);
        assert_eq!(interpreter.is_none(), mounts.is_empty());
        assert!(
            mounts
                .iter()
                .all(|m| m.host.is_file() && m.inside.is_absolute())
        );
        assert!(mounts.len() < 16, "{mounts:?}");
    }
}
