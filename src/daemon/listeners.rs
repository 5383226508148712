//! The listeners: all of them, or none.

use tracing::info;

use crate::config::Admin;
use crate::config::Server;
use crate::daemon::inherited::Sockets;
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
    /// Whether the socket for clients outlives this process, so that who connects may wait for the next.
    pub(super) outlived: bool,
    /// The addresses.
    pub(super) bound: Bound,
}

impl Listeners {
    /// Listens on everything; if something cannot be had, on nothing. A socket that is there already
    /// comes before what the configuration says.
    pub(super) async fn bind(server: &Server, admin: &Admin, there: Sockets) -> Result<Self, Failure> {
        let outlived = there.public.is_some();
        let public = match there.public {
            Some(socket) => {
                let listener = Listener::inherited(socket)?;
                info!("clients come over a socket that was passed, and not where `server` says");
                listener
            }
            None => Listener::for_clients(server).await?,
        };
        let operators = match (there.admin, &admin.listen) {
            (Some(socket), _) => {
                let listener = Listener::inherited(socket)?;
                info!("operators come over a socket that was passed, and not where `admin.listen` says");
                Some(listener)
            }
            (None, Some(listen)) => Some(Listener::for_operators(listen).await?),
            (None, None) => None,
        };
        let control = match &admin.control_socket {
            Some(path) => Some(Listener::for_control(path).await?),
            None => None,
        };
        let bound =
            Bound { public: public.address()?, admin: operators.as_ref().unwrap_or(&public).address()? };
        Ok(Self { public, admin: operators, control, outlived, bound })
    }
}

/// The addresses that were bound, which matter when a port was picked.
pub(super) struct Bound {
    /// Where clients are served.
    pub(super) public: String,
    /// Where operators are answered.
    pub(super) admin: String,
}
