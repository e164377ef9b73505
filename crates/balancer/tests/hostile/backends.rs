//! Three real backends of three makes. Each writes down every request it sees, and answers with
//! the path it saw, so that an answer which belongs to another request gives itself away.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::rig::PATIENCE;

const PYTHON: &str = r#"
import http.server, sys

class Witness(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                self.rfile.read(size + 2)
            while self.rfile.readline().strip():
                pass
        else:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self):
        with open(sys.argv[2], "a") as log:
            log.write(self.requestline + "\n")
        self.body()
        text = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Witness).serve_forever()
"#;

const NODE: &str = r#"
const [port, log] = process.argv.slice(1);
const fs = require("fs");
require("http").createServer((request, response) => {
  fs.appendFileSync(log, `${request.method} ${request.url}\n`);
  request.resume();
  request.on("end", () => response.end(request.url));
}).listen(Number(port), "127.0.0.1");
"#;

const NGINX: &str = r#"
daemon off; master_process off; pid FOLDER/nginx.pid; error_log FOLDER/error.log;
events { worker_connections 512; }
http {
  log_format seen '$request'; access_log FOLDER/nginx.seen seen;
  client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy; fastcgi_temp_path FOLDER/fcgi;
  uwsgi_temp_path FOLDER/uwsgi; scgi_temp_path FOLDER/scgi;
  server { listen 127.0.0.1:PORT; location / { return 200 $request_uri; } }
}
"#;

pub struct Backend {
    pub name: &'static str,
    pub address: SocketAddrV4,
    log: PathBuf,
    process: Child,
}

impl Backend {
    /// All that are installed here; `cargo xtask test` installs all three.
    pub fn start_all(folder: &Path) -> Vec<Backend> {
        vec![start("nginx", folder), start("python", folder), start("node", folder)]
    }

    /// The requests it has seen.
    pub fn seen(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start(name: &'static str, folder: &Path) -> Backend {
    let port = free_port();
    let log = folder.join(format!("{name}.seen"));
    let mut command = match name {
        "nginx" => {
            let folder_text = folder.to_str().expect("a path in UTF-8");
            let text = NGINX.replace("FOLDER", folder_text).replace("PORT", &port.to_string());
            let file = folder.join("nginx.conf");
            std::fs::write(&file, text).expect("written");
            let mut command = Command::new("nginx");
            command.arg("-c").arg(file).arg("-p").arg(folder);
            command
        }
        "python" => {
            let mut command = Command::new("python3");
            command.args(["-c", PYTHON]).arg(port.to_string()).arg(&log);
            command
        }
        _ => {
            let mut command = Command::new("node");
            command.args(["-e", NODE]).arg(port.to_string()).arg(&log);
            command
        }
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let process = command.spawn().unwrap_or_else(|e| panic!("{name} can't be started: {e}"));
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let mut backend = Backend { name, address, log, process };
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        let ended = backend.process.try_wait().expect("it is our child");
        assert!(ended.is_none(), "{name} ended: {ended:?}");
        assert!(began.elapsed() < PATIENCE, "{name} does not listen");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    backend
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}
