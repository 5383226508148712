//! Many rooms that few read in.

use clap::Args;

use crate::cli::Common;
use crate::cli::Traffic;
use crate::cli::count;
use crate::modes::Found;
use crate::modes::traffic;
use crate::tally::Plan;

#[derive(Args, Debug)]
pub struct Rooms {
    #[command(flatten)]
    pub common: Common,

    /// Rooms, each with readers of its own
    #[arg(long = "rooms", value_name = "NUMBER", value_parser = count, default_value = "1000")]
    count: usize,

    /// Clients in each room
    #[arg(long, value_name = "NUMBER", value_parser = count, default_value = "5")]
    readers: usize,

    /// Clients that publish; each room has one of them, and each of them many rooms, to which it publishes
    /// in turns
    #[arg(long, value_name = "NUMBER", value_parser = count, default_value = "16")]
    publishers: usize,

    #[command(flatten)]
    traffic: Traffic,
}

impl Rooms {
    pub fn run(&self) -> Result<Found, String> {
        let Self { common, count, readers, publishers, traffic: load } = self;
        traffic(Plan { rooms: *count, members: *readers, voices: 1, publishers: *publishers }, load, common)
    }
}
