//! The letter to a refused customer: who decided, when, what, on which signals, and what to do.
//!
//! It holds nothing of others: of the evidence only what concerns the customer itself, no address,
//! and no other company on the request's way.

use super::advice::Advice;
use super::explanation::moment;
use super::habits::HabitWords;
use crate::compile::countries::spelled;
use crate::config::Config;
use crate::decision::event::{Event, EventFinding};
use crate::journal::line::LineEnvelope;
use crate::register::Customer;
use crate::terms::finding::{ActionName, FindingCode};

/// A letter, from top to bottom.
#[derive(Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its subject
    pub subject: &'static str,
    /// Its parts
    pub parts: Vec<LetterPart>,
}

/// A part of a letter.
#[derive(Debug, PartialEq, Eq)]
pub enum LetterPart {
    /// A title
    Heading(String),
    /// Sentences
    Paragraph(String),
    /// A name and its value
    Fact(&'static str, String),
    /// A link, and the words in front
    Link(&'static str, String),
}

/// Why a letter can't be written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLetter {
    /// The request passed
    #[error("this request wasn't refused: its verdict is `{0}`")]
    Passed(ActionName),
    /// The event is another node's
    #[error("this event is of the node `{event}`, and the configuration is of `{config}`")]
    OtherNode {
        /// The event's node
        event: String,
        /// The configuration's node
        config: String,
    },
}

impl Letter {
    /// The letter about a refusal, or a request that was sent elsewhere.
    ///
    /// # Errors
    /// The request passed, or the configuration is another node's.
    pub fn write(
        event: &Event<'_>,
        envelope: &LineEnvelope,
        config: &Config,
        customer: Option<&Customer>,
    ) -> Result<Self, NoLetter> {
        let node = config.node.id.as_str();
        if event.node.0 != node {
            let (event, config) = (event.node.to_string(), node.to_owned());
            return Err(NoLetter::OtherNode { event, config });
        }
        let (subject, was) = match event.verdict {
            ActionName::Block => ("A request of yours was refused", "was refused"),
            ActionName::Reroute => (
                "A request of yours was sent to another service",
                "was sent to another service than the one that you asked for",
            ),
            passed @ (ActionName::Allow | ActionName::Report) => {
                return Err(NoLetter::Passed(passed));
            }
        };
        let disclosure = &config.disclosure;
        let operator = disclosure.operator.as_ref().map(ToString::to_string);
        let from = match &operator {
            Some(operator) => format!("{operator}, the operator of the node {node}"),
            None => format!("the operator of the node {node}"),
        };
        let mut parts = vec![LetterPart::Fact("From", from)];
        if let Some(contact) = &disclosure.contact {
            parts.push(LetterPart::Fact("Contact", contact.to_string()));
        }
        parts.push(LetterPart::Fact("To", addressee(event, customer)));
        parts.push(LetterPart::Fact("Date of the decision", moment(&event.time.0)));
        parts.push(LetterPart::Fact("Reference", event.id.to_string()));
        parts.push(LetterPart::Heading("What was decided".into()));
        let request = [&envelope.method, &envelope.path].into_iter().flatten();
        let request = request.cloned().collect::<Vec<_>>().join(" ");
        let request = if request.is_empty() { request } else { format!(" ({request})") };
        let of = operator.map(|operator| format!(" of {operator}")).unwrap_or_default();
        parts.push(LetterPart::Paragraph(format!(
            "Your request{request} {was}. The node {node}{of} decided this by its operator's \
             policy, revision {}. The model provider didn't decide it.",
            event.policy
        )));
        if event.verdict == ActionName::Block {
            parts.push(LetterPart::Paragraph("No model saw the request.".into()));
        }
        for finding in event.findings.iter().filter(|it| it.action == event.verdict) {
            tell(event, finding, &mut parts);
        }
        parts.push(LetterPart::Heading("How to appeal".into()));
        let appeal = disclosure.appeal_url.as_ref();
        if let Some(url) = appeal {
            parts.push(LetterPart::Link("You can appeal this decision at", url.to_string()));
        }
        let to = match (&disclosure.contact, appeal) {
            (Some(contact), None) => format!("You can appeal this decision. Write to {contact}. "),
            (None, None) => "You can appeal this decision. Ask the company that gave you your \
                             key. "
                .to_owned(),
            (_, Some(_)) => String::new(),
        };
        parts.push(LetterPart::Paragraph(format!(
            "{to}Give the reference {}, and evidence that a reason above is wrong or out of date.",
            event.id
        )));
        parts.push(LetterPart::Heading("What is kept".into()));
        parts.push(LetterPart::Paragraph(
            "The node reads headers, the credential and the address of a request, and never its \
             body. Its record of this decision has no credential, and of the address only the \
             network."
                .into(),
        ));
        if let Some(retention) = &disclosure.retention {
            parts.push(LetterPart::Fact("Records are kept", retention.to_string()));
        }
        if let Some(url) = &disclosure.policy_url {
            parts.push(LetterPart::Link("The rules for customers are at", url.to_string()));
        }
        Ok(Self { subject, parts })
    }
}

fn addressee(event: &Event<'_>, customer: Option<&Customer>) -> String {
    let Some(id) = &event.customer.0 else {
        return "the sender of this request, whom the node couldn't identify".to_owned();
    };
    // a signature that wasn't accepted proves nothing
    if event.credential.0.is_none() {
        return format!("the customer {id}, whom the request named without proof");
    }
    match customer.and_then(|customer| customer.name.as_ref()) {
        Some(name) => format!("{name} (customer {id})"),
        None => format!("customer {id}"),
    }
}

/// One reason: the words, the signals, what was seen, and what to do.
fn tell(event: &Event<'_>, finding: &EventFinding<'_>, parts: &mut Vec<LetterPart>) {
    let code = finding.code;
    parts.push(LetterPart::Heading(format!("Reason: {code}")));
    parts.push(LetterPart::Paragraph(sentence(code.title())));
    let signals = ReasonSignals::of(code);
    parts.push(LetterPart::Fact("Looked at", signals.looked_at.to_owned()));
    let evidence = &finding.evidence.0;
    let is_of_places = code.as_str().starts_with("geo.")
        || code == FindingCode::ResidencyMismatch
        || code.is_of_sharing();
    // an earlier node's name is another company's
    let seen = if signals.shows_evidence && !evidence.contains("reported by ") {
        evidence.to_string()
    } else if is_of_places {
        let places = [("origin", &event.origin.0), ("user", &event.user.0)];
        let places = places.map(|(what, place)| place.as_ref().map(|it| format!("{what} {it}")));
        places.into_iter().flatten().collect::<Vec<_>>().join(", ")
    } else {
        String::new()
    };
    let countries = if is_of_places { countries_in(&seen) } else { Vec::new() };
    if !seen.is_empty() {
        parts.push(LetterPart::Fact("Seen", seen));
    }
    if !countries.is_empty() {
        parts.push(LetterPart::Fact("Countries", countries.join(", ")));
    }
    if let Some(HabitWords { meaning, ends_for_customer, .. }) = HabitWords::on(code) {
        let meaning = format!("{} It is a sign, not a proof.", sentence(meaning));
        parts.push(LetterPart::Fact("What it means", meaning));
        parts.push(LetterPart::Fact("What ends it", ends_for_customer.to_owned()));
    }
    if let Some(refused) = Advice::on(code).refused {
        parts.push(LetterPart::Fact("What you can do", sentence(&refused)));
    }
}

/// The countries whose codes are in some words, with their names.
fn countries_in(words: &str) -> Vec<String> {
    let mut countries = Vec::new();
    let codes = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() == 2);
    for (code, spelled) in codes.map(|code| (code, spelled(code))) {
        if code != spelled && !countries.contains(&spelled) {
            countries.push(spelled);
        }
    }
    countries
}

/// What a reason rests on, in the customer's words.
struct ReasonSignals {
    looked_at: &'static str,
    /// Whether its evidence is about the customer alone, and written by this node
    shows_evidence: bool,
}

impl ReasonSignals {
    fn of(code: FindingCode) -> Self {
        use FindingCode as Code;
        let (looked_at, shows_evidence) = match code {
            Code::SnapshotMissing | Code::SnapshotStale => {
                ("nothing of the request: the node's own register wasn't current", false)
            }
            Code::RequestMalformed => {
                ("the request's path, its method and the number of its credentials", true)
            }
            Code::IdentityMissing | Code::IdentityUnknown => {
                ("the places where the request could have a credential, and the register", true)
            }
            Code::IdentityExpired => ("the credential, and its end in the register", true),
            Code::IdentityConflict => ("the credentials of the request, and the register", false),
            Code::IdentityNetwork => {
                ("the network of the request, and those agreed for this credential", true)
            }
            Code::CustomerSuspended
            | Code::CustomerUnscreened
            | Code::CustomerAgreementMissing
            | Code::CustomerScreeningExpired => ("your entry in the operator's register", true),
            Code::OwnershipRestricted | Code::OwnershipUnresolved => {
                ("who owns your company, by the operator's register", true)
            }
            // the provider's reason is free text
            Code::ProviderRestricted => {
                ("what the provider decided about you, as the operator recorded it", false)
            }
            Code::ProviderAdminPath | Code::ProviderSharedState => {
                ("the request's method and path", true)
            }
            Code::GeoRestricted | Code::GeoUnlisted | Code::GeoConflict | Code::GeoClaimed => {
                ("the country of the request's address, and the one that it states", true)
            }
            Code::GeoUndeclared => {
                ("the country of the request, and those that you declared", true)
            }
            Code::GeoDisputed | Code::GeoUnknown => ("the request's address", false),
            Code::ResidencyMismatch => {
                ("where your data must stay by the register, and where the service is", true)
            }
            Code::NetworkAnonymizer | Code::NetworkHosting => {
                ("the kind of network that the request's address is in", true)
            }
            Code::ChainMissing
            | Code::ChainInvalid
            | Code::ChainExpired
            | Code::ChainReplayed
            | Code::ChainUnknownNode
            | Code::ChainUnscreenedNode
            | Code::ChainMismatch
            | Code::ChainIncomplete
            | Code::ChainUnproven => {
                ("the signature and the chain of resellers that came with the request", false)
            }
            Code::RelayUndeclared => ("headers that relay software adds", true),
            Code::RelaySuspected
            | Code::SharingAddresses
            | Code::SharingCountries
            | Code::SharingVelocity
            | Code::SharingClients => {
                ("the records of your requests over days: networks, countries, programs", true)
            }
            Code::TagSpoofed => ("the names of the request's headers", true),
        };
        Self { looked_at, shows_evidence }
    }
}

/// Words as a sentence.
fn sentence(words: &str) -> String {
    let mut letters = words.trim_end_matches('.').chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
