//! The customers: read in any of their forms, and checked against each other.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::documents::{CustomersFile, PartialList};
use super::files::{CUSTOMERS_JSON, Documents, document};
use super::forms::{self, CUSTOMERS, EntryLocations, ListContents, RowLocation};
use super::guess::SuggestionBudget;
use crate::compile::remarks::{Remark, Remarks, grouped};
use crate::register::{
    Credential, CredentialEntry, Customer, Override, ScreeningStatus, check_customer,
};
use crate::shape::{Json, Mismatch, Path, Problem, Problems, Shape};
use crate::terms::finding::Action;
use crate::terms::names::CredentialDigest;
use crate::terms::time::UnixSeconds;

pub(super) fn read_customers(
    documents: &Documents,
    remarks: &mut Remarks,
) -> ListContents<Customer> {
    let Some(found) = CUSTOMERS.find(documents, remarks) else {
        let help = "add customers.json, customers.jsonl, customers.csv or customers.xlsx; \
                    for a start, customers.json with {\"customers\": []}";
        remarks.error(CUSTOMERS_JSON, None, "missing customers", help);
        return ListContents::none(CUSTOMERS, false);
    };
    let customers = |remarks: &mut Remarks| {
        let read: Option<CustomersFile> = document(documents, CUSTOMERS_JSON, remarks);
        read.map_or_else(|| PartialList::none(false), |file| file.customers)
    };
    let mut keys: Vec<SideRow<CredentialEntry>> = Vec::new();
    let mut overrides: Vec<SideRow<Override>> = Vec::new();
    let mut read = forms::read(
        CUSTOMERS,
        found,
        documents,
        remarks,
        customers,
        |remarks, table, place, json| match table {
            1 => keys.extend(SideRow::read(place, json, remarks)),
            _ => overrides.extend(SideRow::read(place, json, remarks)),
        },
    );
    attach(&mut read, keys, overrides, remarks);
    read
}

/// A row of a side table: its customer's id, and its content.
struct SideRow<T> {
    location: RowLocation,
    customer: String,
    value: T,
}

impl<T: Shape> SideRow<T> {
    fn read(location: RowLocation, json: &Json, remarks: &mut Remarks) -> Option<Self> {
        let Json::Object(members) = json else { return None };
        let (whose, rest): (Vec<_>, Vec<_>) =
            members.iter().cloned().partition(|(name, _)| name == "customer");
        let mut problems = Problems::default();
        let customer = whose.first().and_then(|(_, id)| id.as_str()).map(str::to_owned);
        if customer.is_none() {
            problems.missing(&Path::Root, "customer");
        }
        let value = T::read(&Json::Object(rest), &Path::Root, &mut problems);
        for problem in problems.iter() {
            remarks.push_error(location.remark(&problem.path, problem));
        }
        Some(Self { location, customer: customer?, value: value? })
    }
}

/// Adds the rows of the side tables to their customers.
fn attach(
    read: &mut ListContents<Customer>,
    keys: Vec<SideRow<CredentialEntry>>,
    overrides: Vec<SideRow<Override>>,
    remarks: &mut Remarks,
) {
    if keys.is_empty() && overrides.is_empty() {
        return;
    }
    let ListContents { locations, entries: customers, .. } = read;
    let ids = customers.iter().enumerate().rev();
    let ids: HashMap<String, usize> =
        ids.map(|(i, customer)| (customer.id.to_string(), i)).collect();
    let mut budget = SuggestionBudget::MOST;
    let whole = locations.whole;
    let mut find = |location: RowLocation, id: &str, remarks: &mut Remarks| {
        let found = ids.get(id).copied();
        if found.is_none() && whole {
            let known = ids.keys().map(String::as_str);
            let help = budget.suggest(id, known, "add the customer, or remove the row");
            let message = format!("unknown customer `{id}`");
            let problem = Problem { path: String::new(), message, help: Some(help) };
            remarks.push_error(location.remark("$.customer", &problem));
        }
        found
    };
    for SideRow { location, customer: id, value } in keys {
        let Some(i) = find(location, &id, remarks) else { continue };
        let Some(customer) = customers.get_mut(i) else { continue };
        // the customer's own entry may have the digest too: the row has more of it and counts
        let bare = customer.credentials.iter().position(|known| known.digest == value.digest);
        let bare = bare.filter(|n| !locations.is_side_row((i, "credentials", *n)));
        let n = bare.unwrap_or(customer.credentials.len());
        match customer.credentials.get_mut(n) {
            Some(known) => *known = Credential::from(value),
            None => customer.credentials.push(Credential::from(value)),
        }
        locations.came_from((i, "credentials", n), location);
    }
    for SideRow { location, customer: id, value } in overrides {
        let Some(i) = find(location, &id, remarks) else { continue };
        let Some(customer) = customers.get_mut(i) else { continue };
        locations.came_from((i, "overrides", customer.overrides.len()), location);
        customer.overrides.push(value);
    }
}

/// Notes customers that contradict themselves, and duplicate ids, credentials and names. Returns
/// the customers' indices by their ids.
pub(super) fn check_customers<'a>(
    customers: &'a [Customer],
    locations: &EntryLocations,
    remarks: &mut Remarks,
) -> HashMap<&'a str, usize> {
    let mut ids: HashMap<&str, usize> = HashMap::with_capacity(customers.len());
    let mut credentials: HashMap<&CredentialDigest, usize> =
        HashMap::with_capacity(customers.len());
    let mut certificates: HashMap<&str, usize> = HashMap::new();
    let mut claims: HashMap<&str, usize> = HashMap::new();
    for (i, customer) in customers.iter().enumerate() {
        locations.note(i, remarks, |at, problems| {
            check_customer(customer, at, problems);
            if customer.entity.is_some() && customer.ownership.is_some() {
                let help = "keep `entity` if the owners are on file, or else `ownership`";
                problems.wrong(at, "`entity` and `ownership` exclude each other", help);
            }
            if let Some(first) = first_place(ids.entry(customer.id.as_str()), i) {
                let help = format!("the first is at {}", locations.place(first));
                let message = format!("duplicate `{}`", customer.id);
                problems.wrong(&Path::Member(at, "id"), &message, &help);
            }
            let mut duplicate = |list: &str, n: usize, what: &str, first: Option<usize>| {
                let Some(first) = first else { return };
                let list = Path::Member(at, list);
                let (message, help) = if first == i {
                    (format!("duplicate {what}"), "keep one of the two".into())
                } else {
                    let help = format!("remove it here or at {}", locations.place(first));
                    (format!("duplicate {what}: two customers have it"), help)
                };
                problems.wrong(&Path::Element(&list, n), &message, &help);
            };
            for (n, credential) in customer.credentials.iter().enumerate() {
                let first = first_place(credentials.entry(&credential.digest), i);
                duplicate("credentials", n, "credential", first);
            }
            for (n, name) in customer.mtls.iter().enumerate() {
                let first = first_place(certificates.entry(name.as_str()), i);
                duplicate("mtls", n, "certificate name", first);
            }
            for (n, value) in customer.jwt.iter().enumerate() {
                duplicate("jwt", n, "claim value", first_place(claims.entry(value.as_str()), i));
            }
        });
    }
    ids
}

/// The index that took this entry first; `None` if the entry was free, and `i` takes it.
pub(super) fn first_place<K>(entry: Entry<'_, K, usize>, i: usize) -> Option<usize> {
    match entry {
        Entry::Occupied(first) => Some(*first.get()),
        Entry::Vacant(free) => {
            free.insert(i);
            None
        }
    }
}

pub(super) fn check_entity_references(
    customers: &[Customer],
    locations: &EntryLocations,
    known: Option<&HashSet<&str>>,
    remarks: &mut Remarks,
) {
    let Some(known) = known else { return };
    let mut budget = SuggestionBudget::MOST;
    for (i, customer) in customers.iter().enumerate() {
        if let Some(id) = customer.entity.as_ref().filter(|id| !known.contains(id.as_str())) {
            let other = "add it to entities.json, with its country of incorporation";
            let help = budget.suggest(id.as_str(), known.iter().copied(), other);
            let mismatch = Mismatch::new(format!("unknown entity `{id}`"), help);
            locations.note(i, remarks, |at, problems| {
                problems.mismatch(&Path::Member(at, "entity"), mismatch);
            });
        }
    }
}

/// One notice for many customers: their count, and the place of the first.
struct Tally {
    count: usize,
    first: Option<Remark>,
}

impl Tally {
    fn count(
        &mut self,
        locations: &EntryLocations,
        i: usize,
        place: impl FnOnce(&Path<'_>, &mut Problems),
    ) {
        self.count = self.count.saturating_add(1);
        if self.first.is_none() {
            self.first = locations.say(i, place).into_iter().next();
        }
    }

    fn notice(self, one: &str, many: &str, help: &str, remarks: &mut Remarks) {
        if let Some(mut remark) = self.first {
            remark.problem.message = match self.count {
                1 => format!("1 {one}"),
                n => format!("{} {many}; the first is here", grouped(n)),
            };
            remark.problem.help = Some(help.into());
            remarks.notices.push(remark);
        }
    }
}

/// Notes entries that are valid but probably unintended.
pub(super) fn notice_customers(
    customers: &[Customer],
    locations: &EntryLocations,
    now: UnixSeconds,
    remarks: &mut Remarks,
) {
    let [mut unowned, mut expired, mut ended, mut reroutes] =
        [const { Tally { count: 0, first: None } }; 4];
    for (i, customer) in customers.iter().enumerate() {
        if customer.entity.is_none() && customer.ownership.is_none() {
            unowned.count(locations, i, |at, problems| problems.wrong(at, "", ""));
        }
        if let Some(screening) = &customer.screening
            && screening.status == ScreeningStatus::Passed
            && screening.until.is_some_and(|until| until <= now)
        {
            expired.count(locations, i, |at, problems| {
                problems.wrong(&Path::Member(&Path::Member(at, "screening"), "until"), "", "");
            });
        }
        for (n, entry) in customer.overrides.iter().enumerate() {
            let here = |name: &'static str| {
                move |at: &Path<'_>, problems: &mut Problems| {
                    let list = Path::Member(at, "overrides");
                    problems.wrong(&Path::Member(&Path::Element(&list, n), name), "", "");
                }
            };
            if entry.until <= now {
                ended.count(locations, i, here("until"));
            }
            if matches!(entry.action, Action::Reroute(_)) {
                reroutes.count(locations, i, here("action"));
            }
        }
    }
    unowned.notice(
        "customer has neither `entity` nor `ownership` and is `unresolved`",
        "customers have neither `entity` nor `ownership` and are `unresolved`",
        "name the company in `entity`, or set `ownership` yourself",
        remarks,
    );
    expired.notice(
        "screening has ended",
        "screenings have ended",
        "until it is renewed, each request has the finding `customer.screening-expired`",
        remarks,
    );
    ended.notice(
        "override has ended and does nothing",
        "overrides have ended and do nothing",
        "remove it",
        remarks,
    );
    reroutes.notice(
        "override reroutes to an entry of the node's `routes`",
        "overrides reroute to entries of the node's `routes`",
        "check that the node's configuration has that entry: the register can't see it",
        remarks,
    );
}
