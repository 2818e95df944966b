//! queue-manager: owns the queue, schedules deliveries, writes bounces.
#![forbid(unsafe_code)]

fn main() {}
