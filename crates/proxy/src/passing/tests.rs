mod ends;
mod hostile;
mod users;

use std::future::pending;
use std::sync::Arc;

use super::rig::Cluster;
use super::rig::answer;

const V1: &str = "Sec-WebSocket-Protocol: console.v1\r\n";

/// A cluster whose host answers each request with this text, and keeps the connection open.
async fn answering(text: &'static [u8]) -> Arc<Cluster> {
    Cluster::of(move |mut stream| async move {
        answer(&mut stream, text).await;
        pending().await
    })
    .await
}
