//! Admission: a client is known and fully set up before it is told that it is connected.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use socketioxide::handler::ConnectHandler;
use socketioxide::socket::Socket;
use socketioxide_core::Value;
use tokio::time::Instant;
use tokio::time::sleep;
use tracing::debug;

use crate::access::Credentials;
use crate::access::Invalid;
use crate::broker::Broker;
use crate::broker::dispatch::Dispatch;
use crate::broker::dispatch::Farewell;
use crate::broker::session::Session;
use crate::broker::shown;
use crate::broker::sockets::Adapter;
use crate::telemetry::disconnection::Disconnection;
use crate::telemetry::metrics;
use crate::wire::link::Link;

/// What a client hears that is refused for good: the same whatever the reason, for nobody is to learn
/// by trying what would have been better. Its connection is closed behind it: see [`wire::refusal`].
///
/// [`wire::refusal`]: crate::wire::refusal
const UNAUTHORIZED: &str = "unauthorized";
/// When it hears so, counted from its CONNECT: far beyond what any check takes, so that the time tells
/// nothing either.
const REFUSED_AFTER: Duration = Duration::from_millis(100);

/// What the library asks whether a client may come in.
#[derive(Clone)]
pub(super) struct Entrance(pub(super) Broker);

/// What the library takes for an answer: nothing, or a text for the client.
type Answer = Result<(), Box<dyn Display + Send>>;

impl Entrance {
    /// Lets a client in, if it is somebody.
    async fn admit(&self, socket: &Arc<Socket<Adapter>>, auth: Option<&Value>) -> Answer {
        let broker = &self.0;
        let began = Instant::now();
        let extensions = &socket.req_parts().extensions;
        // Every request that can begin a session carries its link.
        let link = extensions.get::<Arc<Link>>().cloned().ok_or_else(not_admitted)?;
        let mut credentials = extensions.get::<Credentials>().cloned().unwrap_or_default();
        if let Some(token) = shown::token(auth) {
            credentials.token = Some(token);
        }
        let looks = broker.0.looks.load(SeqCst);
        let access = broker.access();
        let identity = match access.identify(&credentials).await {
            Ok(identity) => identity,
            Err(Invalid::UnknownKey) if access.awaits_keys() => {
                // For now and not for good: its connection is closed, and it comes back.
                metrics::refused("no_keys");
                link.close(Disconnection::Revoked);
                return Err(not_admitted());
            }
            Err(invalid) => {
                let refusal = refuse(&invalid, began).await;
                // What it is told now is the last of it: nothing is left to wait for if it does not poll.
                link.set_ending();
                return Err(refusal);
            }
        };
        link.enter();
        let session = Arc::new(Session::new(socket.id, link, credentials, identity));
        if !broker.0.members.enter(&session) {
            session.link().close(Disconnection::Drain);
            return Err(not_admitted());
        }
        socket.on_disconnect(Farewell::new(broker.clone(), session.clone()));
        broker.0.expiries.add(&session);
        if broker.0.looks.load(SeqCst) != looks {
            // Everyone else has been looked at meanwhile: the rules, or the keys, are others now.
            broker.identify_again(&session);
        }
        if let Some(cause) = session.link().fate().cause() {
            session.link().close(cause);
            return Err(not_admitted());
        }
        session.link().expect_admission();
        socket.on_fallback(Dispatch::new(broker.clone(), session));
        Ok(())
    }
}

/// A text that the client does not get: its connection is closed first, so that it comes back.
fn not_admitted() -> Box<dyn Display + Send> {
    Box::new("not admitted")
}

/// What the client is told that is nobody.
async fn refuse(invalid: &Invalid, began: Instant) -> Box<dyn Display + Send> {
    metrics::refused(UNAUTHORIZED);
    debug!("a client is refused: {invalid}");
    sleep(REFUSED_AFTER.saturating_sub(began.elapsed())).await;
    Box::new(UNAUTHORIZED)
}

impl ConnectHandler<Adapter, ()> for Entrance {
    /// Completes before the library tells the client that it is connected, so that whatever the
    /// client sends in that very instant finds its handlers.
    fn call_middleware<'a>(
        &'a self,
        socket: Arc<Socket<Adapter>>,
        auth: &'a Option<Value>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(async move { self.admit(&socket, auth.as_ref()).await })
    }

    /// Says that the library sends the client what is for everyone, which it did not do when it was
    /// let in. At once: until this has returned, the library ignores a CONNECT of a client that has
    /// left the namespace meanwhile. Whoever was ended before the library had let it in has missed the
    /// mark of its end.
    fn call(&self, socket: Arc<Socket<Adapter>>, _: Option<Value>) {
        self.0.0.members.everyone(|everyone| {
            if let Some(session) = everyone.get(&socket.id) {
                session.set_connected();
            }
        });
        let link = socket.req_parts().extensions.get::<Arc<Link>>();
        if let Some((link, cause)) = link.and_then(|link| Some((link, link.fate().cause()?))) {
            link.close(cause);
        }
    }
}
