//! What can be measured, each in a file of its own.

mod avalanche;
mod bystander;
mod churn;
mod connect;
mod fanout;
mod idle;
mod rooms;
mod slow;

use crate::around::Way;
use crate::cli::Common;
use crate::cli::Traffic;
use crate::gathering::Gathering;
use crate::report::Report;
use crate::tally::Plan;

pub use avalanche::Avalanche;
pub use churn::Churn;
pub use connect::Connect;
pub use fanout::Fanout;
pub use idle::Idle;
pub use rooms::Rooms;
pub use slow::Slow;

/// What a run has found.
#[derive(Debug)]
pub struct Found {
    pub report: Report,
    /// Whether something is missing, out of order or astray.
    pub untrue: bool,
}

/// Has the readers of `plan` connect, then its publishers, and measures what reaches whom.
fn traffic(plan: Plan, traffic: &Traffic, common: &Common) -> Result<Found, String> {
    let mut crowd = common.crowd(plan.readers() + plan.publishers)?;
    let gathering = common.gathering();
    let readers = crowd.grow(plan.readers());
    let gathered = gathering.run(&mut crowd, readers.clone(), |reader| Some(plan.room_of_reader(reader)))?;
    if let Some(server) = &traffic.publish_at {
        crowd.turn_to(common.target_at(server)?);
    }
    let senders = crowd.grow(plan.publishers);
    Gathering { way: Way::Websocket, ..gathering }.run(&mut crowd, senders.clone(), |_| None)?;
    let outcome = traffic.load(plan, common).run(&mut crowd, readers, senders, |_| {})?;
    let mut report = outcome.report();
    report.add("subscriptions_lost", gathered.repeated, "");
    Ok(Found { report, untrue: !outcome.tally.is_true() || gathered.repeated > 0 })
}
