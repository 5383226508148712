//! One room that many read in.

use clap::Args;

use crate::cli::Common;
use crate::cli::Traffic;
use crate::cli::count;
use crate::modes::Found;
use crate::modes::traffic;
use crate::tally::Plan;

#[derive(Args, Debug)]
pub struct Fanout {
    #[command(flatten)]
    pub common: Common,

    /// Clients that are in the room
    #[arg(long, value_name = "NUMBER", value_parser = count, default_value = "1000")]
    readers: usize,

    /// Clients that publish to it, in turns
    #[arg(long, value_name = "NUMBER", value_parser = count, default_value = "1")]
    publishers: usize,

    #[command(flatten)]
    traffic: Traffic,
}

impl Fanout {
    pub fn run(&self) -> Result<Found, String> {
        let Self { common, readers, publishers, traffic: load } = self;
        let plan = Plan { rooms: 1, members: *readers, voices: *publishers, publishers: *publishers };
        traffic(plan, load, common)
    }
}
