//! `register.json`: how a register of files is to be read and screened.

use crate::shape::{Integer, object, words};
use crate::sharing::thresholds::SharingThresholds;
use crate::terms::names::Text;
use crate::terms::network::NetworkClass;
use crate::terms::network::SourceRole;
use crate::terms::region::RegionSettings;
use crate::terms::time::UnixSeconds;

object! {
    /// The settings of a register of files, in its register.json.
    pub struct Settings {
        /// The version of this format
        schema: Integer<1, 1> => Integer(1),
        /// The regions to judge by; the provider's region set where left out
        regions: Option<RegionSettings> = None,
        /// How ownership is screened
        ownership: OwnershipSettings = OwnershipSettings::default(),
        /// Sources that say something of network addresses, in order of precedence
        networks: Vec<NetworkSource> = Vec::new(),
        /// When a sign of sharing fires
        sharing: SharingThresholds = SharingThresholds::default(),
    }
}

object! {
    /// How ownership is screened.
    pub struct OwnershipSettings {
        /// How a restricted share is counted
        method: Method = Method::Either,
        /// How it compares with the threshold
        comparison: Comparison = Comparison::Gt,
        /// The threshold, in basis points: 5,000 is one half
        threshold_basis_points: Integer<0, 10_000> = Integer(5_000),
    }
}

words! {
    /// How a restricted share is counted.
    pub enum Method {
        /// By OFAC's cascade (FAQ 401): an entity owned beyond the threshold counts as restricted
        /// whole
        Cascade = "cascade",
        /// By multiplication of shares along each path
        Multiplicative = "multiplicative",
        /// Restricted if either says so: each misses what the other sees
        Either = "either",
    }
}

words! {
    /// How a share compares with the threshold.
    pub enum Comparison {
        /// More than the threshold
        Gt = "gt",
        /// The threshold or more
        Ge = "ge",
    }
}

object! {
    /// A source of facts about network addresses. With `class` it is a list; else it gives
    /// countries or, with `"gives": "asn"`, AS numbers.
    pub struct NetworkSource {
        /// What it is called in findings
        name: Text,
        /// The file, from the register's directory
        file: Text,
        /// What it says of an address; `class` where that is given, else countries
        gives: Gives = Gives::Country,
        /// For countries: whether what it says decides or only hints
        role: SourceRole = SourceRole::Decides,
        /// For a list: what the networks in it are
        class: Option<NetworkClass> = None,
        /// As of when it is
        date: UnixSeconds,
        /// Where it is from, and under which terms
        origin: Option<Text> = None,
    }
}

words! {
    /// What a source says of an address.
    pub enum Gives {
        /// Its country, and where it knows it the part of that country
        Country = "country",
        /// The number of the autonomous system that announces it
        Asn = "asn",
    }
}
