//! A network that can be cut: a TCP proxy between one process and one service.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Up,
    /// Connections are cut, new ones too.
    Cut,
    /// Connections stay, nothing arrives: nobody is told.
    Silent,
}

pub struct Proxy {
    port: u16,
    network: Arc<watch::Sender<Network>>,
}

impl Proxy {
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Arc::new(watch::Sender::new(Network::Up));
        let served = Arc::clone(&network);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *served.borrow() != Network::Cut {
                    tokio::spawn(serve(near, target, served.subscribe()));
                }
            }
        });
        Self { port, network }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn serve(near: TcpStream, target: u16, network: watch::Receiver<Network>) {
    let mut waiting = network.clone();
    if waiting.wait_for(|network| *network != Network::Silent).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    // Latency that the test would add is not what is tested.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let mut cut = network.clone();
    tokio::select! {
        () = copy(near_in, far_out, network.clone()) => {}
        () = copy(far_in, near_out, network) => {}
        _ = cut.wait_for(|network| *network == Network::Cut) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut network: watch::Receiver<Network>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        if network.wait_for(|network| *network != Network::Silent).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
