//! What a client shows of who it is, in the request that begins its session.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::header::ORIGIN;
use percent_encoding::percent_decode_str;
use tracing::debug;

use crate::access::Credentials;
use crate::access::Names;
use crate::access::Token;
use crate::config::Origins;

/// The scheme of tokens (RFC 6750).
const BEARER: &str = "bearer ";

/// What `request` shows: a token in its header, or else in its query, and the names in the
/// certificate of its connection, if one of `origins` or no web page at all has made it.
pub(super) fn of(request: &Request, origins: &Origins) -> Credentials {
    Credentials {
        token: bearer(request).or_else(|| query(request)),
        certificate: certificate(request, origins),
    }
}

/// A browser shows its certificate whatever page asks for a connection. So it counts only for those that
/// the operator has named: `*` means also those that somebody has lured the user to.
fn certificate(request: &Request, origins: &Origins) -> Option<Arc<Names>> {
    let names = request.extensions().get::<Arc<Names>>()?;
    match request.headers().get(ORIGIN) {
        Some(origin) if !origins.name(origin.as_bytes()) => {
            debug!("a certificate does not count, as the web page is not named in `server.allowed_origins`");
            None
        }
        _ => Some(names.clone()),
    }
}

/// The token of the header; another scheme than ours is not for us.
pub(super) fn bearer(request: &Request) -> Option<Token> {
    let value = request.headers().get(AUTHORIZATION)?.as_bytes();
    if value.eq_ignore_ascii_case(BEARER.trim_end().as_bytes()) {
        return Some("".into());
    }
    let (scheme, token) = value.split_at_checked(BEARER.len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(BEARER.as_bytes());
    // What is not text is a token all the same, and nobody's.
    is_bearer.then(|| String::from_utf8_lossy(token).trim().into())
}

fn query(request: &Request) -> Option<Token> {
    let query = request.uri().query()?;
    let token = query.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    Some(percent_decode_str(token).decode_utf8_lossy().as_ref().into())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn token(query: &str, header: Option<&str>) -> Option<Token> {
        let mut request = Request::builder().uri(format!("/socket.io/?{query}"));
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        let origins = crate::config::Server::default().allowed_origins;
        of(&request.body(Body::empty()).unwrap(), &origins).token
    }

    #[test]
    fn a_token_is_in_the_header_or_else_in_the_query() {
        for (query, header, expected) in [
            ("EIO=3", None, None),
            ("EIO=3&token=a%2Bb+c%20&t=1", None, Some("a+b+c ")),
            ("token=", None, Some("")),
            ("tokens=a", None, None),
            ("token=a", Some("Bearer b"), Some("b")),
            ("token=a", Some("bearer  b "), Some("b")),
            ("token=a", Some("Bearer "), Some("")),
            ("token=a", Some("Basic b"), Some("a")),
            ("token=a", Some("Bearer"), Some("")),
            ("", Some("Basic b"), None),
        ] {
            assert_eq!(token(query, header), expected.map(Token::from), "{query} {header:?}");
        }
    }
}
