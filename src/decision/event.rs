//! Events: one JSON document for each decision, chained so that a missing or altered line shows.
//!
//! [`Event`] declares the document; its writer, its reader and `docs/event.schema.json` come from
//! that. Addresses are cut to /24 and /48, and nothing of a body, a credential or a name is in it.
//! [`Ledger`] gives each event the digest of the one before from the same VM. The digest shows an
//! event that was removed from the middle; it doesn't show that somebody rewrote the whole chain.

mod ledger;
mod record;

pub use ledger::Ledger;
pub use record::{
    CutAddress, Event, EventCredential, EventDigest, EventFinding, EventHop, EventId,
    EventSoftware, EventText, EventTime, PolicyRevision, SoftwareName, VmId, schema,
};
