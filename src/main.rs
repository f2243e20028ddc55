//! The desk: `waybill`.
fn main() {}
