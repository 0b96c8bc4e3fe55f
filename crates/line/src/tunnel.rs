//! A port behind a path: Nova's `internal_access_path`.

use std::io;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::consume_budget;

/// Largest head of a response, in bytes.
const HEAD: usize = 4096;

/// Requests the path; returns the size of the request. The guest's bytes follow the response's
/// blank line.
pub(crate) async fn open(tcp: &TcpStream, path: &str) -> io::Result<usize> {
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(io::Error::other("its path cannot be used in a request"));
    }
    let request = format!("CONNECT {path} HTTP/1.1\r\n\r\n");
    let mut left = request.as_bytes();
    while !left.is_empty() {
        tcp.writable().await?;
        match tcp.try_write(left) {
            Ok(length) => left = left.get(length..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    let head = read_head(tcp).await?;
    let mut status =
        head.split(|byte| *byte == b'\r').next().unwrap_or_default().split(|b| *b == b' ');
    match status.nth(1) {
        Some(b"200") => Ok(request.len()),
        _ => Err(io::Error::other("it does not accept the path that Nova gives")),
    }
}

/// Reads up to the blank line byte by byte, since the following bytes are the guest's.
async fn read_head(tcp: &TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD {
            return Err(io::Error::other("its response has no end"));
        }
        consume_budget().await;
        let mut byte = [0];
        tcp.ready(Interest::READABLE).await?;
        match tcp.try_read(&mut byte) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => head.extend(byte),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(head)
}
