//! The body of a request: read whole, within bounds of size and time.

use std::time::Duration;

use axum::body::Body;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::header::CONNECTION;
use axum::response::IntoResponse;
use axum::response::Response;
use bytes::BytesMut;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::timeout;

/// Reads a body of at most `most` bytes that arrives `within` this time.
pub(super) async fn read(body: Body, most: usize, within: Duration) -> Result<Bytes, Unread> {
    // What the head announces as too large is not waited for.
    if body.size_hint().lower() > most as u64 {
        return Err(Unread::TooLarge);
    }
    timeout(within, collect(body, most)).await.unwrap_or(Err(Unread::TooSlow))
}

/// Puts the parts of a body together as they come: kept apart, a part of one byte takes dozens.
async fn collect(mut body: Body, most: usize) -> Result<Bytes, Unread> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // What is no data are trailers, which nobody wants.
        let Ok(part) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if part.len() > most - whole.len() {
            return Err(Unread::TooLarge);
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}

/// Why a body has not been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge,
    TooSlow,
    /// It is cut off, or not what its head has announced.
    Broken,
}

impl IntoResponse for Unread {
    fn into_response(self) -> Response {
        let status = match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        };
        // Nobody knows where the next request would begin.
        (status, [(CONNECTION, "close")]).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Instant;

    use futures_util::stream;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn read_now(body: Body, most: usize, within: Duration) -> Result<Bytes, Unread> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(read(body, most, within))
    }

    fn chunks(chunks: &'static [&'static str]) -> Body {
        Body::from_stream(stream::iter(chunks.iter().map(|chunk| Ok::<_, Infallible>(*chunk))))
    }

    #[test]
    fn a_body_is_read_up_to_its_bound() {
        assert_eq!(read_now(Body::from("1234"), 4, SECOND).unwrap(), "1234");
        assert_eq!(read_now(Body::from("12345"), 4, SECOND), Err(Unread::TooLarge));
        assert_eq!(read_now(chunks(&["12", "34"]), 4, SECOND).unwrap(), "1234");
        assert_eq!(read_now(chunks(&["12", "345"]), 4, SECOND), Err(Unread::TooLarge));
        assert_eq!(read_now(Body::empty(), 0, SECOND).unwrap(), "");
    }

    #[test]
    fn a_body_that_never_ends_is_given_up() {
        let began = Instant::now();
        let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let patience = Duration::from_millis(20);
        assert_eq!(read_now(never, 4, patience), Err(Unread::TooSlow));
        assert!(began.elapsed() >= patience);
    }

    #[test]
    fn a_body_that_breaks_is_not_taken_for_a_large_one() {
        let broken = stream::iter([Ok("12"), Err(std::io::Error::other("reset"))]);
        assert_eq!(read_now(Body::from_stream(broken), 4, SECOND), Err(Unread::Broken));
    }
}
