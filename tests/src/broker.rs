//! A plain client of a system's broker, for what the programs themselves never do: NATS' own
//! protocol over a socket.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// Where answers arrive; permissions name the first part.
const INBOX: &str = "_INBOX_coordinator.plain";

/// A message with its headers as they are sent, without those of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its subject.
    pub subject: String,
    /// Lines `name: value`, each with its line break.
    pub headers: String,
    /// Its content.
    pub payload: Vec<u8>,
}

/// A connection as `coordinator`, who may do everything.
pub struct Broker(BufReader<TcpStream>);

impl Broker {
    /// Connects, waiting for a server that has just started.
    ///
    /// # Errors
    /// When there is none within ten seconds, or it refuses.
    pub fn connect(port: u16, password: &str) -> Result<Self> {
        let end = Instant::now() + Duration::from_secs(10);
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break stream,
                Err(error) => ensure!(Instant::now() < end, "no broker: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20)); // a port can only be polled
        };
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut broker = Self(BufReader::new(stream));
        let login =
            json!({"user": "coordinator", "pass": password, "verbose": false, "headers": true});
        broker.send(format!("CONNECT {login}\r\nSUB {INBOX} 1\r\n").as_bytes())?;
        Ok(broker)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.get_mut().write_all(bytes)?)
    }

    /// The next message, which is an answer.
    fn receive(&mut self) -> Result<Message> {
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line)? > 0, "the broker hung up");
            let words: Vec<&str> = line.split_whitespace().collect();
            let (head, all) = match (words.first(), words.last()) {
                (Some(&"PING"), _) => {
                    self.send(b"PONG\r\n")?;
                    continue;
                }
                (Some(&"-ERR"), _) => bail!("the broker refuses: {line}"),
                (Some(&"MSG"), Some(all)) => (0, all.parse::<usize>()?),
                (Some(&"HMSG"), Some(all)) => {
                    (words[words.len() - 2].parse::<usize>()?, all.parse()?)
                }
                _ => continue,
            };
            let mut bytes = vec![0; all + 2];
            self.0.read_exact(&mut bytes)?;
            bytes.truncate(all);
            let payload = bytes.split_off(head);
            return Ok(Message {
                subject: words[1].to_owned(),
                headers: String::from_utf8(bytes)?,
                payload,
            });
        }
    }

    /// Publishes a message to a stream, and waits until it is stored.
    ///
    /// # Errors
    /// When no stream stores it.
    pub fn publish(&mut self, message: &Message) -> Result<()> {
        let Message {
            subject,
            headers,
            payload,
        } = message;
        let head = format!("NATS/1.0\r\n{headers}\r\n");
        let all = head.len() + payload.len();
        let line = format!("HPUB {subject} {INBOX} {} {all}\r\n{head}", head.len());
        self.send(&[line.as_bytes(), payload, b"\r\n"].concat())?;
        let answer: Value = serde_json::from_slice(&self.receive()?.payload)
            .with_context(|| format!("no stream stores `{subject}`"))?;
        ensure!(answer["error"].is_null(), "{subject}: {answer}");
        Ok(())
    }

    /// A request to JetStream, and its answer.
    ///
    /// # Errors
    /// When there is no answer, or it is an error.
    pub fn jetstream(&mut self, request: &str, body: &Value) -> Result<Value> {
        let answer = self.ask(request, body)?.payload;
        let answer: Value = serde_json::from_slice(&answer).context(request.to_owned())?;
        ensure!(answer["error"].is_null(), "{request}: {answer}");
        Ok(answer)
    }

    fn ask(&mut self, request: &str, body: &Value) -> Result<Message> {
        let body = body.to_string();
        let line = format!("PUB $JS.API.{request} {INBOX} {}\r\n{body}\r\n", body.len());
        self.send(line.as_bytes())?;
        self.receive()
    }

    /// Names of all streams.
    ///
    /// # Errors
    /// When JetStream does not answer.
    pub fn streams(&mut self) -> Result<Vec<String>> {
        let answer = self.jetstream("STREAM.NAMES", &json!({}))?;
        let names = answer["streams"].as_array().cloned().unwrap_or_default();
        let names = names.iter().filter_map(Value::as_str);
        Ok(names.map(str::to_owned).collect())
    }

    /// Everything that a stream holds, oldest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn messages(&mut self, stream: &str) -> Result<Vec<Message>> {
        let (mut found, mut next) = (Vec::new(), 1_u64);
        loop {
            let body = json!({"seq": next, "next_by_subj": ">"});
            let answer = self.ask(&format!("DIRECT.GET.{stream}"), &body)?;
            let header = |name: &str| {
                let mut lines = answer.headers.lines();
                lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            let Some(subject) = header("Nats-Subject") else {
                ensure!(answer.headers.contains(" 404"), "{answer:?}");
                return Ok(found);
            };
            let sequence: u64 = header("Nats-Sequence").context("no sequence")?.parse()?;
            let own = answer.headers.lines().skip(1);
            let own = own.filter(|line| !line.is_empty() && !line.starts_with("Nats-"));
            found.push(Message {
                subject: subject.to_owned(),
                headers: own.map(|line| format!("{line}\r\n")).collect(),
                payload: answer.payload.clone(),
            });
            next = sequence + 1;
        }
    }
}
