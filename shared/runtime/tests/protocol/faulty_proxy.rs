//! A TCP proxy that injects faults: refused and cut connections, answers that are lost after the
//! request had its effect, HTTP 500 without any effect.

use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What happens to one connection.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Good,
    /// Cut after so many bytes to the server.
    CutRequest(u64),
    /// Everything reaches the server; cut after so many bytes of its answers.
    CutAnswer(u64),
    /// Answered with HTTP 500; nothing reaches the server.
    Refused,
    /// Forwards nothing for a while.
    Slow(Duration),
}

/// Chooses what happens to the next connection.
type Choice = Box<dyn FnMut() -> Outcome + Send>;

/// A proxy in front of one server, until it is dropped.
pub struct FaultyProxy {
    pub address: SocketAddr,
    faulty: Arc<AtomicU64>,
    choice: Arc<Mutex<Choice>>,
    task: JoinHandle<()>,
}

impl FaultyProxy {
    /// To `server`. Of 100 connections `percent` are faulty; `http` ones also by answers of their
    /// own.
    pub async fn to(server: SocketAddr, seed: u64, percent: u64, http: bool) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        Self::choosing(server, Box::new(move || roll(&mut dice, percent, http))).await
    }

    /// To `server`. Every connection is cut after so many bytes of its answers.
    pub async fn cutting_answers(server: SocketAddr, bytes: u64) -> Self {
        Self::choosing(server, Box::new(move || Outcome::CutAnswer(bytes))).await
    }

    async fn choosing(server: SocketAddr, choice: Choice) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (choice, faulty) = (Arc::new(Mutex::new(choice)), Arc::new(AtomicU64::new(0)));
        let (count, chosen) = (faulty.clone(), choice.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let outcome = (chosen.lock().unwrap())();
                if !matches!(outcome, Outcome::Good) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                connections.spawn(carry(client, server, outcome));
            }
        });
        Self {
            address,
            faulty,
            choice,
            task,
        }
    }

    /// From now on every new connection is good.
    pub fn heal(&self) {
        *self.choice.lock().unwrap() = Box::new(|| Outcome::Good);
    }

    /// Connections faulty so far.
    pub fn faulty(&self) -> u64 {
        self.faulty.load(Ordering::Relaxed)
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn roll(dice: &mut StdRng, percent: u64, http: bool) -> Outcome {
    if dice.random_range(0..100) >= percent {
        return Outcome::Good;
    }
    match dice.random_range(0..if http { 4 } else { 3 }) {
        0 => Outcome::CutRequest(dice.random_range(0..20_000)),
        1 => Outcome::CutAnswer(if dice.random_bool(0.5) {
            0
        } else {
            dice.random_range(0..20_000)
        }),
        2 => Outcome::Slow(Duration::from_millis(dice.random_range(0..1_500))),
        _ => Outcome::Refused,
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, outcome: Outcome) {
    if matches!(outcome, Outcome::Refused) {
        let mut head = [0; 512];
        let _ = client.read(&mut head).await;
        let _ = client
            .write_all(
                b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: \
                    close\r\n\r\n",
            )
            .await;
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut up, mut down, mut pause) = (u64::MAX, u64::MAX, Duration::ZERO);
    match outcome {
        Outcome::CutRequest(bytes) => up = bytes,
        Outcome::CutAnswer(bytes) => down = bytes,
        Outcome::Slow(how_long) => pause = how_long,
        Outcome::Good | Outcome::Refused => {}
    }
    // Whichever direction ends first ends both.
    tokio::select! {
        () = pump(&mut from_client, &mut to_server, up, pause) => {}
        () = pump(&mut from_server, &mut to_client, down, Duration::ZERO) => {}
    }
}

/// Copies until `left` bytes have passed, then reads once more, so that what was cut is known to
/// have arrived.
async fn pump(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut left: u64,
    pause: Duration,
) {
    tokio::time::sleep(pause).await;
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read) = from.read(&mut buffer).await {
        let passed = read.min(usize::try_from(left).unwrap_or(usize::MAX));
        if read == 0 || to.write_all(&buffer[..passed]).await.is_err() || passed < read {
            return;
        }
        left -= passed as u64;
    }
}
