//! The columns of each table, and what they mean.

use super::cell::CellType;
use crate::shape::nearest;

/// The columns of a table.
#[derive(Debug)]
pub(super) struct TableSchema {
    /// Header, path to the member, type of the cells
    columns: &'static [(&'static str, &'static [&'static str], CellType)],
    /// The required column
    pub(super) key: &'static str,
    /// An example of the first line
    pub(super) example: &'static str,
    /// Whether it also has the [`PROVIDER_COLUMNS`] of each provider
    providers: bool,
}

/// The customers.
pub(super) const CUSTOMERS: &TableSchema = &TableSchema {
    columns: &[
        ("id", &["id"], CellType::Name),
        ("name", &["name"], CellType::Line),
        ("kind", &["kind"], CellType::Text),
        ("status", &["status"], CellType::Text),
        ("credentials", &["credentials"], CellType::Codes),
        ("mtls", &["mtls"], CellType::Words),
        ("jwt", &["jwt"], CellType::Words),
        ("entity", &["entity"], CellType::Name),
        ("ownership", &["ownership"], CellType::Text),
        ("declared", &["declared"], CellType::Codes),
        ("screening_status", &["screening", "status"], CellType::Text),
        ("screening_at", &["screening", "at"], CellType::From),
        ("screening_until", &["screening", "until"], CellType::Until),
        ("screening_by", &["screening", "by"], CellType::Line),
        ("agreement_id", &["agreement", "id"], CellType::Line),
        ("agreement_accepted", &["agreement", "accepted"], CellType::From),
        ("agreement_until", &["agreement", "until"], CellType::Until),
        ("residency", &["residency"], CellType::Text),
        ("vouches_for_users", &["vouches_for_users"], CellType::Truth),
        ("notes", &["notes"], CellType::Text),
    ],
    key: "id",
    example: "id,credentials,…",
    providers: true,
};

/// Details of single credentials.
pub(super) const KEYS: &TableSchema = &TableSchema {
    columns: &[
        ("customer", &["customer"], CellType::Name),
        ("digest", &["digest"], CellType::Text),
        ("label", &["label"], CellType::Line),
        ("expires", &["expires"], CellType::Until),
        ("networks", &["networks"], CellType::Codes),
    ],
    key: "customer",
    example: "customer,digest,label,expires,networks",
    providers: false,
};

/// A customer's own actions.
pub(super) const OVERRIDES: &TableSchema = &TableSchema {
    columns: &[
        ("customer", &["customer"], CellType::Name),
        ("finding", &["finding"], CellType::Text),
        ("action", &["action"], CellType::Action),
        ("author", &["author"], CellType::Line),
        ("until", &["until"], CellType::Until),
        ("reason", &["reason"], CellType::Line),
        ("event", &["event"], CellType::Text),
    ],
    key: "customer",
    example: "customer,finding,action,author,until",
    providers: false,
};

/// Who owns whom.
pub(super) const OWNERS: &TableSchema = &TableSchema {
    columns: &[
        ("owner", &["owner"], CellType::Name),
        ("of", &["of"], CellType::Name),
        ("share", &["share"], CellType::Text),
        ("name", &["name"], CellType::Line),
        ("country", &["country"], CellType::Line),
        ("kind", &["kind"], CellType::Text),
    ],
    key: "owner",
    example: "owner,of,share,name,country,kind",
    providers: false,
};

/// A provider's columns: the header after the provider's name (`anthropic_profile`), path and type.
const PROVIDER_COLUMNS: &[(&str, &[&str], CellType)] = &[
    ("profile", &["profile"], CellType::Text),
    ("enforcement", &["enforcement", "status"], CellType::Text),
    ("enforcement_reason", &["enforcement", "reason"], CellType::Line),
    ("enforcement_opened", &["enforcement", "opened"], CellType::From),
    ("enforcement_expires", &["enforcement", "expires"], CellType::Until),
];

/// Providers whose names are recognised in upper and lower case.
const PROVIDERS: &[&str] = &["anthropic", "openai", "gemini"];

/// A column of the table at hand.
#[derive(Debug, Clone)]
pub(super) enum Column {
    /// The name, the path to the member, the type of the cells
    Known(String, Vec<String>, CellType),
    /// All its cells must be empty
    Nameless,
    /// The name is unknown or duplicate, which is already noted
    Wrong,
}

impl TableSchema {
    pub(super) fn column(&self, header: &str) -> Column {
        let plain = plain(header);
        if plain.is_empty() {
            return Column::Nameless;
        }
        let column = self.columns.iter().find(|(known, _, _)| *known == plain);
        if let Some((name, path, cell_type)) = column {
            let path = path.iter().map(|name| (*name).to_owned()).collect();
            return Column::Known((*name).to_owned(), path, *cell_type);
        }
        let known = |(name, ..): &&(&str, &[&str], CellType)| {
            self.providers && plain.ends_with(&format!("_{name}"))
        };
        let Some((name, path, cell_type)) = PROVIDER_COLUMNS.iter().find(known) else {
            return Column::Wrong;
        };
        let size = plain.chars().count().saturating_sub(name.len()).saturating_sub(1);
        let lower: String = plain.chars().take(size).collect();
        // the name as written, unless blanks were joined
        let same = header.chars().count() == plain.chars().count();
        let provider = if same { header.chars().take(size).collect() } else { lower.clone() };
        let shouted = header == header.to_uppercase();
        let provider =
            if shouted || PROVIDERS.contains(&lower.as_str()) { lower } else { provider };
        if provider.is_empty() {
            return Column::Wrong;
        }
        let path = ["providers", &provider].into_iter().chain(path.iter().copied());
        let path = path.map(str::to_owned).collect();
        Column::Known(format!("{provider}_{name}"), path, *cell_type)
    }

    pub(super) fn help_for(&self, header: &str) -> String {
        let known: Vec<&str> = self.columns.iter().map(|(name, _, _)| *name).collect();
        match nearest(&plain(header), &known) {
            _ if self.providers && plain(header) == "overrides" => {
                "put overrides into the sheet `overrides`, or into customers-overrides.csv".into()
            }
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let provider = ", or a provider's: `anthropic_profile`, `anthropic_enforcement`";
                let more = if self.providers { provider } else { "" };
                format!("one of `{}`{more}", known.join("`, `"))
            }
        }
    }

    /// How many of these names are columns.
    pub(super) fn knows(&self, names: &[Vec<u8>]) -> usize {
        let known = |name: &&Vec<u8>| {
            matches!(self.column(&String::from_utf8_lossy(name)), Column::Known(..))
        };
        names.iter().filter(known).count()
    }
}

/// A header in lower case, with `_` for blanks.
pub(super) fn plain(header: &str) -> String {
    header.to_lowercase().split_whitespace().collect::<Vec<_>>().join("_")
}
