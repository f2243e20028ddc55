//! The memory of nonces of each node: one for all workers and all configurations of the process.

use crate::chain::memory::InMemory;
use crate::chain::replay::SECRET;
use crate::lock::Lock;
use crate::terms::names::NodeId;

/// A memory outlives its configurations: what passed under the one before doesn't pass again.
static SHELVES: Lock<Vec<(String, InMemory)>> = Lock::new(Vec::new());

/// How many there are before those go whose nodes no configuration has any more.
const MOST_SHELVES: usize = 16;

/// The memory of this node.
pub fn of(node: &NodeId) -> InMemory {
    let mut shelves = SHELVES.hold();
    if let Some((_, shelf)) = shelves.iter().find(|(name, _)| name == node.as_str()) {
        return shelf.clone();
    }
    if shelves.len() >= MOST_SHELVES {
        shelves.retain(|(_, shelf)| !shelf.is_alone());
    }
    let mut secret = [0; SECRET];
    // without a random source: zeros, as in any memory of nonces
    secret = getrandom::fill(&mut secret).map_or([0; SECRET], |()| secret);
    let shelf = InMemory::new(secret);
    shelves.push((node.as_str().to_owned(), shelf.clone()));
    shelf
}
