//! The HTTP server of the store.

use crate::{Folder, Policy, access::Guard, s3::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::service::S3ServiceBuilder;
use std::{io, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// After a connection that could not be accepted; doubled with each further one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Serves the folder to the identities of a policy (or to one key pair) until the future is
/// dropped. A put that is interrupted by this leaves no object.
///
/// # Errors
/// None at present: failures to accept a connection are logged and retried.
pub async fn serve(
    folder: Folder,
    policy: impl Into<Policy>,
    listener: TcpListener,
) -> io::Result<()> {
    let guard = Guard(Arc::new(policy.into()));
    let mut builder = S3ServiceBuilder::new(Service(Arc::new(folder)));
    builder.set_auth(guard.clone());
    builder.set_access(guard);
    let service = builder.build();
    let http = Builder::new(TokioExecutor::new());
    let mut connections = tokio::task::JoinSet::new();
    let mut pause = SHORTEST_PAUSE;
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    pause = SHORTEST_PAUSE;
                    socket
                }
                Err(error) => {
                    // Too many open files or an aborted connection: a later accept may succeed.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(pause).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        // Without TCP_NODELAY small responses wait for the client's delayed acknowledgement.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let connection = http
            .serve_connection(TokioIo::new(socket), service.clone())
            .into_owned();
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}
