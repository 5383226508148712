//! Admission: a client is fully set up before it is told that it is connected.

use std::fmt::Display;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use socketioxide::handler::ConnectHandler;
use socketioxide::socket::Socket;
use socketioxide_core::Value;

use crate::broker::Broker;
use crate::broker::dispatch::Dispatch;
use crate::broker::dispatch::Farewell;
use crate::broker::session::Session;
use crate::broker::sockets::Adapter;
use crate::telemetry::disconnection::Disconnection;
use crate::wire::link::Link;

/// What the library asks whether a client may come in.
#[derive(Clone)]
pub(super) struct Entrance(pub(super) Broker);

/// What the library takes for an answer: nothing, or a text for the client.
type Answer = Result<(), Box<dyn Display + Send>>;

impl Entrance {
    /// Lets a client in.
    fn admit(&self, socket: &Arc<Socket<Adapter>>) -> Answer {
        let broker = &self.0;
        // Every request that can begin a session carries its link.
        let link = socket.req_parts().extensions.get::<Arc<Link>>().cloned().ok_or_else(not_admitted)?;
        link.enter();
        let session = Arc::new(Session::new(socket.id, link));
        if !broker.0.members.enter(&session) {
            session.link().close(Disconnection::Drain);
            return Err(not_admitted());
        }
        socket.on_disconnect(Farewell::new(broker.clone(), session.clone()));
        socket.on_fallback(Dispatch::new(broker.clone(), session));
        Ok(())
    }
}

/// A text that the client does not get: its connection is closed first, so that it comes back.
fn not_admitted() -> Box<dyn Display + Send> {
    Box::new("not admitted")
}

impl ConnectHandler<Adapter, ()> for Entrance {
    /// Completes before the library tells the client that it is connected, so that whatever the
    /// client sends in that very instant finds its handlers.
    fn call_middleware<'a>(
        &'a self,
        socket: Arc<Socket<Adapter>>,
        _: &'a Option<Value>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(ready(self.admit(&socket)))
    }

    /// Says that the library sends the client what is for everyone, which it did not do when it was
    /// let in. At once: until this has returned, the library ignores a CONNECT of a client that has
    /// left the namespace meanwhile.
    fn call(&self, socket: Arc<Socket<Adapter>>, _: Option<Value>) {
        self.0.0.members.everyone(|everyone| {
            if let Some(session) = everyone.get(&socket.id) {
                session.set_connected();
            }
        });
    }
}
