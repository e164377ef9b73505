//! What is counted for metrics. Each worker counts on its own, on lines of the cache that nobody
//! else writes; whoever asks adds them up and takes them away.

use model::balancing::{BalancerCounts, GroupCounts};
use std::sync::atomic::{AtomicU64, Ordering};

/// One worker's own cache lines.
#[repr(align(128))]
struct Cell<const N: usize>([AtomicU64; N]);

impl<const N: usize> Cell<N> {
    fn new() -> Self {
        Self([const { AtomicU64::new(0) }; N])
    }
}

/// Takes the sum of all workers' away, for each count.
fn take<const N: usize>(cells: &[Cell<N>]) -> [u64; N] {
    std::array::from_fn(|at| cells.iter().map(|cell| cell.0[at].swap(0, Ordering::Relaxed)).sum())
}

macro_rules! tally {
    (
        $tally:ident, $count:ident, $counts:ident, $number:literal,
        $($name:ident => $field:ident),+
    ) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $count { $($name),+ }

        pub struct $tally(Box<[Cell<$number>]>);

        impl $tally {
            pub fn new(workers: usize) -> Self {
                Self((0..workers).map(|_| Cell::new()).collect())
            }

            pub fn add(&self, worker: usize, count: $count, number: u64) {
                self.0[worker].0[count as usize].fetch_add(number, Ordering::Relaxed);
            }

            pub fn take(&self) -> $counts {
                let sums = take(&self.0);
                let mut counts = $counts::default();
                $(counts.$field = sums[$count::$name as usize];)+
                counts
            }
        }
    };
}

tally!(GroupTally, GroupCount, GroupCounts, 10,
    Requests => requests,
    Target2xx => target_2xx,
    Target3xx => target_3xx,
    Target4xx => target_4xx,
    Target5xx => target_5xx,
    ConnectionErrors => connection_errors,
    TlsErrors => tls_errors,
    Responses => responses,
    ResponseMicrosSum => response_micros_sum,
    ResponseMicrosMax => response_micros_max);

tally!(BalancerTally, BalancerCount, BalancerCounts, 18,
    Requests => requests,
    Elb3xx => elb_3xx,
    Elb4xx => elb_4xx,
    Elb5xx => elb_5xx,
    Elb500 => elb_500,
    Elb502 => elb_502,
    Elb503 => elb_503,
    Elb504 => elb_504,
    FixedResponses => fixed_responses,
    Redirects => redirects,
    NewConnections => new_connections,
    ActiveConnections => active_connections,
    RejectedConnections => rejected_connections,
    TlsErrors => tls_errors,
    DesyncNonCompliant => desync_non_compliant,
    DroppedInvalidHeaders => dropped_invalid_headers,
    GrpcRequests => grpc_requests,
    ProcessedBytes => processed_bytes);

impl GroupTally {
    /// A target's answer began after so many microseconds.
    pub fn answered(&self, worker: usize, status: u16, micros: u64) {
        let class = match status {
            0..300 => GroupCount::Target2xx,
            300..400 => GroupCount::Target3xx,
            400..500 => GroupCount::Target4xx,
            _ => GroupCount::Target5xx,
        };
        self.add(worker, class, 1);
        self.add(worker, GroupCount::Responses, 1);
        self.add(worker, GroupCount::ResponseMicrosSum, micros);
        let largest = &self.0[worker].0[GroupCount::ResponseMicrosMax as usize];
        largest.fetch_max(micros, Ordering::Relaxed);
    }

    /// What it has counted; the largest time is the largest of all workers'.
    pub fn taken(&self) -> GroupCounts {
        let max = |cell: &Cell<10>| {
            cell.0[GroupCount::ResponseMicrosMax as usize].swap(0, Ordering::Relaxed)
        };
        let largest = self.0.iter().map(max).max().unwrap_or(0);
        GroupCounts { response_micros_max: largest, ..self.take() }
    }
}

impl BalancerTally {
    /// An answer of the balancer's own.
    pub fn answered(&self, worker: usize, status: u16) {
        let exact = match status {
            500 => Some(BalancerCount::Elb500),
            502 => Some(BalancerCount::Elb502),
            503 => Some(BalancerCount::Elb503),
            504 => Some(BalancerCount::Elb504),
            _ => None,
        };
        let class = match status {
            300..400 => Some(BalancerCount::Elb3xx),
            400..500 => Some(BalancerCount::Elb4xx),
            500.. => Some(BalancerCount::Elb5xx),
            _ => None,
        };
        for count in [exact, class].into_iter().flatten() {
            self.add(worker, count, 1);
        }
    }
}
