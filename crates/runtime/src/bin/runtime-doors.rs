//! Listens in a VPC from a process of its own, as a load balancer does; for tests. Greets whoever
//! connects with a word, until it is killed.
//! `runtime-doors ROOT TAG VPC ADDRESS:PORT WORD` prints a line when it listens.

use runtime::{VpcDoors, VpcId};
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddrV4;
use std::path::PathBuf;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or(ErrorKind::InvalidInput);
    let (root, tag) = (PathBuf::from(next()?), next()?);
    let (vpc, at) = (VpcId::from(next()?), next()?.parse::<SocketAddrV4>());
    let word = next()?;
    let doors = VpcDoors::new(&root, &tag);
    let listener = doors.listen(&vpc, at.map_err(|_| ErrorKind::InvalidInput)?)?;
    listener.set_nonblocking(false)?;
    let mut stdout = io::stdout();
    stdout.write_all(b"listening\n")?;
    stdout.flush()?;
    loop {
        let (mut stream, peer) = listener.accept()?;
        // Whoever connected may be gone.
        let _ = stream.write_all(format!("{word} {}\n", peer.ip()).as_bytes());
    }
}
