//! How much memory this process uses and may use. Linux tells; elsewhere use counts as 0 and the limit is none.

use std::fs;

/// Resident bytes of this process without mapped files: the pages of a key come and go as the system likes.
pub fn used() -> u64 {
    let resident = || {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        kibibytes(&status, "RssAnon:")
    };
    resident().unwrap_or(0)
}

/// The smaller of the machine's memory and the limit of the process's control group.
pub fn available() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|info| kibibytes(&info, "MemTotal:"));
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    machine.into_iter().chain(group).min().unwrap_or(u64::MAX)
}

/// The value of a line `Name:   123 kB` in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let value: u64 = line.split_whitespace().next()?.parse().ok()?;
    value.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_read_in_bytes() {
        assert_eq!(kibibytes("VmPeak:  9 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert_eq!(kibibytes("VmPeak:  9 kB\n", "VmRSS:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_some_of_what_there_is() {
        assert!(used() > 0);
        assert!(available() > used());
    }
}
