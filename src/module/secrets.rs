//! Signing keys from secrets of Envoy's, which Envoy may replace at any time.

use super::abi::{ConfigHandle, SecretId, StreamHandle};
use crate::chain::keyring::{KeyAbsence, from_environment};
use crate::config::KeySource;

/// The secrets of a configuration, each with its number in Envoy.
#[derive(Debug, Default)]
pub struct KeySecrets(Vec<(KeySource, SecretId)>);

/// The texts of all secrets, as one worker has them.
pub type SecretTexts = Vec<Vec<u8>>;

impl KeySecrets {
    /// The text of a key, while a configuration is opened. Has Envoy keep the key's secret.
    ///
    /// # Errors
    /// Why there is none.
    pub fn open(&mut self, config: ConfigHandle, source: &KeySource) -> Result<String, KeyAbsence> {
        let KeySource::Secret { name, sds_config } = source else {
            return from_environment(source);
        };
        let id = config.subscribe(name.as_str(), sds_config.as_str());
        let id = id.ok_or(KeyAbsence::Refused)?;
        self.0.push((source.clone(), id));
        config.secret(id).map(lossy).ok_or(KeyAbsence::Awaited)
    }

    /// The texts that a worker has now, if they aren't these.
    pub fn changed(&self, known: &SecretTexts, stream: &StreamHandle<'_>) -> Option<SecretTexts> {
        let now = || self.0.iter().map(|(_, id)| stream.secret(*id));
        (!now().eq(known.iter().map(Vec::as_slice))).then(|| now().map(<[u8]>::to_vec).collect())
    }

    /// The text of a key, out of these texts.
    ///
    /// # Errors
    /// Why there is none.
    pub fn text(&self, texts: &SecretTexts, source: &KeySource) -> Result<String, KeyAbsence> {
        let place = self.0.iter().position(|(known, _)| known == source);
        let Some(text) = place.and_then(|place| texts.get(place)) else {
            return from_environment(source);
        };
        Some(text.clone()).filter(|it| !it.is_empty()).map(lossy).ok_or(KeyAbsence::Awaited)
    }
}

/// What isn't UTF-8 isn't a key either.
fn lossy(text: Vec<u8>) -> String {
    String::from_utf8(text).unwrap_or_default()
}
