//! The listeners: all of them, or none.

use crate::config::Admin;
use crate::config::Server;
use crate::failure::Failure;
use crate::http::listener::Listener;

/// What is listened on.
pub(super) struct Listeners {
    /// For clients.
    pub(super) public: Listener,
    /// For operators, if they are not answered where clients are.
    pub(super) admin: Option<Listener>,
    /// For who asks for a reload, if anyone may.
    pub(super) control: Option<Listener>,
    /// The addresses.
    pub(super) bound: Bound,
}

impl Listeners {
    /// Listens on everything; if something cannot be had, on nothing.
    pub(super) async fn bind(server: &Server, admin: &Admin) -> Result<Self, Failure> {
        let public = Listener::for_clients(server).await?;
        let operators = match &admin.listen {
            Some(listen) => Some(Listener::for_operators(listen).await?),
            None => None,
        };
        let control = match &admin.control_socket {
            Some(path) => Some(Listener::for_control(path).await?),
            None => None,
        };
        let bound =
            Bound { public: public.address()?, admin: operators.as_ref().unwrap_or(&public).address()? };
        Ok(Self { public, admin: operators, control, bound })
    }
}

/// The addresses that were bound, which matter when a port was picked.
pub(super) struct Bound {
    /// Where clients are served.
    pub(super) public: String,
    /// Where operators are answered.
    pub(super) admin: String,
}
