//! Writes MMDB files (<https://maxmind.github.io/MaxMind-DB/>) as small as tests need them.

/// A search tree under construction: 0 is the root, IPv4 lies under `::/96`.
#[derive(Default)]
pub(crate) struct Tree {
    nodes: Vec<[Child; 2]>,
    data: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
enum Child {
    #[default]
    Empty,
    Node(u32),
    Record(u32),
}

impl Tree {
    /// Puts a record at a network, none of whose addresses has one yet.
    pub(crate) fn insert(&mut self, bits: u128, length: u8, record: &[u8]) {
        if self.nodes.is_empty() {
            self.nodes.push(Default::default());
        }
        let leaf = Child::Record(self.data.len() as u32);
        self.data.extend_from_slice(record);
        let mut node = 0;
        for depth in 0..length {
            let side = (bits >> (127 - depth) & 1) as usize;
            if depth + 1 == length {
                self.nodes[node][side] = leaf;
                return;
            }
            node = match self.nodes[node][side] {
                Child::Node(next) => next as usize,
                Child::Empty | Child::Record(_) => {
                    self.nodes.push(Default::default());
                    let next = self.nodes.len() - 1;
                    self.nodes[node][side] = Child::Node(next as u32);
                    next
                }
            };
        }
    }

    pub(crate) fn file(mut self) -> Vec<u8> {
        if self.nodes.is_empty() {
            self.nodes.push(Default::default());
        }
        let count = self.nodes.len() as u32;
        let pointer = |child: &Child| match child {
            Child::Empty => count,
            Child::Node(next) => *next,
            Child::Record(offset) => count + 16 + offset,
        };
        let nodes: Vec<[u32; 2]> =
            self.nodes.iter().map(|[left, right]| [pointer(left), pointer(right)]).collect();
        file(6, &nodes, &self.data)
    }
}

/// A file with that tree, its records 24 bits wide.
pub(crate) fn file(ip_version: u8, nodes: &[[u32; 2]], data: &[u8]) -> Vec<u8> {
    let mut file: Vec<u8> =
        nodes.iter().flatten().flat_map(|record| record.to_be_bytes()[1..].to_vec()).collect();
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com\xe9");
    let mut field = |name: &str, value: &[u8]| {
        file.extend(text(name));
        file.extend(value);
    };
    field("binary_format_major_version", &[0xa1, 2]);
    field("binary_format_minor_version", &[0xa0]);
    field("build_epoch", &[0x00, 0x02]);
    field("database_type", &text("Test"));
    field("description", &[0xe0]);
    field("ip_version", &[0xa1, ip_version]);
    field("languages", &[0x00, 0x04]);
    field("node_count", &number(nodes.len() as u32));
    field("record_size", &[0xa1, 24]);
    file
}

/// `{"country_code": code}`
pub(crate) fn country(code: &str) -> Vec<u8> {
    [vec![0xe1], text("country_code"), text(code)].concat()
}

/// `{"country": {"iso_code": code}}`
pub(crate) fn nested_country(code: &str) -> Vec<u8> {
    [vec![0xe1], text("country"), vec![0xe1], text("iso_code"), text(code)].concat()
}

/// `{"autonomous_system_number": asn}`
pub(crate) fn asn(asn: u32) -> Vec<u8> {
    [vec![0xe1], text("autonomous_system_number"), number(asn)].concat()
}

/// Any record, as JSON has it; numbers are unsigned.
pub(crate) fn record(json: &serde_json::Value) -> Vec<u8> {
    use serde_json::Value;
    match json {
        Value::String(value) => text(value),
        Value::Number(value) => number(value.as_u64().unwrap() as u32),
        Value::Bool(value) => vec![*value as u8, 7],
        Value::Array(values) => {
            [vec![values.len() as u8, 4], values.iter().flat_map(record).collect()].concat()
        }
        Value::Object(members) => {
            let members =
                members.iter().flat_map(|(name, value)| [text(name), record(value)].concat());
            [0xe0 | json.as_object().unwrap().len() as u8].into_iter().chain(members).collect()
        }
        Value::Null => Vec::new(), // the format has none
    }
}

/// At most 284 bytes.
fn text(text: &str) -> Vec<u8> {
    let size = match text.len() {
        short @ 0..29 => vec![0x40 | short as u8],
        long => vec![0x40 | 29, u8::try_from(long - 29).unwrap()],
    };
    [&size, text.as_bytes()].concat()
}

fn number(number: u32) -> Vec<u8> {
    [&[0xc4][..], &number.to_be_bytes()].concat()
}
