//! Connections of network load balancers: how long they may be silent, and when their target's fate
//! is theirs.

use crate::world::*;
use model::balancing::{BalancerTable, GroupEntry, Protocol, TargetState};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// Says again what it is told.
async fn echo() -> SocketAddrV4 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let SocketAddr::V4(at) = socket.local_addr().expect("it is bound") else { unreachable!() };
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = socket.accept().await.expect("a connection");
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                // Whoever breaks it off, it is over.
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    at
}

fn streaming(port: u16, mut group: GroupEntry) -> BalancerTable {
    group.protocol = Protocol::Tcp;
    let mut table = table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", group)]);
    for listener in entry(&mut table).listeners.values_mut() {
        listener.protocol = Protocol::Tcp;
    }
    table
}

async fn is_carried(client: &mut Client) -> bool {
    client.stream.write_all(b"word").await.is_ok()
        && soon(client.exactly(4)).await.as_deref() == Some("word")
}

#[tokio::test]
async fn silence_lasts_as_long_as_the_listener_lets_it() {
    let at = echo().await;
    let port = free_port();
    let balancer = balancer();
    let mut table = streaming(port, group(&[at]));
    for listener in entry(&mut table).listeners.values_mut() {
        listener.settings.idle_timeout_seconds = Some(1);
    }
    learn(&balancer, table);
    let mut client = Client::new(port).await;
    // On a slow machine one may be closed before it has said anything.
    while !is_carried(&mut client).await {
        client = Client::new(port).await;
    }
    // By default it would take 350 s.
    assert!(soon(client.is_closed()).await);
}

#[tokio::test]
async fn a_connection_ends_with_its_targets_health_where_the_group_says_so() {
    for cuts in [true, false] {
        let well = Arc::new(AtomicBool::new(true));
        let told = well.clone();
        let checked = target(move |_| match told.load(Ordering::SeqCst) {
            true => ok("well"),
            false => "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
        });
        let (at, checked) = (echo().await, checked.await);
        let port = free_port();
        let balancer = balancer();
        let mut group = group(&[at]);
        group.health_check.enabled = true;
        group.health_check.port = Some(checked.at.port());
        group.health_check.interval_seconds = 1;
        group.settings.cut_unhealthy = cuts;
        learn(&balancer, streaming(port, group));
        let mut found = balancer.found();
        let is = |wanted| {
            move |found: &Arc<std::collections::BTreeMap<_, model::balancing::Found>>| {
                found.values().any(|it| it.state == wanted)
            }
        };
        soon(found.wait_for(is(TargetState::Healthy))).await.expect("the balancer lives");
        let mut client = Client::new(port).await;
        assert!(is_carried(&mut client).await);
        well.store(false, Ordering::SeqCst);
        soon(found.wait_for(is(TargetState::Unhealthy))).await.expect("the balancer lives");
        match cuts {
            true => assert!(soon(client.is_closed()).await),
            false => assert!(is_carried(&mut client).await),
        }
        // With nobody healthy the unhealthy are asked, and such a connection is not cut at once.
        assert!(is_carried(&mut Client::new(port).await).await);
    }
}

#[tokio::test]
async fn a_connection_outlives_its_targets_deregistration_unless_the_group_says_otherwise() {
    for cuts in [false, true] {
        let at = echo().await;
        let port = free_port();
        let balancer = balancer();
        let with = |targets: &[SocketAddrV4]| {
            let mut group = group(targets);
            group.settings.cut_deregistered = cuts;
            streaming(port, group)
        };
        learn(&balancer, with(&[at]));
        let mut client = Client::new(port).await;
        assert!(is_carried(&mut client).await);
        learn(&balancer, with(&[]));
        match cuts {
            true => assert!(soon(client.is_closed()).await),
            false => assert!(is_carried(&mut client).await),
        }
    }
}
