//! The process' memory, and how much more it can have.

use procfs::Current;
use procfs::process::Process;
use std::path::Path;

/// The process' memory, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What it holds: its resident set.
    pub resident: u64,
    /// What it can still have: the least of what the machine has available and what the process' control groups leave.
    /// Groups count cached files as used, so there it may be more.
    pub available: u64,
}

impl Memory {
    /// Looks. Nothing where /proc is not there.
    pub fn read() -> Option<Self> {
        let pages = Process::myself().ok()?.stat().ok()?.rss;
        let resident = pages.saturating_mul(procfs::page_size());
        // In bytes, although the file has kilobytes.
        let machine = procfs::Meminfo::current().ok()?.mem_available?;
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let left = left_in_groups(&groups, Path::new("/sys/fs/cgroup"));
        Some(Self { resident, available: left.map_or(machine, |left| left.min(machine)) })
    }

    /// How full it is: what it holds of what it can have, 0 to 1.
    pub fn share(self) -> f64 {
        let all = self.resident.saturating_add(self.available);
        if all == 0 { 0.0 } else { self.resident as f64 / all as f64 }
    }
}

/// What the tightest of the control groups leaves, from a process' `cgroup` file and the folder of the groups: version 2,
/// or version 1's memory controller. Nothing where none has a limit.
fn left_in_groups(groups: &str, root: &Path) -> Option<u64> {
    let mut least: Option<u64> = None;
    for line in groups.lines() {
        // `NUMBER:CONTROLLERS:PATH`, and no controllers in version 2.
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, limit, used) = if controllers.is_empty() {
            (root.to_owned(), "memory.max", "memory.current")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (root.join("memory"), "memory.limit_in_bytes", "memory.usage_in_bytes")
        } else {
            continue;
        };
        // Every group above has a say too. In a container the path may be one of the machine's and not there; what is
        // there, up to the root, is the container's own.
        let own = root.join(path.trim_start_matches('/'));
        for folder in own.ancestors().take_while(|folder| folder.starts_with(&root)) {
            // `max`, or nothing: no limit.
            let number =
                |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
            if let (Some(limit), Some(used)) = (number(limit), number(used)) {
                let left = limit.saturating_sub(used);
                least = Some(least.map_or(left, |least| least.min(left)));
            }
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(root: &Path, path: &str, files: [(&str, &str); 2]) {
        let folder = root.join(path);
        std::fs::create_dir_all(&folder).expect("makes");
        for (name, text) in files {
            std::fs::write(folder.join(name), text).expect("writes");
        }
    }

    #[test]
    fn the_tightest_group_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        group(root, "a", [("memory.max", "1000\n"), ("memory.current", "900\n")]);
        group(root, "a/b", [("memory.max", "max\n"), ("memory.current", "300\n")]);
        group(root, "a/c", [("memory.max", "400\n"), ("memory.current", "350\n")]);
        assert_eq!(left_in_groups("0::/a/b\n", root), Some(100));
        assert_eq!(left_in_groups("0::/a/c\n", root), Some(50));
        assert_eq!(left_in_groups("0::/\n", root), None);
        assert_eq!(left_in_groups("nonsense", root), None);
        let old = [("memory.limit_in_bytes", "70"), ("memory.usage_in_bytes", "80")];
        group(root, "memory/x", old);
        assert_eq!(left_in_groups("4:cpu:/x\n3:hugetlb,memory:/x\n", root), Some(0));
    }

    #[test]
    fn this_process_has_some() {
        let memory = Memory::read().expect("there is /proc");
        assert!(memory.resident > 100_000 && memory.available > 100_000, "{memory:?}");
        assert!(memory.share() > 0.0 && memory.share() < 1.0);
    }
}
