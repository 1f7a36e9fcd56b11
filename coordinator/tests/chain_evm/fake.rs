//! A server that answers JSON-RPC as a test tells it to, to see what the adapter makes of nodes that misbehave.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use coordinator::chain::evm::{EvmChain, EvmSettings};
use l1::{
    contract::{Word, calls},
    http::HttpLimits,
    node::AccountKey,
    rpc::{Client, Refusal, RpcError},
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use testbed::chain::hex_of;
use tokio::runtime::Builder;

pub enum Reply {
    Result(Value),
    Error(i64, &'static str),
    /// HTTP status and the whole object of the error.
    ErrorWith(u16, Value),
    /// HTTP status and body, made with the id of the request.
    With(Box<dyn FnOnce(&Value) -> (u16, Vec<u8>) + Send>),
    /// HTTP status and body as they are.
    Raw(u16, Vec<u8>),
    /// Nothing, for so long.
    Silence(Duration),
}

pub struct Fake {
    pub url: String,
    pub requests: Arc<AtomicUsize>,
}

impl Fake {
    /// Answers each request by its method and parameters, until the test ends.
    pub fn start(answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(None, answer)
    }

    /// The same behind TLS, at a `https://localhost` address.
    pub fn start_tls(
        config: Arc<ServerConfig>,
        answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(config), answer)
    }

    fn listen(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let url = match tls {
            Some(_) => format!("https://localhost:{}/key", address.port()),
            None => format!("http://{address}/key"),
        };
        let (answer, requests) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, answer, counter) = (tls.clone(), Arc::clone(&answer), Arc::clone(&counter));
                std::thread::spawn(move || match tls {
                    Some(config) => {
                        let session = ServerConnection::new(config).unwrap();
                        serve(StreamOwned::new(session, stream), &*answer, &counter);
                    }
                    None => serve(stream, &*answer, &counter),
                });
            }
        });
        Self { url, requests }
    }

    /// A node with a Proofmill contract at the address 0x11…, at block 100, that answers all else as told.
    pub fn with_contract(answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(move |method, params| match of_contract(method, params) {
            Some(result) => Reply::Result(result),
            None => answer(method, params),
        })
    }

    /// In front of a node: what `rule` does not answer goes on to it.
    pub fn before(node: &str, rule: impl Fn(&str, &Value) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let node = Client::new(&node.into(), HttpLimits::default()).unwrap();
        // Of its own: answers are given on threads, outside the test's.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self::start(move |method, params| {
            rule(method, params).unwrap_or_else(|| runtime.block_on(ask(&node, method, params)))
        })
    }

    pub fn settings(&self) -> EvmSettings {
        EvmSettings::new(&self.url, CONTRACT, 1)
    }

    pub async fn connect(&self) -> EvmChain {
        EvmChain::connect(self.settings(), key()).await.unwrap()
    }
}

/// What is asked of a node when a coordinator connects to the contract at 0x11….
pub fn of_contract(method: &str, params: &Value) -> Option<Value> {
    Some(match (method, params[0]["data"].as_str()) {
        ("eth_chainId", _) => json!("0x7a69"),
        ("eth_getBlockByNumber", _) if params[0] == "latest" => {
            json!({"number": "0x64", "hash": hex_of([1; 32]), "timestamp": "0x1"})
        }
        ("eth_call", Some(data)) if data == hex_of(calls::domain()) => {
            json!(hex_of(calls::word(&l1::contract::data::domain(31_337, &CONTRACT))))
        }
        ("eth_call", Some(data)) if data == hex_of(calls::operator()) => {
            let mut word: Word = [0; 32];
            word[12..].copy_from_slice(&key().address());
            json!(hex_of(word))
        }
        ("eth_call", Some(data)) if data == hex_of(calls::quantum()) => {
            json!(format!("0x{:064x}", 1_000_000_000))
        }
        _ => return None,
    })
}

/// The node's own answer.
async fn ask(node: &Client, method: &str, params: &Value) -> Reply {
    match node.call(method, params).await {
        Ok(result) => Reply::Result(result),
        Err(RpcError::Refused(Refusal { code, message, data })) => {
            Reply::ErrorWith(200, json!({"code": code, "message": message, "data": data}))
        }
        Err(error) => panic!("the node does not answer: {error}"),
    }
}

pub const CONTRACT: [u8; 20] = [0x11; 20];

pub fn key() -> AccountKey {
    AccountKey::from_bytes(&[7; 32]).unwrap()
}

fn serve(mut stream: impl Read + Write, answer: &dyn Fn(&str, &Value) -> Reply, counter: &AtomicUsize) {
    while let Some(body) = request(&mut stream) {
        counter.fetch_add(1, Ordering::SeqCst);
        let method = body["method"].as_str().unwrap_or_default();
        let told = |part: &str, value: Value| {
            json!({"jsonrpc": "2.0", "id": body["id"], part: value}).to_string().into_bytes()
        };
        let (status, reply) = match answer(method, &body["params"]) {
            Reply::Result(result) => (200, told("result", result)),
            Reply::Error(code, message) => (200, told("error", json!({"code": code, "message": message}))),
            Reply::ErrorWith(status, error) => (status, told("error", error)),
            Reply::Raw(status, bytes) => (status, bytes),
            Reply::With(make) => make(&body["id"]),
            Reply::Silence(time) => {
                std::thread::sleep(time);
                return;
            }
        };
        // In one piece: the second of two would wait for the acknowledgement of the first.
        let mut answer =
            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", reply.len()).into_bytes();
        answer.extend(reply);
        if stream.write_all(&answer).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

fn request(stream: &mut impl Read) -> Option<Value> {
    let mut bytes = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length: usize =
                head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
            let body = &bytes[end + 4..];
            if body.len() >= length {
                return serde_json::from_slice(body).ok();
            }
        }
        let read = stream.read(&mut buffer).ok().filter(|&read| read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
    }
}
