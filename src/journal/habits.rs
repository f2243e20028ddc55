//! What a finding about days of traffic means, and what ends it, in plain words. The figures are in
//! its evidence.

use crate::terms::finding::FindingCode;

/// The words for a finding about days of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HabitWords {
    /// What the figures mean
    pub(super) meaning: &'static str,
    /// What ends it, said to the operator
    pub(super) ends: &'static str,
    /// What ends it, said to the customer
    pub(super) ends_for_customer: &'static str,
}

const ENDS: &str = "bind the credential to networks or to a certificate, declare the countries, or \
                    register the customer as a reseller with a chain. Without new days that show \
                    it, it ends by itself";
const ENDS_FOR_CUSTOMER: &str = "Ask the operator to bind your credential to your networks or to a \
                                 certificate, or to record your countries. If others use your \
                                 access, register as a reseller with a chain.";

impl HabitWords {
    /// The words, if the finding is about days of traffic.
    pub(super) fn on(code: FindingCode) -> Option<Self> {
        let meaning = match code {
            FindingCode::SharingAddresses => {
                "far more networks used the credential in a day than in its own past, as if many \
                 people shared it"
            }
            FindingCode::SharingCountries => {
                "the credential was used in countries that the customer didn't declare, or in more \
                 than one customer is usually in"
            }
            FindingCode::SharingVelocity => {
                "the credential changed country faster than a person travels, as if several people \
                 used it"
            }
            FindingCode::SharingClients => {
                "several programs that people sit at used the credential at once from one data \
                 centre, as a relay does for others"
            }
            FindingCode::RelaySuspected => {
                "several kinds of such signs came together, as if the customer resold its access"
            }
            _ => return None,
        };
        Some(Self { meaning, ends: ENDS, ends_for_customer: ENDS_FOR_CUSTOMER })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_of_sharing_has_words_and_no_other() {
        for code in FindingCode::ALL {
            assert_eq!(HabitWords::on(*code).is_some(), code.is_of_sharing(), "{code}");
        }
    }
}
