//! Hosts that send what they should not, and users who guess tokens and keys.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serialproxy_e2e::eventually;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::yield_now;

use super::V1;
use super::answering;
use crate::passing::ANSWER;
use crate::passing::rig::Client;
use crate::passing::rig::Cluster;
use crate::passing::rig::Rig;
use crate::passing::rig::answer;

async fn refusal(cluster: &Arc<Cluster>) -> String {
    let front = cluster.front().await;
    Client::open(front.at, "?token=t", "").await.1
}

#[tokio::test]
async fn a_host_that_answers_nonsense_or_too_much_is_as_good_as_lost() {
    let long: &'static [u8] =
        [b"HTTP/1.1 409 Conflict\r\nx: ".as_slice(), &[b'a'; 64 * 1024]].concat().leak();
    let large: &'static [u8] =
        [b"HTTP/1.1 409 Conflict\r\n\r\n".as_slice(), &[b'a'; 300 * 1024]].concat().leak();
    let many = [b"HTTP/1.1 409 Conflict\r\n".as_slice(), &b"a: b\r\n".repeat(1000)].concat();
    for text in [b"\x16\x03nonsense\r\n\r\n".as_slice(), long, large, many.leak()] {
        let head = refusal(&answering(text).await).await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(head.contains("x-console-cause: host_lost\r\n"), "{head}");
    }
}

#[tokio::test]
async fn a_host_that_only_goes_on_promising_is_as_good_as_lost() {
    let cluster = Cluster::of(async |mut stream| {
        answer(&mut stream, b"").await;
        tokio::time::pause();
        tokio::time::advance(2 * ANSWER).await;
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_ok() {
            yield_now().await;
        }
    });
    let head = refusal(&cluster.await).await;
    assert!(head.contains("x-console-cause: host_lost\r\n"), "{head}");
}

#[tokio::test]
async fn what_a_host_says_cannot_act_on_pages_of_the_proxy() {
    let text =
        b"HTTP/1.1 409 Conflict\r\nSet-Cookie: token=mine\r\nLocation: http://evil.example\r\n\
        Refresh: 0\r\nX-Console-Cause: busy\r\nContent-Length: 0\r\n\r\n";
    let head = refusal(&answering(text).await).await;
    assert!(head.contains("x-console-cause: busy\r\n"), "{head}");
    for name in ["cookie", "location", "refresh"] {
        assert!(!head.contains(name), "{head}");
    }
}

#[tokio::test]
async fn wrong_tokens_that_a_host_refuses_count_for_the_user_s_address() {
    let rig = Rig::new().await;
    let front = rig.cluster.front_with(|config| config.limits.failures_per_minute = 2).await;
    let wrong = || Client::open(front.at, "?token=wrong", "");
    for _ in 0..2 {
        assert!(wrong().await.1.starts_with("HTTP/1.1 401 "));
    }
    let delayed = tokio::time::timeout(Duration::from_millis(500), wrong()).await;
    assert!(delayed.is_err());
}

#[tokio::test]
async fn wrong_resume_keys_count_for_the_user_s_address_until_no_host_is_asked_for_them() {
    let rig = Rig::new().await;
    let key = format!("{}.0.{}", rig.line.key().server, "x".repeat(43));
    let resume = format!("?resume={key}");
    let asked = || rig.cluster.sought.lock().unwrap().len();
    let front = rig.cluster.front_with(|config| config.limits.failures_per_minute = 2).await;
    let wrong = || async { Client::open(front.at, &resume, V1).await.0.closed().await };
    for _ in 0..2 {
        assert_eq!(wrong().await, 4001);
    }
    assert_eq!(asked(), 2);
    // The answer to the third is delayed.
    let half = Duration::from_millis(500);
    let mut third = pin!(wrong());
    assert!(tokio::time::timeout(half, &mut third).await.is_err());
    tokio::select! {
        code = &mut third => panic!("{code} without a delay"),
        () = eventually(async || (asked() == 3).then_some(())) => {}
    }
    // No host is asked for the next one, once the refusal of the third has arrived.
    eventually(async || {
        let before = asked();
        assert!(tokio::time::timeout(half, wrong()).await.is_err());
        (asked() == before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn wrong_keys_for_a_history_count_as_well() {
    let rig = Rig::new().await;
    let key = format!("{}.0.{}", rig.line.key().server, "x".repeat(43));
    let front = rig.cluster.front_with(|config| config.limits.failures_per_minute = 1).await;
    let fetch = async || {
        let mut stream = TcpStream::connect(front.at).await.unwrap();
        let request = format!(
            "GET /history HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Console-Resume: {key}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    assert!(fetch().await.starts_with("HTTP/1.1 401 "));
    assert!(tokio::time::timeout(Duration::from_millis(500), fetch()).await.is_err());
}
