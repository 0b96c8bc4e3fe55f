//! The network between a client and the proxy, which a test can break.

use std::pin::pin;

use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::eventually;

/// Forwards TCP connections from one port of this machine to another, until it is dropped.
#[derive(Debug)]
pub struct Network {
    /// `127.0.0.1:P`, for clients.
    pub near: String,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// How often all connections were broken.
    cuts: u64,
    way: Way,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Open,
    /// Connections are refused.
    Refused,
    /// Connections stay open, but nothing passes.
    Silent,
}

impl Network {
    /// Forwards from one port to the other.
    pub async fn new(from: u16, to: u16) -> Self {
        let near = format!("127.0.0.1:{from}");
        let state = watch::Sender::new(State { cuts: 0, way: Way::Open });
        let listener = TcpListener::bind(&near).await.unwrap();
        let accepting = tokio::spawn(accept(listener, to, state.subscribe()));
        Self { near, state, accepting }
    }

    /// Breaks every connection; new ones are forwarded at once.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Breaks every connection and refuses new ones until [`Network::mend`].
    pub fn refuse(&self) {
        self.state.send_modify(|state| {
            state.cuts += 1;
            state.way = Way::Refused;
        });
    }

    /// Passes nothing in either direction and ends no connection, like a pulled cable.
    pub fn fall_silent(&self) {
        self.state.send_modify(|state| state.way = Way::Silent);
    }

    /// Forwards again.
    pub async fn mend(&self) {
        self.state.send_modify(|state| state.way = Way::Open);
        eventually(async || TcpStream::connect(&self.near).await.ok()).await;
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(mut listener: TcpListener, to: u16, mut state: watch::Receiver<State>) {
    let near = listener.local_addr().unwrap();
    loop {
        let connections = state.clone();
        tokio::select! {
            () = carry_all(listener, to, connections) => {}
            () = refusal(&mut state, true) => {}
        }
        refusal(&mut state, false).await;
        listener = TcpListener::bind(near).await.unwrap();
    }
}

/// Waits until new connections are refused, or accepted again.
async fn refusal(state: &mut watch::Receiver<State>, refused: bool) {
    state.wait_for(|state| (state.way == Way::Refused) == refused).await.unwrap();
}

async fn carry_all(listener: TcpListener, to: u16, state: watch::Receiver<State>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        tokio::spawn(carry(client, to, state.clone()));
    }
}

async fn carry(mut client: TcpStream, to: u16, mut state: watch::Receiver<State>) {
    let cuts = state.borrow().cuts;
    let mut proxy = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
    client.set_nodelay(true).unwrap();
    proxy.set_nodelay(true).unwrap();
    let mut carrying = pin!(copy_bidirectional(&mut client, &mut proxy));
    loop {
        let now = *state.borrow_and_update();
        if now.cuts != cuts {
            return;
        }
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            // This also ends when either side is killed.
            _ = &mut carrying, if now.way == Way::Open => return,
        }
    }
}
