//! What went over the task's interface: the supervisor lives in the task's network namespace, and
//! the kernel counts there.

use crate::event::NetworkUsage;
use std::fs;

const NAME: &str = "eth0";
/// Columns before those of what is sent.
const RECEIVED_COLUMNS: usize = 8;

pub fn usage() -> NetworkUsage {
    counted(&fs::read_to_string("/proc/self/net/dev").unwrap_or_default()).unwrap_or_default()
}

fn counted(devices: &str) -> Option<NetworkUsage> {
    let named = |line: &str| {
        let (name, columns) = line.split_once(':')?;
        (name.trim() == NAME).then(|| columns.to_owned())
    };
    let line = devices.lines().find_map(named)?;
    let columns: Vec<u64> = line.split_whitespace().filter_map(|c| c.parse().ok()).collect();
    let (received, sent) = columns.split_at_checked(RECEIVED_COLUMNS)?;
    let (
        &[received_bytes, received_packets, received_errors, received_dropped, ..],
        &[sent_bytes, sent_packets, sent_errors, sent_dropped, ..],
    ) = (received, sent)
    else {
        return None;
    };
    Some(NetworkUsage {
        received_bytes,
        received_packets,
        received_errors,
        received_dropped,
        sent_bytes,
        sent_packets,
        sent_errors,
        sent_dropped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_columns_are_read() {
        let text = "Inter-|   Receive                |  Transmit\n face |bytes    packets errs\n\
                    \x20   lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n\
                    \x20 eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n";
        let usage = counted(text).expect("eth0 is there");
        assert_eq!((usage.received_bytes, usage.received_dropped), (1, 4));
        assert_eq!((usage.sent_bytes, usage.sent_packets, usage.sent_dropped), (5, 6, 8));
        assert_eq!(counted("lo: 1 2"), None);
        assert_eq!(counted("eth0: 1 2 3"), None);
    }
}
