//! Sends requests over HTTP/1.1 and waits for their answers: h2load can't give each request
//! headers of its own.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::{fs, str};

const CONNECTIONS: usize = 4;
const END: &[u8] = b"\r\n\r\n";

/// Sends so many requests, each of the file in turn. One is under way on each connection.
pub fn run(port: &str, count: &str, requests: &str) -> io::Result<()> {
    let number = |text: &str| text.parse::<u32>().map_err(io::Error::other);
    let port = u16::try_from(number(port)?).map_err(io::Error::other)?;
    let count = number(count)? as usize;
    let requests = fs::read(requests)?;
    let requests: Vec<&[u8]> = split(&requests);
    let mut connections: Vec<Connection> = (0..CONNECTIONS)
        .map(|_| {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            Ok(Connection { stream, buffer: vec![0; 1 << 16], is_waiting: false })
        })
        .collect::<io::Result<_>>()?;
    let turns = requests.iter().cycle().take(count).enumerate();
    for (turn, request) in turns {
        let connection = &mut connections[turn % CONNECTIONS];
        connection.receive()?;
        connection.stream.write_all(request)?;
        connection.is_waiting = true;
    }
    connections.iter_mut().try_for_each(Connection::receive)
}

/// The requests have no body.
fn split(requests: &[u8]) -> Vec<&[u8]> {
    let mut rest = requests;
    let mut found = Vec::new();
    while let Some(end) = rest.windows(END.len()).position(|four| four == END) {
        let (request, after) = rest.split_at(end + END.len());
        found.push(request);
        rest = after;
    }
    found
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    is_waiting: bool,
}

impl Connection {
    /// Waits for the answer to the request that is under way. It has to be a 200 with a length.
    fn receive(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.is_waiting) {
            return Ok(());
        }
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            if read == 0 {
                return Err(io::Error::other("the connection was closed"));
            }
            filled += read;
            let answer = &self.buffer[..filled];
            let Some(head) = answer.windows(END.len()).position(|four| four == END) else {
                continue;
            };
            let text = str::from_utf8(&answer[..head]).map_err(io::Error::other)?;
            if !text.starts_with("HTTP/1.1 200 ") {
                return Err(io::Error::other(format!("expected a 200, found:\n{text}")));
            }
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.and_then(|length| length.parse::<usize>().ok());
            let length = length.ok_or_else(|| io::Error::other("no content-length"))?;
            if filled == head + END.len() + length {
                return Ok(());
            }
        }
    }
}
