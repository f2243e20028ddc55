//! The servers behind ext_authz and ext_proc, and the load, of `tests/bench/request.py`.
//!
//! ```text
//! peers authz CUSTOMERS COUNTRIES   a line a customer: key, id, profile; restricted countries
//! peers proc CUSTOMERS COUNTRIES
//! peers load PORT COUNT REQUESTS    sends the requests of the file in turn; all get a 200
//! ```
//!
//! The servers are as fast as such a server can be, so that the comparison is fair: each answer is
//! made before the first request, HTTP/2 is read only as far as Envoy writes it, and a connection
//! has a thread that waits for nothing else. Envoy has one connection for each of its workers.

mod load;
mod proto;

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::{env, fs, io, process, thread};

use proto::{Service, header_values};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
/// What Envoy may send on a connection before it hears of it again (RFC 9113, section 6.9).
const WINDOW: u32 = 0x3fff_ffff;
/// `:status: 200` and `content-type: application/grpc`, then `grpc-status: 0`, in HPACK
/// (RFC 7541), without its dynamic table.
const BEGIN: &[u8] = b"\x88\x0f\x10\x10application/grpc";
const END: &[u8] = b"\x00\x0bgrpc-status\x010";

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["load", port, count, requests] => load::run(port, count, requests),
        ["authz", customers, countries] => serve(Service::Authz, customers, countries),
        ["proc", customers, countries] => serve(Service::Proc, customers, countries),
        _ => Err(io::Error::other("peers: unknown arguments")),
    };
    if let Err(error) = done {
        eprintln!("peers: {error}");
        process::exit(1);
    }
}

/// All answers, as the frames of a stream.
struct Answers {
    service: Service,
    /// The frames of each key
    customers: HashMap<Vec<u8>, Vec<u8>>,
    restricted: HashSet<Vec<u8>>,
    unknown: Vec<u8>,
    refused: Vec<u8>,
}

/// Says its port, then serves until it is ended.
fn serve(service: Service, customers: &str, countries: &str) -> io::Result<()> {
    let customers = fs::read_to_string(customers)?;
    let rows = customers.lines().filter_map(|line| {
        let mut parts = line.split(' ');
        Some((parts.next()?, parts.next()?, parts.next()?))
    });
    let answers: &'static Answers = Box::leak(Box::new(Answers {
        service,
        customers: rows
            .map(|(key, id, profile)| (key.into(), frames(&service.allow(id, profile))))
            .collect(),
        restricted: countries.split(' ').map(|country| country.as_bytes().to_vec()).collect(),
        unknown: frames(&service.refuse(401, "unknown key\n")),
        refused: frames(&service.refuse(403, "restricted country\n")),
    }));
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?.port());
    for connection in listener.incoming() {
        let connection = connection?;
        thread::spawn(move || {
            if let Err(error) = converse(connection, answers) {
                eprintln!("peers: {error}");
            }
        });
    }
    Ok(())
}

fn converse(mut connection: TcpStream, answers: &Answers) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut preface = [0; PREFACE.len()];
    connection.read_exact(&mut preface)?;
    if preface != PREFACE {
        return Err(io::Error::other("not HTTP/2"));
    }
    let mut out = frame(SETTINGS, 0, 0, &[]);
    out.extend(frame(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes()));
    let mut buffer = vec![0; 1 << 16];
    let (mut filled, mut received) = (0, 0_u32);
    loop {
        connection.write_all(&out)?;
        out.clear();
        let read = connection.read(&mut buffer[filled..])?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut at = 0;
        while let Some(header) = buffer[..filled].get(at..at + FRAME_HEADER) {
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let (kind, flags) = (header[3], header[4]);
            let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            let begin = at + FRAME_HEADER;
            let Some(payload) = buffer[..filled].get(begin..begin + length) else { break };
            at = begin + length;
            match kind {
                DATA => {
                    received += payload.len() as u32;
                    if flags & PADDED != 0 {
                        return Err(io::Error::other("a padded frame"));
                    }
                    // ext_proc ends its half of the stream by an empty frame
                    if !payload.is_empty() {
                        answer(answers, payload, stream, &mut out)?;
                    }
                }
                SETTINGS if flags & ACK == 0 => out.extend(frame(SETTINGS, ACK, 0, &[])),
                PING if flags & ACK == 0 => out.extend(frame(PING, ACK, 0, payload)),
                GOAWAY => return Ok(()),
                _ => {}
            }
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        if received > WINDOW / 2 {
            out.extend(frame(WINDOW_UPDATE, 0, 0, &received.to_be_bytes()));
            received = 0;
        }
    }
}

/// Envoy sends a message as one frame: a byte, four bytes of length, and the message.
fn answer(answers: &Answers, data: &[u8], stream: u32, out: &mut Vec<u8>) -> io::Result<()> {
    let message = data.get(5..).unwrap_or_default();
    let length = data.get(1..5).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes);
    if length.map(|length| length as usize) != Some(message.len()) {
        return Err(io::Error::other("a message in several frames"));
    }
    let (mut key, mut country) = (None, None);
    for (name, value) in header_values(answers.service, message) {
        match name {
            b"x-api-key" => key = Some(value),
            b"x-geo-country" => country = Some(value),
            _ => {}
        }
    }
    let known = key.and_then(|key| answers.customers.get(key));
    let frames = match (known, country) {
        (None, _) => &answers.unknown,
        (_, Some(country)) if answers.restricted.contains(country) => &answers.refused,
        (_, None) => &answers.refused,
        (Some(frames), Some(_)) => frames,
    };
    let begin = out.len();
    out.extend(frames);
    // the number of the stream goes into each frame
    let mut at = begin;
    while let Some(header) = out.get_mut(at..at + FRAME_HEADER) {
        header[5..].copy_from_slice(&stream.to_be_bytes());
        at += FRAME_HEADER + u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
    }
    Ok(())
}

/// An answer's frames, for the stream 0.
fn frames(message: &[u8]) -> Vec<u8> {
    let mut data = vec![0];
    data.extend((message.len() as u32).to_be_bytes());
    data.extend(message);
    [
        frame(HEADERS, END_HEADERS, 0, BEGIN),
        frame(DATA, 0, 0, &data),
        frame(HEADERS, END_HEADERS | END_STREAM, 0, END),
    ]
    .concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}
