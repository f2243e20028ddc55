//! The messages of ext_authz (`envoy/service/auth/v3/external_auth.proto`) and ext_proc
//! (`envoy/service/ext_proc/v3/external_processor.proto`), as far as the servers need them.

/// What a request loses: what only the node may set, and what the provider mustn't learn.
/// `tests/bench/peers.py` has the same for Lua and Envoy's own filters.
const REMOVED: [&str; 6] = [
    "compliance-chain",
    "compliance-trail",
    "signature",
    "signature-input",
    "x-waybill-route",
    "x-api-key",
];
/// `HeaderValueOption.append_action`.
const OVERWRITE_IF_EXISTS_OR_ADD: u8 = 2;

#[derive(Clone, Copy)]
pub enum Service {
    Authz,
    Proc,
}

impl Service {
    /// Lets a request pass with the headers of a customer.
    pub fn allow(self, id: &str, profile: &str) -> Vec<u8> {
        let tag = format!("node=\"gateway.example\", customer=\"{id}\", screening=passed");
        let set = [("compliance-tag", tag.as_str()), ("anthropic-user-profile-id", profile)];
        let set = set.map(|(name, value)| self.header(name, value));
        match self {
            // CheckResponse: status {}, ok_response { headers, headers_to_remove }
            Self::Authz => {
                let set = set.iter().flat_map(|header| field(2, header));
                let removed = REMOVED.iter().flat_map(|name| field(5, name.as_bytes()));
                let ok: Vec<u8> = set.chain(removed).collect();
                [field(1, &[]), field(3, &ok)].concat()
            }
            // ProcessingResponse: request_headers { response { header_mutation } }
            Self::Proc => {
                let set = set.iter().flat_map(|header| field(1, header));
                let removed = REMOVED.iter().flat_map(|name| field(2, name.as_bytes()));
                let mutation: Vec<u8> = set.chain(removed).collect();
                field(1, &field(1, &field(2, &mutation)))
            }
        }
    }

    /// Answers a request.
    pub fn refuse(self, status: u16, body: &str) -> Vec<u8> {
        let status = field(1, &number(1, status.into()));
        match self {
            // status { code: PERMISSION_DENIED }, denied_response { status, body }
            Self::Authz => {
                let denied = [status, field(3, body.as_bytes())].concat();
                [field(1, &number(1, 7)), field(2, &denied)].concat()
            }
            // immediate_response { status, body }
            Self::Proc => field(7, &[status, field(3, body.as_bytes())].concat()),
        }
    }

    /// A HeaderValueOption: header { key, value or raw_value }, append_action.
    fn header(self, name: &str, value: &str) -> Vec<u8> {
        let place = match self {
            Self::Authz => 2,
            Self::Proc => 3,
        };
        let pair = [field(1, name.as_bytes()), field(place, value.as_bytes())].concat();
        [field(1, &pair), number(3, OVERWRITE_IF_EXISTS_OR_ADD.into())].concat()
    }
}

/// The headers in a CheckRequest or a ProcessingRequest: names and values.
pub fn header_values(service: Service, message: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let (path, entries): (&[u8], u8) = match service {
        // attributes.request.http.headers
        Service::Authz => (&[1, 4, 2], 3),
        // request_headers.headers.headers
        Service::Proc => (&[2, 1], 1),
    };
    let mut place = message;
    for number in path {
        place = fields(place).find(|(found, _)| found == number).map_or(&[], |(_, value)| value);
    }
    fields(place).filter(move |(number, _)| *number == entries).map(|(_, entry)| {
        let of = |wanted| fields(entry).find(|(number, _)| *number == wanted).map(|it| it.1);
        // the value, or the raw value
        (of(1).unwrap_or_default(), of(2).or(of(3)).unwrap_or_default())
    })
}

/// The fields of a message that have a length; others are left out.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let key = take_number(&mut rest)?;
            match key & 7 {
                0 => drop(take_number(&mut rest)?),
                1 => rest = rest.get(8..)?,
                2 => {
                    let length = take_number(&mut rest)? as usize;
                    let (value, after) = rest.split_at_checked(length)?;
                    rest = after;
                    return Some((u8::try_from(key >> 3).unwrap_or(0), value));
                }
                5 => rest = rest.get(4..)?,
                _ => return None,
            }
        }
    })
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A field with a length.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    push_number(&mut field, value.len() as u64);
    field.extend(value);
    field
}

/// A field that is a number.
fn number(number: u8, value: u64) -> Vec<u8> {
    let mut field = vec![number << 3];
    push_number(&mut field, value);
    field
}

fn push_number(field: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        field.push(value as u8 | 0x80);
        value >>= 7;
    }
    field.push(value as u8);
}
