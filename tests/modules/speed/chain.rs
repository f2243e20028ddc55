//! Times signing, verifying, and finding a signature that was verified before.

use waybill::chain::replay::{Admission, ReplayMemory, SignedNonce};
use waybill::chain::signature::{Message, sign};
use waybill::chain::{EnvelopeCache, Inbound};
use waybill::decision::Screen;
use waybill::decision::evidence::Evidence;
use waybill::decision::evidence::software::SoftwareMemo;
use waybill::decision::receipt::receiver;
use waybill::decision::request::{Request, Time, TlsNames};
use waybill::lookups::Lookups;
use waybill::terms::key::{SigningKey, Window};
use waybill::terms::time::UnixSeconds;

const NOW: i64 = 1_795_000_000;
const TAG: &[u8] = br#"node="peer.example", customer="c-9", screening=passed, until=@1830000000, declared=("SG" "JP"), user="SG", origin="SG", network=hosting, attest=full, findings=(), policy="9f3a6c0011223344", at=@1795000000"#;
const CHAIN: &[u8] = br#""peer.example";customer="c-9";attest=full"#;
const AUTHORITY: &str = "gateway.acme.example";

/// A signature that is bound to its customer asks for no memory.
struct NoMemory;

impl ReplayMemory for NoMemory {
    fn admit(&mut self, _nonce: SignedNonce<'_>, _now: UnixSeconds) -> Admission {
        Admission::New
    }
}

/// Nanoseconds each, as JSON.
pub(super) fn measure() -> String {
    let key = SigningKey::new(&[5; 32], Window::default());
    let public = key.verifying_key();
    let config = format!(
        r#"{{"version": 1, "node": {{"id": "{AUTHORITY}"}}, "identity": {{"sources": [{{"chain": true}}]}}, "regions": {{"set": "anthropic-api-179"}}, "register": {{
            "customers": [{{"id": "rb", "kind": "reseller", "ownership": "clear", "screening": {{"status": "passed"}}}}],
            "nodes": [{{"id": "peer.example", "customer": "rb", "binding": "customer", "screening": {{"status": "passed"}}, "keys": [{}]}}]}}}}"#,
        key.to_public_jwk()
    );
    let Ok(screen) = Screen::parse(&config) else {
        return "the configuration is refused".to_owned();
    };
    let values = [("compliance-tag", TAG), ("compliance-chain", CHAIN)];
    let message = Message {
        method: b"POST",
        authority: AUTHORITY,
        path: b"/v1/messages",
        values: &values,
        fields: &[],
    };
    let times = (UnixSeconds(NOW), UnixSeconds(NOW + 60));
    let signed =
        || sign(&key, &public.thumbprint(), times, "AAAAAAAAAAAAAAAAAAAAAA", false, &message);
    let Some((params, signature)) = signed() else { return "can't be signed".to_owned() };
    let (input, header) = (format!("cmp={params}"), format!("cmp=:{}:", base64(&signature)));
    let request = Request {
        headers: vec![
            (b":method", b"POST"),
            (b":authority", AUTHORITY.as_bytes()),
            (b":path", b"/v1/messages"),
            (b"compliance-tag", TAG),
            (b"compliance-chain", CHAIN),
            (b"signature-input", input.as_bytes()),
            (b"signature", header.as_bytes()),
        ],
        direct_peer: Some(b"203.0.113.9"),
        envoy_client: None,
        tls: TlsNames::default(),
        claims: Vec::new(),
        time: Time(1_795_000_000_000_000_000),
    };
    let (mut cache, mut memory) = (EnvelopeCache::default(), NoMemory);
    let config = screen.config();
    let lines =
        Evidence::gather(config, screen.watch(), &request, &mut SoftwareMemo::default()).lines;
    let lookups = Lookups::new(config, None);
    let receiver = receiver(config, &lookups, UnixSeconds(NOW));
    let message = request.message(AUTHORITY);
    let mut receive = || {
        let inbound = Inbound::read(&lines, AUTHORITY, &cache);
        receiver
            .receive(&lines, &inbound, &message, &mut cache, &mut memory)
            .is_ok_and(|proof| proof.is_ok())
    };
    let verified = receive();
    let receive = std::cell::RefCell::new(receive);
    let base = vec![b'x'; 800];
    let made = key.sign(&base);
    format!(
        r#"{{"verified": {verified}, "sign": {:.0}, "verify": {:.0}, "seen": {:.0}}}"#,
        super::each(&[(); 64], |()| key.sign(&base)),
        super::each(&[(); 64], |()| public.verify(&base, &made)),
        super::each(&[(); 1_024], |()| (receive.borrow_mut())()),
    )
}

fn base64(bytes: &[u8]) -> String {
    let digit = |bits: u8| {
        char::from(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                [usize::from(bits & 63)],
        )
    };
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|i| chunk.get(i).copied().unwrap_or(0));
        let digits = [a >> 2, a << 4 | b >> 4, b << 2 | c >> 6, c];
        text.extend(digits.iter().take(chunk.len() + 1).map(|bits| digit(*bits)));
        text.extend(std::iter::repeat_n('=', 3 - chunk.len()));
    }
    text
}
