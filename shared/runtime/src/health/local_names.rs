//! Requests under a foreign name. A web page can have its own name resolve to this machine (DNS
//! rebinding) and let a visitor's browser read what listens on loopback; the browser then sends
//! that name in `Host`. An endpoint on loopback answers for local names only. One that is bound to
//! another address is meant to be reached by names that are not known here.

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header::HOST, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::net::IpAddr;

/// Passes a request on if its `Host` is absent or names this machine's loopback; else 421.
pub(super) async fn require(request: Request, next: Next) -> Response {
    match request.headers().get(HOST) {
        Some(host) if !is_local(host) => (
            StatusCode::MISDIRECTED_REQUEST,
            "this endpoint listens on loopback: expected localhost or a loopback address as Host\n",
        )
            .into_response(),
        _ => next.run(request).await,
    }
}

fn is_local(host: &HeaderValue) -> bool {
    let Some(authority) = host
        .to_str()
        .ok()
        .and_then(|text| text.parse::<Authority>().ok())
    else {
        return false;
    };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_alone_is_local() {
        for (host, expect) in [
            ("localhost", true),
            ("LocalHost:9102", true),
            ("127.0.0.1:9102", true),
            ("127.8.9.1", true),
            ("[::1]:9102", true),
            ("attacker.example", false),
            ("attacker.example:9102", false),
            ("localhost.attacker.example", false),
            ("127.0.0.1.attacker.example", false),
            ("10.0.0.7:9102", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(host);
            assert_eq!(is_local(&value), expect, "{host}");
        }
    }
}
