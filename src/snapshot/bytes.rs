//! The bytes of a page, copied or shared.

use std::ops::Deref;
use std::sync::Arc;

/// The bytes of a page: a copy, or what others have too.
#[derive(Debug, Clone)]
pub enum PageBytes {
    /// A copy
    Owned(Vec<u8>),
    /// Shared with all snapshots that have the page
    Shared(Arc<[u8]>),
}

impl Deref for PageBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}
