use std::sync::Arc;
use std::task::Wake;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test]
async fn who_waited_to_read_a_connection_is_let_go_of() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut stream = Stream::Plain(listener.accept().await.unwrap().0);
    let task = Arc::new(Task);
    let waker = Waker::from(Arc::clone(&task));
    let mut buffer = [0; 1];
    let read = Pin::new(&mut stream)
        .poll_read(&mut Context::from_waker(&waker), &mut ReadBuf::new(&mut buffer));
    assert!(read.is_pending());
    drop(waker);
    assert_eq!(Arc::strong_count(&task), 2, "the connection keeps it");
    stream.forget_reader();
    assert_eq!(Arc::strong_count(&task), 1);
}

/// Both ends of a connection with TLS.
async fn pair() -> [Stream; 2] {
    let pair = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der());
    let cert = pair.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let server = ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![cert], key.into()).unwrap();
    let name = ServerName::try_from("a").unwrap();
    let client = ClientConnection::new(Arc::new(client), name).unwrap();
    let server = ServerConnection::new(Arc::new(server)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (near, far) = tokio::join!(Stream::shake_hands(tcp, client), async {
        Stream::shake_hands(listener.accept().await.unwrap().0, server).await
    });
    [near.unwrap(), far.unwrap()]
}

fn change_key(stream: &mut Stream) {
    if let Stream::Tls(secure) = stream {
        secure.tls.refresh_traffic_keys().unwrap();
    }
}

#[tokio::test]
async fn what_is_written_is_read_with_buffers_of_any_size_up_to_the_end() {
    let [mut near, mut far] = pair().await;
    let bytes: Vec<u8> =
        (0..3_000_000_u32).map(|at| at.wrapping_mul(0x9e37_79b1).to_be_bytes()[0]).collect();
    let wanted = bytes.clone();
    let writes = tokio::spawn(async move {
        for piece in bytes.chunks(77_777) {
            near.write_all(piece).await.unwrap();
            change_key(&mut near);
        }
        while !near.try_end().unwrap() {
            near.tcp().writable().await.unwrap();
        }
        near
    });
    let mut read: Vec<u8> = Vec::new();
    for size in [1, 100, 4096, 20_000, 24_000, 65_536, 200_000].into_iter().cycle() {
        let mut buffer = vec![0; size];
        match far.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => read.extend(&buffer[..length]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                if !far.has_more() {
                    far.tcp().readable().await.unwrap();
                }
            }
        }
    }
    assert!(read == wanted);
    // The other direction goes on.
    let mut near = writes.await.unwrap();
    far.write_all(b"bye").await.unwrap();
    drop(far);
    let mut rest = Vec::new();
    near.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"bye");
}

#[test]
fn without_tls_a_connection_takes_no_more_room_than_tcp() {
    assert_eq!(size_of::<Stream>(), size_of::<TcpStream>());
}
