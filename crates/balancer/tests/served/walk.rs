//! A request's way through a load balancer: rules, targets in turn, answers of the balancer's own.

use crate::world::*;
use model::balancing::{Action, Condition, Redirect, RuleEntry};

#[tokio::test]
async fn requests_go_to_the_targets_in_turn_and_rules_are_obeyed() {
    let (a, b) = (named("a").await, named("b").await);
    let port = free_port();
    let balancer = balancer();
    let path = |pattern: &str, action| RuleEntry {
        priority: 1,
        conditions: vec![Condition::Path(vec![pattern.to_owned()])],
        action,
    };
    let redirect = Action::Redirect(Redirect {
        protocol: "HTTPS".into(),
        host: "#{host}".into(),
        port: "443".into(),
        path: "/#{path}".into(),
        query: "#{query}".into(),
        status: 301,
    });
    let rules = vec![
        path("/fixed", fixed(418, "teapot")),
        path("/moved*", redirect),
        path("/nobody", forward(&[("empty", 1)])),
        otherwise(forward(&[("g", 1)])),
    ];
    learn(&balancer, table(port, rules, [("g", group(&[a.at, b.at])), ("empty", group(&[]))]));
    let mut client = Client::new(port).await;
    let mut bodies = Vec::new();
    for _ in 0..4 {
        let answer = soon(client.get("/")).await;
        assert_eq!(status(&answer), "200", "{answer}");
        bodies.push(body(&answer).to_owned());
    }
    bodies.sort();
    assert_eq!(bodies, ["a", "a", "b", "b"]);
    let answer = soon(client.get("/fixed")).await;
    assert_eq!((status(&answer), body(&answer)), ("418", "teapot"));
    let answer = soon(client.get("/moved?x=1")).await;
    assert_eq!(status(&answer), "301");
    assert!(answer.contains("\r\nLocation: https://h:443/moved?x=1\r\n"), "{answer}");
    let answer = soon(client.get("/nobody")).await;
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("Server: awselb/2.0"), "{answer}");
    assert_eq!(body(&soon(client.get("/")).await).len(), 1);
}

#[tokio::test]
async fn connections_to_targets_are_used_again() {
    let a = named("a").await;
    let port = free_port();
    let balancer = balancer();
    learn(&balancer, table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", group(&[a.at]))]));
    let mut client = Client::new(port).await;
    for _ in 0..20 {
        soon(client.get("/")).await;
    }
    assert_eq!(a.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}
