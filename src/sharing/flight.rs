//! How many requests of one program from one network are in flight at once.

use super::day::UtcDay;
use crate::journal::selection::UnixMillis;

/// A request of a program that people sit at, from a hosting network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flight {
    /// The credential's day
    pub(super) cell: u32,
    pub(super) program: u8,
    pub(super) network: u64,
    /// The event
    pub(super) id: (u64, u64),
    /// Milliseconds since midnight
    begun: u32,
    /// Milliseconds; 0 where the line has no duration
    duration: u32,
    has_duration: bool,
}

/// What a credential's day has in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct InFlight {
    pub(super) most: u32,
    pub(super) without_duration: u32,
}

impl Flight {
    pub(super) fn new(
        (cell, program, network): (u32, u8, u64),
        id: (u64, u64),
        time: UnixMillis,
        duration: Option<u64>,
    ) -> Self {
        Self {
            cell,
            program,
            network,
            id,
            begun: u32::try_from(time.0.rem_euclid(MILLIS)).unwrap_or(0),
            // longer ones end after the day in any case
            duration: u32::try_from(duration.unwrap_or(0)).unwrap_or(u32::MAX),
            has_duration: duration.is_some(),
        }
    }
}

const MILLIS: i64 = 86_400_000;

/// Calls `see` with each credential's day that has such requests. Of an event that is there more
/// than once, the longest duration counts.
pub(super) fn each_day(mut flights: Vec<Flight>, see: &mut dyn FnMut(u32, InFlight)) {
    flights.sort_unstable();
    // the longest comes last, and is kept
    flights.reverse();
    flights.dedup_by_key(|flight| (flight.cell, flight.program, flight.network, flight.id));
    let (mut begun, mut ended) = (Vec::new(), Vec::new());
    for day in flights.chunk_by(|one, next| one.cell == next.cell) {
        let mut found = InFlight::default();
        for group in
            day.chunk_by(|one, next| (one.program, one.network) == (next.program, next.network))
        {
            begun.clear();
            ended.clear();
            for flight in group {
                if !flight.has_duration {
                    found.without_duration = found.without_duration.saturating_add(1);
                }
                begun.push(flight.begun);
                ended.push(flight.begun.saturating_add(flight.duration));
            }
            found.most = found.most.max(most_at_once(&mut begun, &mut ended));
        }
        if let Some(first) = day.first() {
            see(first.cell, found);
        }
    }
}

/// The most that have begun and haven't ended. An end counts before a beginning of the same moment.
fn most_at_once(begun: &mut [u32], ended: &mut [u32]) -> u32 {
    begun.sort_unstable();
    ended.sort_unstable();
    let mut ends = ended.iter().peekable();
    let (mut now, mut most): (i64, i64) = (0, 0);
    for begin in begun {
        while ends.next_if(|end| **end <= *begin).is_some() {
            now = now.saturating_sub(1);
        }
        now = now.saturating_add(1);
        most = most.max(now);
    }
    u32::try_from(most).unwrap_or(0)
}

/// The day of a time.
pub(super) fn day_of(time: UnixMillis) -> UtcDay {
    UtcDay(u32::try_from(time.0.div_euclid(MILLIS)).unwrap_or(0))
}

/// The minute of the day of a time.
pub(super) fn minute_of(time: UnixMillis) -> u16 {
    u16::try_from(time.0.rem_euclid(MILLIS).div_euclid(60_000)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flights(list: &[(u64, i64, Option<u64>)]) -> InFlight {
        let flight = |(id, begun, duration): &(u64, i64, Option<u64>)| {
            Flight::new((0, 0, 0), (0, *id), UnixMillis(*begun), *duration)
        };
        let mut found = InFlight::default();
        each_day(list.iter().map(flight).collect(), &mut |_, day| found = day);
        found
    }

    #[test]
    fn an_end_comes_before_a_beginning() {
        for (list, most) in [
            (&[(0, 0, Some(10)), (1, 10, Some(10))][..], 1),
            (&[(0, 0, Some(11)), (1, 10, Some(10))], 2),
            // nothing in flight without a duration, or with none
            (&[(0, 0, None), (1, 0, None), (2, 0, Some(0))], 0),
            (&[(0, 5, Some(0)), (1, 5, Some(1)), (2, 0, Some(9))], 2),
            (&[(0, 0, Some(u64::MAX)), (1, 86_399_999, Some(1))], 2),
            // a double counts once, with its longest duration, in any order
            (&[(0, 0, Some(50)), (0, 0, None), (0, 0, Some(7)), (1, 40, Some(5))], 2),
            (&[(0, 0, None), (0, 0, Some(7)), (0, 0, Some(50)), (1, 40, Some(5))], 2),
        ] {
            assert_eq!(flights(list).most, most, "{list:?}");
        }
        assert_eq!(flights(&[(0, 0, None), (0, 0, Some(1)), (1, 3, None)]).without_duration, 1);
    }
}
