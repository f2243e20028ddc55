//! Reading single settings of Envoy, and noting what can't be played.

use std::collections::BTreeSet;

use crate::envoy::yaml::Yaml;

/// What the desk can't play of an Envoy file, in words.
pub(super) type Gaps = BTreeSet<String>;

/// Whether a field of type bool is set, and false.
pub(super) fn is_false(yaml: &Yaml, field: &str) -> bool {
    yaml.get(field).is_some() && !yaml.may_be_true(field)
}
