//! The supervisor: every task that lives as long as the daemon, and which of them has ended.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::Id;
use tokio::task::JoinSet;

/// The daemon's long-lived tasks.
#[derive(Default)]
pub(super) struct Supervisor {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Supervisor {
    /// Starts a task under a name that the log can use.
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits until a task ends, by itself or in a panic, and says which.
    pub(super) async fn ended(&mut self) -> &'static str {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => self.name(id),
            Some(Err(error)) => self.name(error.id()),
            None => std::future::pending().await,
        }
    }

    fn name(&mut self, id: Id) -> &'static str {
        self.names.remove(&id).unwrap_or("unknown task")
    }
}
