//! A network that passes bytes on until it is told to cut every connection, swallow everything, or lead elsewhere.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU16, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::Notify,
};

pub struct Proxy {
    pub port: u16,
    pub cut: Arc<Notify>,
    silent: Arc<AtomicBool>,
    to: Arc<AtomicU16>,
}

impl Proxy {
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, silent, to) =
            (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU16::new(to)));
        let proxy = Self { port, cut: Arc::clone(&cut), silent: Arc::clone(&silent), to: Arc::clone(&to) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (cut, silent, to) = (Arc::clone(&cut), Arc::clone(&silent), to.load(Ordering::Relaxed));
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    // What is longer than a piece must not wait for an acknowledgement longer than a connection lasts.
                    client.set_nodelay(true).unwrap();
                    server.set_nodelay(true).unwrap();
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::select! {
                        () = pass(from_client, to_server, &silent) => {}
                        () = pass(from_server, to_client, &silent) => {}
                        () = cut.notified() => {}
                    }
                });
            }
        });
        proxy
    }

    pub fn swallow(&self, everything: bool) {
        self.silent.store(everything, Ordering::Relaxed);
    }

    /// New connections go there; open ones stay.
    pub fn lead_to(&self, port: u16) {
        self.to.store(port, Ordering::Relaxed);
    }
}

async fn pass(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, silent: &AtomicBool) {
    let mut piece = [0u8; 4096];
    while let Ok(length) = from.read(&mut piece).await {
        if length == 0 {
            return;
        }
        if !silent.load(Ordering::Relaxed) && to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
