//! The worker's side of a queue over TCP: for workers in processes of their own, next to a coordinator whose queue is in
//! its memory. Farms on several machines use Redis; this needs nothing but the coordinator.
//!
//! A worker opens connections, proves that it knows the token, and then sends one request at a time on each; the server
//! carries them out on the queue it stands for. Frames are a length (u32, little-endian, at most [`MAX_FRAME`]) and a
//! postcard body. The server's hello names its instance: when it changes (the coordinator was restarted and its queue is
//! empty), the worker's registration is sent again before anything else.
//!
//! Not encrypted: bind it to loopback or a private network.

use std::{
    io::{Read, Write},
    net::TcpStream as BlockingStream,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use circuits::shape::Shape;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{Liveness, QueueError, WorkerQueue, memory::MemoryQueue};
use crate::{
    event::{Control, WorkerEvent},
    job::{JobEntry, JobId, WorkerId},
};

/// Longest frame: an input of 4 MiB and its envelope.
pub const MAX_FRAME: usize = 5 << 20;
/// A peer that says nothing for this long while it owes an answer is gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait that a client may ask the server for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Rises with the layout of any message: frames carry them without a header of their own.
const PROTOCOL: u32 = 3;

/// Hands out the side of a worker by its name.
pub trait Gate: Send + Sync + 'static {
    fn worker(&self, id: WorkerId) -> Arc<dyn WorkerQueue>;
}

impl Gate for MemoryQueue {
    fn worker(&self, id: WorkerId) -> Arc<dyn WorkerQueue> {
        Arc::new(MemoryQueue::worker(self, id))
    }
}

#[derive(Serialize, Deserialize)]
struct Hello {
    protocol: u32,
    token: String,
    worker: WorkerId,
}

/// The server's answer to a hello: its instance, or why not.
type Welcome = Result<[u8; 16], String>;

#[expect(clippy::large_enum_variant, reason = "one at a time on each connection")]
#[derive(Serialize, Deserialize)]
enum Request {
    Claim { shapes: Vec<Shape>, wait_ms: u64 },
    Input(JobId),
    Emit(WorkerEvent),
    NextControl { wait_ms: u64 },
}

#[derive(Serialize, Deserialize)]
enum Reply {
    Entry(Option<JobEntry>),
    Input(Vec<u8>),
    Emitted,
    Control(Option<Control>),
    NoInput(JobId),
    Refused(String),
}

fn unreachable(error: impl ToString) -> QueueError {
    QueueError::Unreachable(error.to_string())
}

fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, QueueError> {
    let body = postcard::to_stdvec(message).map_err(unreachable)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length as usize <= MAX_FRAME);
    let length = length.ok_or_else(|| unreachable("a message is over the frame limit"))?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(body);
    Ok(frame)
}

fn checked_length(header: [u8; 4]) -> Result<usize, QueueError> {
    let length = u32::from_le_bytes(header) as usize;
    if length <= MAX_FRAME {
        Ok(length)
    } else {
        Err(unreachable("the peer announced a frame over the limit"))
    }
}

async fn write<T: Serialize>(stream: &mut TcpStream, message: &T) -> Result<(), QueueError> {
    stream.write_all(&encode(message)?).await.map_err(unreachable)
}

async fn read<T: DeserializeOwned>(stream: &mut TcpStream) -> Result<T, QueueError> {
    let mut header = [0u8; 4];
    stream.read_exact(&mut header).await.map_err(unreachable)?;
    let mut body = vec![0u8; checked_length(header)?];
    stream.read_exact(&mut body).await.map_err(unreachable)?;
    postcard::from_bytes(&body).map_err(unreachable)
}

/// Serves workers until the listener fails. Dropping the future also ends the conversations under way.
///
/// # Errors
/// The listener's.
pub async fn serve(listener: TcpListener, token: String, gate: Arc<dyn Gate>) -> std::io::Result<()> {
    let mut instance = [0u8; 16];
    rand_core::RngCore::fill_bytes(&mut rand_core::OsRng, &mut instance);
    let token: Arc<str> = token.into();
    let mut conversations = JoinSet::new();
    loop {
        let (stream, peer) = listener.accept().await?;
        let (token, gate) = (Arc::clone(&token), Arc::clone(&gate));
        conversations.spawn(async move {
            if let Err(error) = converse(stream, &token, instance, &*gate).await {
                tracing::debug!(%peer, %error, "a worker's connection ended");
            }
        });
        while conversations.try_join_next().is_some() {}
    }
}

async fn converse(
    mut stream: TcpStream,
    token: &str,
    instance: [u8; 16],
    gate: &dyn Gate,
) -> Result<(), QueueError> {
    let hello: Hello = tokio::time::timeout(PATIENCE, read(&mut stream)).await.map_err(unreachable)??;
    let refusal = if hello.protocol != PROTOCOL {
        Some(format!(
            "the coordinator speaks protocol {PROTOCOL}, the worker {}; use the same version",
            hello.protocol
        ))
    } else if !same(hello.token.as_bytes(), token.as_bytes()) {
        Some("the token is not the coordinator's; pass the one in its data directory".to_owned())
    } else {
        None
    };
    if let Some(reason) = refusal {
        return write(&mut stream, &Welcome::Err(reason)).await;
    }
    write(&mut stream, &Welcome::Ok(instance)).await?;
    let queue = gate.worker(hello.worker);
    loop {
        let request: Request = read(&mut stream).await?;
        let wait = |ms: u64| Duration::from_millis(ms).min(LONGEST_WAIT);
        let reply = match request {
            Request::Claim { shapes, wait_ms } => queue.claim(&shapes, wait(wait_ms)).await.map(Reply::Entry),
            Request::Input(job) => queue.input(job).await.map(Reply::Input),
            Request::Emit(event) => queue.emit(&event).await.map(|()| Reply::Emitted),
            Request::NextControl { wait_ms } => queue.next_control(wait(wait_ms)).await.map(Reply::Control),
        };
        let reply = reply.unwrap_or_else(|error| match error {
            QueueError::NoInput(job) => Reply::NoInput(job),
            other => Reply::Refused(other.to_string()),
        });
        write(&mut stream, &reply).await?;
    }
}

/// Equality in a time that depends on the length only.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

/// The queue of one worker at the other end of a TCP connection.
pub struct RemoteQueue {
    address: String,
    token: String,
    worker: WorkerId,
    idle: Mutex<Vec<(TcpStream, [u8; 16])>>,
    known: Mutex<Known>,
}

/// What is needed to introduce the worker again to a coordinator that was restarted.
#[derive(Default)]
struct Known {
    instance: Option<[u8; 16]>,
    registration: Option<WorkerEvent>,
}

impl RemoteQueue {
    /// `address` as `host:port`. Connects at the first call.
    pub fn new(address: String, token: String, worker: WorkerId) -> Self {
        Self { address, token, worker, idle: Mutex::default(), known: Mutex::default() }
    }

    fn hello(&self) -> Hello {
        Hello { protocol: PROTOCOL, token: self.token.clone(), worker: self.worker.clone() }
    }

    async fn connect(&self) -> Result<(TcpStream, [u8; 16]), QueueError> {
        let opening = async {
            let mut stream = TcpStream::connect(&self.address).await.map_err(unreachable)?;
            stream.set_nodelay(true).map_err(unreachable)?;
            write(&mut stream, &self.hello()).await?;
            let instance = read::<Welcome>(&mut stream).await?.map_err(unreachable)?;
            Ok::<_, QueueError>((stream, instance))
        };
        let (mut stream, instance) = tokio::time::timeout(PATIENCE, opening).await.map_err(unreachable)??;
        let again = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.instance.is_some_and(|before| before != instance) {
                known.registration.clone()
            } else {
                None
            }
        };
        if let Some(registration) = again {
            exchange(&mut stream, &Request::Emit(registration), PATIENCE).await?;
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).instance = Some(instance);
        Ok((stream, instance))
    }

    /// One request on a connection of its own for as long as it takes. A call that is dropped drops the connection.
    async fn call(&self, request: Request, patience: Duration) -> Result<Reply, QueueError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (mut stream, instance) = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let reply = exchange(&mut stream, &request, patience).await;
        let mut pool = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match &reply {
            Ok(_) => pool.push((stream, instance)),
            // The others are most likely gone as well.
            Err(_) => pool.clear(),
        }
        match reply? {
            Reply::NoInput(job) => Err(QueueError::NoInput(job)),
            Reply::Refused(reason) => Err(unreachable(reason)),
            reply => Ok(reply),
        }
    }
}

async fn exchange(
    stream: &mut TcpStream,
    request: &Request,
    patience: Duration,
) -> Result<Reply, QueueError> {
    let talk = async {
        write(stream, request).await?;
        read::<Reply>(stream).await
    };
    tokio::time::timeout(patience, talk).await.map_err(unreachable)?
}

fn confused<T>() -> Result<T, QueueError> {
    Err(unreachable("the coordinator answered another question"))
}

#[async_trait]
impl WorkerQueue for RemoteQueue {
    async fn claim(&self, shapes: &[Shape], wait: Duration) -> Result<Option<JobEntry>, QueueError> {
        let request = Request::Claim { shapes: shapes.to_vec(), wait_ms: millis(wait) };
        match self.call(request, wait + PATIENCE).await? {
            Reply::Entry(entry) => Ok(entry),
            _ => confused(),
        }
    }

    async fn input(&self, job: JobId) -> Result<Vec<u8>, QueueError> {
        match self.call(Request::Input(job), PATIENCE).await? {
            Reply::Input(bytes) => Ok(bytes),
            _ => confused(),
        }
    }

    async fn emit(&self, event: &WorkerEvent) -> Result<(), QueueError> {
        if let WorkerEvent::Register { worker, registration, .. } = event {
            let again = WorkerEvent::Register {
                worker: worker.clone(),
                registration: registration.clone(),
                fresh: false,
            };
            self.known.lock().unwrap_or_else(PoisonError::into_inner).registration = Some(again);
        }
        // The server waits while the stream of events is full.
        match self.call(Request::Emit(event.clone()), LONGEST_WAIT).await? {
            Reply::Emitted => Ok(()),
            _ => confused(),
        }
    }

    async fn next_control(&self, wait: Duration) -> Result<Option<Control>, QueueError> {
        match self.call(Request::NextControl { wait_ms: millis(wait) }, wait + PATIENCE).await? {
            Reply::Control(control) => Ok(control),
            _ => confused(),
        }
    }

    fn liveness(&self) -> Result<Box<dyn Liveness>, QueueError> {
        let hello = encode(&self.hello())?;
        Ok(Box::new(RemoteLiveness { address: self.address.clone(), hello, stream: None }))
    }
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// Heartbeats over a blocking connection of their own, opened again after a loss.
struct RemoteLiveness {
    address: String,
    hello: Vec<u8>,
    stream: Option<BlockingStream>,
}

impl RemoteLiveness {
    fn connected(&mut self) -> Result<&mut BlockingStream, QueueError> {
        if self.stream.is_none() {
            let mut stream = BlockingStream::connect(&self.address).map_err(unreachable)?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(unreachable)?;
            stream.set_write_timeout(Some(PATIENCE)).map_err(unreachable)?;
            stream.write_all(&self.hello).map_err(unreachable)?;
            read_blocking::<Welcome>(&mut stream)?.map_err(unreachable)?;
            self.stream = Some(stream);
        }
        self.stream.as_mut().ok_or_else(|| unreachable("not connected"))
    }
}

impl Liveness for RemoteLiveness {
    fn beat(&mut self, heartbeat: &WorkerEvent) -> Result<(), QueueError> {
        let frame = encode(&Request::Emit(heartbeat.clone()))?;
        let talk = |stream: &mut BlockingStream| {
            stream.write_all(&frame).map_err(unreachable)?;
            read_blocking::<Reply>(stream)
        };
        let reply = self.connected().and_then(talk);
        if reply.is_err() {
            self.stream = None;
        }
        match reply? {
            Reply::Emitted => Ok(()),
            Reply::Refused(reason) => Err(unreachable(reason)),
            _ => confused(),
        }
    }
}

fn read_blocking<T: DeserializeOwned>(stream: &mut BlockingStream) -> Result<T, QueueError> {
    let mut header = [0u8; 4];
    stream.read_exact(&mut header).map_err(unreachable)?;
    let mut body = vec![0u8; checked_length(header)?];
    stream.read_exact(&mut body).map_err(unreachable)?;
    postcard::from_bytes(&body).map_err(unreachable)
}
