//! Peers that say what no library would.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::soon;

/// Kinds of frames of HTTP/2, and their flags.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Why a call or a connection is ended.
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a peer receives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) call: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Why it ends a call, or the connection.
    pub(crate) fn reason(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, call: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(call.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The headers of a call, each written out, as HPACK allows it.
pub(crate) fn call_headers(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut block = Vec::new();
    for (name, value) in usual.iter().chain(more) {
        block.push(0);
        for text in [name, value] {
            // A length of up to 126 is one byte; a larger one goes on in groups of seven bits.
            if let Some(length) = u8::try_from(text.len()).ok().filter(|length| *length < 127) {
                block.push(length);
            } else {
                let mut rest = text.len() - 127;
                block.push(127);
                while rest >= 128 {
                    block.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                block.push(u8::try_from(rest).unwrap());
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A message as gRPC frames it.
pub(crate) fn message(encoded: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(encoded.len()).unwrap().to_be_bytes());
    bytes.extend(encoded);
    bytes
}

/// A connection that is written by hand.
pub(crate) struct Peer {
    pub(crate) socket: TcpStream,
}

impl Peer {
    /// One that has said nothing yet.
    pub(crate) async fn silent(address: SocketAddr) -> Self {
        Self { socket: TcpStream::connect(address).await.unwrap() }
    }

    /// One that speaks HTTP/2, and lets so many bytes of each answer come before it says more.
    pub(crate) async fn with_window(address: SocketAddr, window: u32) -> Self {
        let mut peer = Self::silent(address).await;
        let mut setting = vec![0, 4];
        setting.extend(window.to_be_bytes());
        peer.write(&[PREFACE.to_vec(), frame(SETTINGS, 0, 0, &setting)].concat()).await;
        peer
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        soon(self.socket.write_all(bytes)).await.unwrap();
    }

    /// Writes what the server may no longer take.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        soon(self.socket.write_all(bytes)).await.is_ok()
    }

    /// Begins a call.
    pub(crate) async fn begin(&mut self, call: u32, path: &str) {
        self.write(&frame(HEADERS, END_HEADERS, call, &call_headers(path, &[]))).await;
    }

    /// Makes a call with one message.
    pub(crate) async fn ask(&mut self, call: u32, path: &str, encoded: &[u8]) {
        self.begin(call, path).await;
        self.write(&frame(DATA, END_STREAM, call, &message(encoded))).await;
    }

    /// What comes next; none when the server has let go of it.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        soon(self.socket.read_exact(&mut head)).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        soon(self.socket.read_exact(&mut payload)).await.ok()?;
        let call = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some(Frame { kind: head[3], flags: head[4], call, payload })
    }

    /// The next frame of a kind; none when the server has let go of it.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Waits until it may send more than what every connection begins with.
    pub(crate) async fn is_given_room(&mut self) {
        assert!(self.next_of(WINDOW_UPDATE).await.is_some());
        self.write(&frame(SETTINGS, ACK, 0, &[])).await;
    }

    /// Whether the server lets go of it, whatever it says before.
    pub(crate) async fn is_let_go(&mut self) -> bool {
        let mut taken = [0; 4096];
        while soon(self.socket.read(&mut taken)).await.is_ok_and(|count| count > 0) {}
        true
    }
}
