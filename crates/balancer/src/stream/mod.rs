//! TCP listeners (network load balancers): a connection goes to a target and is carried both ways,
//! byte for byte. Which target is a pure function of the flow, as it is with NLB: the same flow
//! goes to the same target for as long as that is there, and a target that comes or goes moves only
//! the flows that are its own.

use crate::limits::STREAM_BUFFER_BYTES;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// What NLB tells connections apart by, for TCP.
/// Source: ELB user guide, network load balancer overview, flow hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    pub client: SocketAddrV4,
    pub listener: SocketAddrV4,
}

/// The target of a flow, by the highest random weight.
pub fn by_flow<T: Hash>(flow: &Flow, targets: impl Iterator<Item = T>) -> Option<T> {
    let weight = |target: &T| {
        let mut hasher = DefaultHasher::new();
        flow.hash(&mut hasher);
        target.hash(&mut hasher);
        hasher.finish()
    };
    targets.max_by_key(weight)
}

/// What was carried, in bytes, and why no more was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carried {
    pub to_target: u64,
    pub to_client: u64,
    pub end: End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Both sides said all they had to say.
    Closed,
    /// One side's connection broke.
    Broken,
    /// Nothing was said for too long.
    Idle,
    /// We were told to.
    Told,
}

/// Carries both ways until both sides have closed their half, one breaks, nothing happens for
/// `idle`, or `told` comes. Each side's end is passed on by itself: the other may still speak.
pub async fn carry<C, T>(client: C, target: T, idle: Duration, told: impl Future) -> Carried
where
    C: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (client_read, client_write) = tokio::io::split(client);
    let (target_read, target_write) = tokio::io::split(target);
    let (to_target, to_client) = (AtomicU64::new(0), AtomicU64::new(0));
    let pulse = Pulse::new();
    let both = async {
        tokio::try_join!(
            carry_one_way(client_read, target_write, &to_target, &pulse),
            carry_one_way(target_read, client_write, &to_client, &pulse),
        )
    };
    let end = tokio::select! {
        ended = both => if ended.is_ok() { End::Closed } else { End::Broken },
        () = pulse.stopped(idle) => End::Idle,
        _ = told => End::Told,
    };
    let count = |carried: &AtomicU64| carried.load(Ordering::Relaxed);
    Carried { to_target: count(&to_target), to_client: count(&to_client), end }
}

/// When something happened last. Atomic only so that the future may move between threads.
struct Pulse {
    began: Instant,
    last_ms: AtomicU64,
}

impl Pulse {
    fn new() -> Pulse {
        Pulse { began: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    fn beat(&self) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(passed, Ordering::Relaxed);
    }

    /// Ends once nothing has happened for `idle`. The timer isn't touched by what happens; it looks
    /// when it goes off.
    async fn stopped(&self, idle: Duration) {
        loop {
            let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let until = self.began + last + idle;
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

async fn carry_one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    carried: &AtomicU64,
    pulse: &Pulse,
) -> io::Result<()> {
    let mut buffer = vec![0; STREAM_BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        pulse.beat();
        if count == 0 {
            return to.shutdown().await;
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let written = to.write(rest).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            pulse.beat();
            carried.fetch_add(written as u64, Ordering::Relaxed);
            rest = &rest[written..];
        }
        to.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;
    use tokio::io::duplex;

    const LONG: Duration = Duration::from_secs(600);

    fn flow(port: u16) -> Flow {
        let address = |last, port| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), port);
        Flow { client: address(1, port), listener: address(2, 80) }
    }

    #[test]
    fn flows_are_spread_and_only_those_of_a_lost_target_move() {
        let all = ["a", "b", "c", "d"];
        let flows = 40_000..44_000;
        let chosen = |targets: &[&'static str]| -> BTreeMap<u16, &'static str> {
            let of = |port| by_flow(&flow(port), targets.iter().copied()).expect("there is one");
            flows.clone().map(|port| (port, of(port))).collect()
        };
        let (before, after) = (chosen(&all), chosen(&all[..3]));
        for target in all {
            let share = before.values().filter(|it| **it == target).count();
            assert!((800..1200).contains(&share), "{target} has {share} of 4000");
        }
        for (port, target) in &before {
            assert!(*target == "d" || after[port] == *target, "{port} moved from {target}");
        }
        assert_eq!(by_flow(&flow(1), std::iter::empty::<u8>()), None);
    }

    #[tokio::test]
    async fn a_half_that_closed_leaves_the_other_open() {
        let (mut client, outer) = duplex(64);
        let (inner, mut target) = duplex(64);
        let carrying = tokio::spawn(carry_until(outer, inner, LONG));
        client.write_all(b"question").await.expect("open");
        client.shutdown().await.expect("open");
        let mut heard = String::new();
        target.read_to_string(&mut heard).await.expect("the half's end came through");
        assert_eq!(heard, "question");
        target.write_all(b"a long answer").await.expect("open");
        drop(target);
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.expect("open");
        assert_eq!(heard, "a long answer");
        let carried = carrying.await.expect("no panic");
        assert_eq!(carried, Carried { to_target: 8, to_client: 13, end: End::Closed });
    }

    async fn carry_until(
        client: tokio::io::DuplexStream,
        target: tokio::io::DuplexStream,
        idle: Duration,
    ) -> Carried {
        carry(client, target, idle, std::future::pending::<()>()).await
    }

    #[tokio::test]
    async fn only_silence_on_both_sides_is_idle() {
        let idle = Duration::from_secs(2);
        let (mut client, outer) = duplex(64);
        let (inner, mut target) = duplex(64);
        let began = Instant::now();
        let carrying = tokio::spawn(carry_until(outer, inner, idle));
        // Only one side speaks, for longer than the limit.
        while began.elapsed() < idle + idle / 2 {
            target.write_all(b"x").await.expect("still open");
            assert_eq!(client.read_u8().await.expect("still open"), b'x');
        }
        let carried = carrying.await.expect("no panic");
        assert_eq!(carried.end, End::Idle);
        assert!(began.elapsed() >= idle * 2, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn it_ends_when_it_is_told_to() {
        let (_client, outer) = duplex(64);
        let (inner, _target) = duplex(64);
        let carried = carry(outer, inner, LONG, std::future::ready(())).await;
        assert_eq!(carried.end, End::Told);
    }
}
