//! The sockets of VPCs, served: datagrams and connections, each question answered from what is
//! known or asked on. A table that comes in counts from the next question on.

use crate::limits::{
    CONNECTIONS_PER_VPC_MAX, FORWARDS_PER_VPC_MAX, IDLE_TIMEOUT_MS, SOCKET_RETRY_MS, TCP_BYTES_MAX,
    UDP_BYTES_MAX,
};
use crate::message::{Code, Malformed, Question, Reply, refusal};
use crate::upstream::{self, Transport};
use crate::zone::{Place, Resolution, resolve};
use model::VpcId;
use model::discovery::NameTable;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

type Random = Arc<dyn Fn() -> u128 + Send + Sync>;

/// Where a VPC's tasks ask.
#[derive(Debug)]
pub struct Sockets {
    pub datagrams: Vec<std::net::UdpSocket>,
    pub listeners: Vec<std::net::TcpListener>,
}

/// The resolvers of this instance's VPCs. Dropped, all of them end.
pub struct Resolvers {
    shared: Arc<Shared>,
    serving: Mutex<BTreeMap<VpcId, JoinSet<()>>>,
}

struct Shared {
    tables: Mutex<BTreeMap<VpcId, Arc<NameTable>>>,
    upstream: Vec<SocketAddr>,
    random: Random,
}

/// What the tasks of one VPC share.
struct Vpc {
    id: VpcId,
    place: Place,
    shared: Arc<Shared>,
    forwards: Semaphore,
    connections: Arc<Semaphore>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resolvers {
    /// `upstream` is asked for what is not ours, in this order.
    pub fn new(upstream: Vec<SocketAddr>, random: Random) -> Self {
        let shared = Shared { tables: Mutex::default(), upstream, random };
        Self { shared: Arc::new(shared), serving: Mutex::default() }
    }

    /// Takes in tables; `everything`: a VPC that is not named is not known any more.
    pub fn learn(&self, everything: bool, tables: BTreeMap<VpcId, Arc<NameTable>>) {
        let mut known = lock(&self.shared.tables);
        if everything {
            *known = tables;
        } else {
            known.extend(tables);
        }
    }

    /// Lets go of a VPC's sockets.
    pub fn stop(&self, vpc: &VpcId) {
        lock(&self.serving).remove(vpc);
    }

    /// Serves a VPC from now on, instead of the sockets it was served on before. To be called
    /// within a tokio runtime.
    pub fn serve(&self, vpc: &VpcId, place: Place, sockets: Sockets) -> io::Result<()> {
        let serving = Arc::new(Vpc {
            id: vpc.clone(),
            place,
            shared: Arc::clone(&self.shared),
            forwards: Semaphore::new(FORWARDS_PER_VPC_MAX),
            connections: Arc::new(Semaphore::new(CONNECTIONS_PER_VPC_MAX)),
        });
        let mut tasks = JoinSet::new();
        for socket in sockets.datagrams {
            let socket = UdpSocket::from_std(socket)?;
            tasks.spawn(Arc::clone(&serving).datagrams(Arc::new(socket)));
        }
        for listener in sockets.listeners {
            let listener = TcpListener::from_std(listener)?;
            tasks.spawn(Arc::clone(&serving).listen(listener));
        }
        lock(&self.serving).insert(vpc.clone(), tasks);
        Ok(())
    }
}

impl Vpc {
    async fn datagrams(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; UDP_BYTES_MAX];
        // They end with this.
        let mut asking = JoinSet::new();
        loop {
            let (length, peer) = tokio::select! {
                received = socket.recv_from(&mut buffer) => match received {
                    Ok(received) => received,
                    Err(failure) => {
                        tracing::debug!(vpc = %self.id, %failure, "receiving a question");
                        tokio::time::sleep(Duration::from_millis(SOCKET_RETRY_MS)).await;
                        continue;
                    }
                },
                Some(_) = asking.join_next() => continue,
            };
            if self.is_silent() {
                continue;
            }
            let bytes = &buffer[..length];
            let question = match Question::read(bytes) {
                Ok(question) => question,
                Err(Malformed::Noise) => continue,
                Err(Malformed::Refuse(id, code)) => {
                    send(&socket, &refusal(id, code), peer).await;
                    continue;
                }
            };
            match self.known(&question) {
                Resolution::Answer(reply) => {
                    send(&socket, &reply.write(&question, question.udp_bytes()), peer).await;
                }
                Resolution::Forward => {
                    let (vpc, socket) = (Arc::clone(&self), Arc::clone(&socket));
                    let bytes = bytes.to_vec();
                    // More than may be asked on fail at once, in `forward`; so this stays bounded.
                    asking.spawn(async move {
                        let answer = vpc.forward(&question, &bytes, Transport::Udp).await;
                        let answer = fitting(&question, answer);
                        send(&socket, &answer, peer).await;
                    });
                }
            }
        }
    }

    async fn listen(self: Arc<Self>, listener: TcpListener) {
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        // Beyond the bound they are hung up on.
                        let place = Arc::clone(&self.connections).try_acquire_owned();
                        if let Ok(place) = place {
                            let vpc = Arc::clone(&self);
                            open.spawn(async move {
                                if let Err(failure) = vpc.converse(stream).await {
                                    tracing::debug!(%failure, "a connection ended early");
                                }
                                drop(place);
                            });
                        }
                    }
                    Err(failure) => {
                        tracing::debug!(vpc = %self.id, %failure, "accepting a connection");
                        tokio::time::sleep(Duration::from_millis(SOCKET_RETRY_MS)).await;
                    }
                },
                Some(_) = open.join_next() => {}
            }
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let patience = Duration::from_millis(IDLE_TIMEOUT_MS);
        loop {
            let read = tokio::time::timeout(patience, upstream::read(&mut stream)).await;
            let Ok(Some(bytes)) = read.unwrap_or(Ok(None)) else { return Ok(()) };
            if self.is_silent() {
                return Ok(());
            }
            let answer = match Question::read(&bytes) {
                Ok(question) => match self.known(&question) {
                    Resolution::Answer(reply) => reply.write(&question, TCP_BYTES_MAX),
                    Resolution::Forward => self.forward(&question, &bytes, Transport::Tcp).await,
                },
                Err(Malformed::Refuse(id, code)) => refusal(id, code),
                Err(Malformed::Noise) => return Ok(()),
            };
            let written = upstream::write(&mut stream, &answer);
            tokio::time::timeout(patience, written).await??;
        }
    }

    /// Whether the VPC has its resolver switched off. Then nothing is said, not even a refusal, as
    /// if nobody were there; the sockets stay, so that it may speak again at once.
    fn is_silent(&self) -> bool {
        lock(&self.shared.tables).get(&self.id).is_some_and(|table| table.silent)
    }

    fn known(&self, question: &Question) -> Resolution {
        if question.extension.is_some_and(|extension| extension.version > 0) {
            return Resolution::Answer(Reply::of(Code::BadVers));
        }
        let table = lock(&self.shared.tables).get(&self.id).cloned();
        resolve(&self.place, table.as_deref(), question, (self.shared.random)())
    }

    async fn forward(&self, question: &Question, bytes: &[u8], transport: Transport) -> Vec<u8> {
        let failed = || Reply::of(Code::ServFail).write(question, UDP_BYTES_MAX);
        let Ok(_place) = self.forwards.try_acquire() else { return failed() };
        let (upstream, random) = (&self.shared.upstream, (self.shared.random)());
        let answer = upstream::ask(upstream, question, bytes, transport, random).await;
        answer.unwrap_or_else(failed)
    }
}

/// An answer from elsewhere may be longer than the client can take over UDP.
fn fitting(question: &Question, answer: Vec<u8>) -> Vec<u8> {
    if answer.len() <= question.udp_bytes().max(UDP_BYTES_MAX) {
        return answer;
    }
    Reply::of(Code::NoError).write_cut(question)
}

async fn send(socket: &UdpSocket, message: &[u8], peer: SocketAddr) {
    if let Err(failure) = socket.send_to(message, peer).await {
        tracing::debug!(%peer, %failure, "an answer could not be sent");
    }
}
