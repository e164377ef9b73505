//! Tables that change under load, targets that come and go, drain and fail: no request fails of it.

use crate::world::*;
use model::TargetGroupId;
use model::balancing::{Algorithm, TargetKey};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Asks over and over on some connections until told to stop; how many answers there were.
fn load(port: u16, clients: usize, stop: &Arc<AtomicBool>) -> tokio::task::JoinSet<usize> {
    let mut load = tokio::task::JoinSet::new();
    for number in 0..clients {
        let stop = stop.clone();
        load.spawn(async move {
            let mut client = Client::new(port).await;
            let mut answers = 0;
            while !stop.load(Ordering::Relaxed) {
                let answer = match number % 2 {
                    0 => client.get("/").await,
                    _ => {
                        client
                            .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
                            .await;
                        client.message().await.expect("an answer")
                    }
                };
                assert_eq!(status(&answer), "200", "{answer}");
                answers += 1;
            }
            answers
        });
    }
    load
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_tables_a_second_fail_no_request() {
    let (a, b, c) = (named("a").await, named("b").await, named("c").await);
    let port = free_port();
    let balancer = balancer();
    let rules = || vec![otherwise(forward(&[("g", 1), ("h", 1)]))];
    let all = [a.at, b.at, c.at];
    let of = |round: usize| {
        let mut targets = all.to_vec();
        targets.remove(round % 3);
        let mut second = group(&[all[round % 3]]);
        second.settings.algorithm = if round.is_multiple_of(2) {
            Algorithm::RoundRobin
        } else {
            Algorithm::LeastOutstanding
        };
        table(port, rules(), [("g", group(&targets)), ("h", second)])
    };
    learn(&balancer, of(0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = load(port, 8, &stop);
    let began = Instant::now();
    let mut tables = 0;
    while began.elapsed() < Duration::from_secs(2) {
        tables += 1;
        learn(&balancer, of(tables));
        if tables.is_multiple_of(16) {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut answers = 0;
    while let Some(done) = load.join_next().await {
        answers += done.expect("no request failed");
    }
    assert!(tables > 1_000, "only {tables} tables");
    assert!(answers > 100, "only {answers} answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_drains_and_says_so() {
    let (slow, let_go) = held("slow").await;
    let fast = named("fast").await;
    let port = free_port();
    let balancer = balancer();
    let rules = || vec![otherwise(forward(&[("g", 1)]))];
    learn(&balancer, table(port, rules(), [("g", group(&[slow.at]))]));
    let mut found = balancer.found();
    let mut waiting = Client::new(port).await;
    waiting.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until("it is asked", || slow.connections.load(Ordering::SeqCst) > 0).await;
    let mut both = group(&[slow.at, fast.at]);
    both.targets[0].draining = true;
    learn(&balancer, table(port, rules(), [("g", both)]));
    let key = TargetKey {
        group: TargetGroupId::from("g"),
        id: "127.0.0.1".to_owned(),
        port: slow.at.port(),
    };
    let mut others = Client::new(port).await;
    for _ in 0..4 {
        assert_eq!(body(&soon(others.get("/")).await), "fast");
    }
    assert!(!found.borrow_and_update()[&key].drained);
    let_go.send(()).expect("it waits");
    assert_eq!(body(&soon(waiting.message()).await.expect("an answer")), "slow");
    soon(found.wait_for(|found| found[&key].drained)).await.expect("the balancer lives");
}

#[tokio::test]
async fn a_target_that_is_gone_costs_no_request() {
    let alive = named("alive").await;
    let gone = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, free_port());
    let port = free_port();
    let balancer = balancer();
    let rules = vec![otherwise(forward(&[("g", 1)]))];
    learn(&balancer, table(port, rules, [("g", group(&[gone, alive.at]))]));
    let mut client = Client::new(port).await;
    for _ in 0..10 {
        assert_eq!(body(&soon(client.get("/")).await), "alive");
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc").await;
        assert_eq!(body(&soon(client.message()).await.expect("an answer")), "alive");
    }
}

#[tokio::test]
async fn a_request_without_effect_is_sent_again_when_a_kept_connection_was_closed() {
    // Answers once on each connection and closes at the second request, without a word.
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let std::net::SocketAddr::V4(at) = socket.local_addr().expect("bound") else { unreachable!() };
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = posts.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = socket.accept().await.expect("a connection");
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut client = Client { stream, unread: Vec::new() };
                if client.message().await.is_some() {
                    client.send(&ok("once")).await;
                    if client.message().await.is_some_and(|text| text.starts_with("POST")) {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let port = free_port();
    let balancer = balancer();
    learn(&balancer, table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", group(&[at]))]));
    let mut client = Client::new(port).await;
    for _ in 0..6 {
        assert_eq!(body(&soon(client.get("/")).await), "once");
    }
    // One with an effect is not: who knows what the target did.
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc").await;
    let answer = soon(client.message()).await.expect("an answer");
    assert_eq!((status(&answer), posts.load(Ordering::SeqCst)), ("502", 1));
}

#[tokio::test]
async fn a_listener_that_goes_frees_its_port_and_ends_what_is_idle() {
    let a = named("a").await;
    let (port, other) = (free_port(), free_port());
    let balancer = balancer();
    let rules = || vec![otherwise(forward(&[("g", 1)]))];
    learn(&balancer, table(port, rules(), [("g", group(&[a.at]))]));
    let mut client = Client::new(port).await;
    soon(client.get("/")).await;
    learn(&balancer, table(other, rules(), [("g", group(&[a.at]))]));
    assert!(soon(client.is_closed()).await);
    drop(std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free"));
    assert_eq!(body(&soon(Client::new(other).await.get("/")).await), "a");
    // A port that is taken is told, and tried again with the next table.
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    let both = table(port, rules(), [("g", group(&[a.at]))]);
    let failures = balancer.learn(Arc::new(both.clone()), Arc::default());
    assert_eq!(failures.len(), 1, "{failures:?}");
    drop(taken);
    learn(&balancer, both);
    assert_eq!(body(&soon(Client::new(port).await.get("/")).await), "a");
}

#[tokio::test]
async fn weights_are_obeyed_and_what_is_served_is_counted() {
    let (a, b) = (named("a").await, named("b").await);
    let port = free_port();
    let balancer = balancer();
    let rules = vec![otherwise(forward(&[("a", 3), ("b", 1), ("c", 0)]))];
    let groups = [("a", group(&[a.at])), ("b", group(&[b.at])), ("c", group(&[]))];
    learn(&balancer, table(port, rules, groups));
    let mut client = Client::new(port).await;
    let mut to_a = 0;
    for _ in 0..400 {
        let answer = soon(client.get("/")).await;
        to_a += usize::from(body(&answer) == "a");
    }
    assert!((240..=360).contains(&to_a), "{to_a} of 400 went to the group of weight 3");
    // The last is counted a moment after its answer.
    let (mut requests, mut by_group) = (0, std::collections::BTreeMap::<String, u64>::new());
    until("all are counted", || {
        let served = balancer.served();
        requests += served.balancers.iter().map(|(_, counts)| counts.requests).sum::<u64>();
        for (id, counts) in served.groups {
            *by_group.entry(id.to_string()).or_default() += counts.target_2xx;
        }
        by_group.values().sum::<u64>() == 400
    })
    .await;
    assert_eq!(requests, 400);
    assert_eq!(by_group.get("a"), Some(&(to_a as u64)));
}

#[tokio::test]
async fn without_a_healthy_target_all_are_asked() {
    let (a, b) = (named("a").await, named("b").await);
    let port = free_port();
    let balancer = balancer();
    let mut sick = group(&[a.at, b.at]);
    sick.health_check.enabled = true;
    sick.health_check.port = Some(free_port());
    learn(&balancer, table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", sick)]));
    let mut client = Client::new(port).await;
    let first = soon(client.get("/")).await;
    let second = soon(client.get("/")).await;
    assert_ne!(body(&first), body(&second));
    assert_eq!((status(&first), status(&second)), ("200", "200"));
}

#[tokio::test]
async fn a_healthy_target_is_preferred_to_one_that_is_not() {
    let (sick, well) = (target(|_| no()).await, named("well").await);
    let port = free_port();
    let balancer = balancer();
    let mut both = group(&[sick.at, well.at]);
    both.health_check.enabled = true;
    both.health_check.interval_seconds = 1;
    learn(&balancer, table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", both)]));
    let mut found = balancer.found();
    let healthy = |found: &Arc<std::collections::BTreeMap<TargetKey, model::balancing::Found>>| {
        found.values().any(|it| it.state == model::balancing::TargetState::Healthy)
    };
    soon(found.wait_for(healthy)).await.expect("the balancer lives");
    let mut client = Client::new(port).await;
    for _ in 0..6 {
        assert_eq!(body(&soon(client.get("/")).await), "well");
    }
}

/// With fewer healthy targets than there should be, in number or in part, none is preferred.
#[tokio::test]
async fn with_too_few_healthy_targets_all_are_asked() {
    let (sick, well) = (target(|_| no()).await, named("well").await);
    for (min, min_percent, both_asked) in [(2, 0, true), (1, 51, true), (1, 50, false)] {
        let port = free_port();
        let balancer = balancer();
        let mut both = group(&[sick.at, well.at]);
        both.health_check.enabled = true;
        both.settings.healthy_min = min;
        both.settings.healthy_min_percent = min_percent;
        learn(&balancer, table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", both)]));
        let mut found = balancer.found();
        let healthy =
            |found: &Arc<std::collections::BTreeMap<TargetKey, model::balancing::Found>>| {
                found.values().any(|it| it.state == model::balancing::TargetState::Healthy)
            };
        soon(found.wait_for(healthy)).await.expect("the balancer lives");
        let mut client = Client::new(port).await;
        let mut codes = Vec::new();
        for _ in 0..4 {
            codes.push(status(&soon(client.get("/")).await).to_owned());
        }
        assert_eq!(codes.iter().any(|code| code != "200"), both_asked, "{min} {min_percent}");
    }
}

fn no() -> String {
    "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_owned()
}

#[tokio::test]
async fn a_client_stays_with_its_group() {
    let (a, b) = (named("a").await, named("b").await);
    let port = free_port();
    let balancer = balancer();
    let mut action = forward(&[("a", 1), ("b", 1)]);
    if let model::balancing::Action::Forward(forward) = &mut action {
        forward.sticky_seconds = Some(60);
    }
    let groups = [("a", group(&[a.at])), ("b", group(&[b.at]))];
    learn(&balancer, table(port, vec![otherwise(action)], groups));
    let mut client = Client::new(port).await;
    let first = soon(client.get("/")).await;
    let cookie = first.lines().find_map(|line| line.strip_prefix("Set-Cookie: AWSALBTG="));
    let cookie = cookie.and_then(|cookie| cookie.split(';').next()).expect("a cookie");
    for _ in 0..10 {
        let with = format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: AWSALBTG={cookie}\r\n\r\n");
        client.send(&with).await;
        assert_eq!(body(&soon(client.message()).await.expect("an answer")), body(&first));
    }
}

/// The only healthy target drains over and over; the other, which fails its checks, takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_healthy_target_may_drain_at_any_moment() {
    let good = named("good").await;
    let ill = target(|head| match head.contains("ELB-HealthChecker") {
        true => "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
        false => ok("ill"),
    });
    let ill = ill.await;
    let port = free_port();
    let balancer = balancer();
    let of = |draining: bool| {
        let mut group = group(&[good.at, ill.at]);
        group.health_check.enabled = true;
        group.targets[0].draining = draining;
        table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", group)])
    };
    learn(&balancer, of(false));
    let mut found = balancer.found();
    let healthy = found.wait_for(|all| {
        all.values().any(|found| found.state == model::balancing::TargetState::Healthy)
    });
    healthy.await.expect("it runs");
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = load(port, 8, &stop);
    let began = Instant::now();
    let mut tables = 0_usize;
    while began.elapsed() < Duration::from_secs(1) {
        tables += 1;
        learn(&balancer, of(!tables.is_multiple_of(2)));
        if tables.is_multiple_of(16) {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = load.join_next().await {
        assert!(done.expect("no request failed") > 0);
    }
}
