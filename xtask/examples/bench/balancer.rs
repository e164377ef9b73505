//! `bench balancer`: requests a second through the data plane, beside nginx and haproxy, in front
//! of the same backend (nginx, one fixed answer), by wrk over connections that are kept; all alive
//! at the same time, measured in turn. Then the same while targets drain, go and come back as fast
//! as they can be learned, where not one request may fail.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::meter::Meter;
use crate::process::Server;
use crate::stats::{Round, Samples, Series, Table, short};
use crate::{Setting, beside_us};

const CONNECTIONS: &str = "64";
const SECONDS: &str = "4";
/// Targets that change in a second: as goal B1 asks.
const CHANGES_PER_SECOND: &str = "10000";

const BACKEND: &str = "\
daemon off; worker_processes 2; pid FOLDER/backend.pid; error_log FOLDER/backend.log;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000;
  client_body_temp_path FOLDER/b1; proxy_temp_path FOLDER/b2; fastcgi_temp_path FOLDER/b3;
  uwsgi_temp_path FOLDER/b4; scgi_temp_path FOLDER/b5;
  server { listen BACKEND_PORT; location / { return 200 \"hello from the backend\"; } } }
";

const NGINX: &str = "\
daemon off; worker_processes 2; pid FOLDER/nginx.pid; error_log FOLDER/nginx.log;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000;
  client_body_temp_path FOLDER/n1; proxy_temp_path FOLDER/n2; fastcgi_temp_path FOLDER/n3;
  uwsgi_temp_path FOLDER/n4; scgi_temp_path FOLDER/n5;
  upstream targets { keepalive 256; keepalive_requests 1000000000; SERVERS }
  server { listen 127.0.0.1:PORT;
    location / { proxy_pass http://targets; proxy_http_version 1.1;
      proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Port PORT; } } }
";

const HAPROXY: &str = "\
global
  nbthread 2
  maxconn 4096
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  http-reuse always
frontend front
  bind 127.0.0.1:PORT
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Port PORT
  default_backend targets
backend targets
  balance roundrobin
SERVERS
";

/// A proxy that runs, and what was measured of it.
struct Contender {
    series: Series,
    p99_ms: Samples,
    port: u16,
    // The server ends before its group is looked through.
    _server: Server,
    meter: Meter,
}

pub fn run(setting: &Setting) -> Result<()> {
    for program in ["nginx", "haproxy", "wrk"] {
        if !is_installed(program) {
            bail!("{program} is needed: apt-get install nginx-light haproxy wrk");
        }
    }
    let backend_port = free_port()?;
    let meter = Meter::make("backend")?;
    let text = BACKEND.replace("BACKEND_PORT", &backend_port.to_string());
    let _backend = nginx(setting, &meter, "backend", &text, backend_port)?;
    let mut all = vec![
        ours(setting, backend_port)?,
        nginx_proxy(setting, backend_port)?,
        haproxy(setting, backend_port)?,
    ];
    let mut direct = Samples::default();
    for _ in 0..setting.rounds {
        for contender in &mut all {
            contender.measure()?;
        }
        direct.push(wrk(backend_port)?.per_second);
    }
    print(&all);
    println!("straight to the backend: {} requests/s\n", short(direct.median()));
    drop(all);
    under_changes(setting, backend_port)
}

fn is_installed(program: &str) -> bool {
    let found = Command::new("which").arg(program).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Contender {
    fn start(name: &str, port: u16, server: Server, meter: Meter) -> Contender {
        let series = Series::new(name);
        Contender { series, p99_ms: Samples::default(), port, _server: server, meter }
    }

    fn measure(&mut self) -> Result<()> {
        let before = self.meter.cpu_ms();
        let run = wrk(self.port)?;
        let cpu_ms = (self.meter.cpu_ms() - before) / run.requests;
        if run.failed > 0 {
            bail!("{}: {} requests failed", self.series.name, run.failed);
        }
        self.p99_ms.push(run.p99_ms);
        let times_ms = [run.p50_ms].into_iter().collect();
        self.series.rounds.push(Round { times_ms, cpu_ms, per_second: run.per_second });
        Ok(())
    }
}

fn ours(setting: &Setting, backend_port: u16) -> Result<Contender> {
    let port = free_port()?;
    let (server, meter) = serve(setting, "neargate", &[port, backend_port], &[])?;
    Ok(Contender::start("neargate's balancer", port, server, meter))
}

/// The balancer by itself, as an example of its crate.
fn serve(setting: &Setting, name: &str, ports: &[u16], more: &[&str]) -> Result<(Server, Meter)> {
    let meter = Meter::make(name)?;
    let program = beside_us("serve")?;
    let mut command = meter.command(program.to_str().context("a path in UTF-8")?);
    command.args(ports.iter().map(u16::to_string)).args(more);
    let mut server = Server::start(name, command, setting.work.path())?;
    let said = setting.work.path().join(format!("{name}.log"));
    server.wait_for(|| fs::read_to_string(&said).ok().filter(|text| text.contains("ready")))?;
    Ok((server, meter))
}

/// The four addresses that our own balancer is given too.
fn targets(backend_port: u16, line: impl Fn(u8, String) -> String) -> String {
    (1..=4).map(|number| line(number, format!("127.0.0.{number}:{backend_port}"))).collect()
}

fn nginx_proxy(setting: &Setting, backend_port: u16) -> Result<Contender> {
    let (port, meter) = (free_port()?, Meter::make("nginx")?);
    let servers = targets(backend_port, |_, at| format!("server {at}; "));
    let text = NGINX.replace("SERVERS", &servers).replace("PORT", &port.to_string());
    let server = nginx(setting, &meter, "nginx", &text, port)?;
    Ok(Contender::start("nginx", port, server, meter))
}

fn nginx(setting: &Setting, meter: &Meter, name: &str, text: &str, port: u16) -> Result<Server> {
    let folder = setting.work.path();
    let file = folder.join(format!("{name}.conf"));
    let folder_text = folder.to_str().context("a path in UTF-8")?;
    fs::write(&file, text.replace("FOLDER", folder_text))?;
    let mut command = meter.command("nginx");
    command.arg("-c").arg(&file).arg("-p").arg(folder);
    listening(Server::start(name, command, folder)?, port)
}

fn haproxy(setting: &Setting, backend_port: u16) -> Result<Contender> {
    let (port, meter) = (free_port()?, Meter::make("haproxy")?);
    let servers = targets(backend_port, |number, at| format!("  server t{number} {at}\n"));
    let text = HAPROXY.replace("SERVERS", &servers).replace("PORT", &port.to_string());
    let file = setting.work.path().join("haproxy.cfg");
    fs::write(&file, text)?;
    let mut command = meter.command("haproxy");
    command.arg("-db").arg("-f").arg(&file);
    let server = Server::start("haproxy", command, setting.work.path())?;
    Ok(Contender::start("haproxy", port, listening(server, port)?, meter))
}

fn listening(mut server: Server, port: u16) -> Result<Server> {
    server.wait_for(|| std::net::TcpStream::connect(("127.0.0.1", port)).ok())?;
    Ok(server)
}

struct Wrk {
    requests: f64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    failed: u64,
}

fn wrk(port: u16) -> Result<Wrk> {
    let output = Command::new("wrk")
        .args(["--threads", "1", "--connections", CONNECTIONS, "--duration"])
        .args([&format!("{SECONDS}s"), "--latency", &format!("http://127.0.0.1:{port}/")])
        .output()
        .context("wrk can't be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("wrk: {}: {text}", output.status);
    }
    read_wrk(&text).with_context(|| format!("wrk said: {text}"))
}

fn read_wrk(text: &str) -> Option<Wrk> {
    let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest.trim_start());
    let word = |mark: &str| after(mark)?.split_whitespace().next();
    let quantile = |mark: &str| {
        text.lines().find_map(|line| line.trim_start().strip_prefix(mark).map(str::trim))
    };
    let requests = text.lines().find(|line| line.contains(" requests in "))?;
    let refused = word("Non-2xx or 3xx responses:").map_or(Some(0), |it| it.parse().ok())?;
    let errors = after("Socket errors:").and_then(|rest| rest.lines().next()).unwrap_or("");
    let errors = errors.split(|c: char| !c.is_ascii_digit());
    let errors: u64 = errors.filter_map(|number| number.parse::<u64>().ok()).sum();
    Some(Wrk {
        requests: requests.split_whitespace().next()?.parse().ok()?,
        per_second: word("Requests/sec:")?.parse().ok()?,
        p50_ms: time_ms(quantile("50%")?)?,
        p99_ms: time_ms(quantile("99%")?)?,
        failed: refused + errors,
    })
}

/// As in `812.00us`, `1.10ms` and `2.00s`.
fn time_ms(text: &str) -> Option<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    let (number, scale) =
        units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))?;
    Some(number.parse::<f64>().ok()? * scale)
}

fn print(all: &[Contender]) {
    let mut table = Table::new(&[
        "contender",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "CPU us/request",
        "ours / theirs, requests/s (range)",
        "theirs / ours, CPU (range)",
    ]);
    let ours = &all[0].series;
    for it in all {
        let (rate, cpu) = match it.series.name == ours.name {
            true => (String::new(), String::new()),
            false => (ours.rate_ratio_to(&it.series), it.series.cpu_ratio_to(ours)),
        };
        table.row(&[
            &it.series.name,
            &short(it.series.median_of(|round| round.per_second)),
            &short(it.series.all().median()),
            &short(it.p99_ms.median()),
            &short(it.series.median_of(|round| round.cpu_ms) * 1e3),
            &rate,
            &cpu,
        ]);
    }
    table.print();
}

/// The same while targets change; every failed request is told.
fn under_changes(setting: &Setting, backend_port: u16) -> Result<()> {
    let port = free_port()?;
    let ports = [port, backend_port];
    let (_server, _meter) = serve(setting, "changing", &ports, &[CHANGES_PER_SECOND])?;
    let (mut rates, mut failed, mut requests) = (Samples::default(), 0, 0.0);
    for _ in 0..setting.rounds {
        let run = wrk(port)?;
        rates.push(run.per_second);
        failed += run.failed;
        requests += run.requests;
    }
    let said = fs::read_to_string(setting.work.path().join("changing.log"))?;
    let changes = said.lines().filter_map(|line| line.strip_suffix(" changes/s")?.parse().ok());
    let changes: Samples = changes.collect();
    println!(
        "{} target changes/s (each a whole table) beside {} requests/s: {failed} of {requests} \
         requests failed",
        short(changes.median()),
        short(rates.median()),
    );
    if failed > 0 {
        bail!("{failed} requests failed while targets changed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_read() {
        let text = "\
Running 4s test
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Req/Sec    29.73k     7.69k   44.11k    62.50%
  Latency Distribution
     50%  812.00us
     75%    1.10ms
     90%    1.50ms
     99%    2.00ms
  304512 requests in 4.00s, 50MB read
  Socket errors: connect 0, read 3, write 1, timeout 0
  Non-2xx or 3xx responses: 7
Requests/sec:  76128.00
";
        let run = read_wrk(text).expect("it is all there");
        assert_eq!((run.requests, run.per_second, run.failed), (304_512.0, 76_128.0, 11));
        assert!((run.p50_ms - 0.812).abs() < 1e-9 && (run.p99_ms - 2.0).abs() < 1e-9);
    }
}
