//! HTTP as far as the tests need it: one GET.

use anyhow::{Context, Result};
use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
};

/// Status and body of what a server answers to a GET, which has the name `localhost`.
///
/// # Errors
/// When nobody listens at the address, or the answer is none of HTTP.
pub fn get(address: impl ToSocketAddrs, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).context("connect")?;
    // Of this version an answer comes in one piece and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("no answer of HTTP: {answer}"))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.with_context(|| format!("no status in {head}"))?;
    Ok((status, body.to_owned()))
}
