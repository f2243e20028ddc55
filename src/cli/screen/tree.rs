//! The owners of an entity as a tree.

use std::collections::{BTreeSet, VecDeque};

use crate::compile::ownership::{EntityIndex, Holder, OwnershipScreening, Percentage};
use crate::compile::settings::Method;

/// How many chains are examined.
pub(super) const MOST_CHAINS: usize = 50;
/// How many lines a drawing has.
const MOST_LINES: usize = 60;

/// An entity with its owners.
pub(super) struct OwnerTree<'a> {
    pub(super) screening: &'a OwnershipScreening<'a>,
    pub(super) subject: EntityIndex,
}

/// A row of the tree as it is drawn.
pub(super) struct TreeRow {
    /// The row of the parent
    pub(super) parent: Option<usize>,
    /// The branches before the first line of its text
    pub(super) first: String,
    /// The branches before its other lines
    pub(super) further: String,
    pub(super) label: String,
    pub(super) tone: Tone,
}

/// How a row counts.
#[derive(Clone, Copy)]
pub(super) enum Tone {
    /// As restricted
    Restricted,
    /// As unknown
    Unknown,
    /// As neither
    Plain,
}

/// A holder in the tree.
struct TreeNode {
    holder: Holder,
    /// The nodes of its own holders
    below: Vec<usize>,
    /// Whether it is drawn with its holders above
    again: bool,
    /// Instead of one holder: the number of holders left out
    left_out: usize,
}

impl OwnerTree<'_> {
    pub(super) fn id(&self, index: EntityIndex) -> &str {
        self.screening.graph().entity(index).map_or("", |entity| entity.id.as_str())
    }

    /// An entity's name, id and places.
    pub(super) fn name(&self, index: EntityIndex) -> String {
        let Some(entity) = self.screening.graph().entity(index) else { return String::new() };
        let places: BTreeSet<String> = entity.places().map(|place| place.to_string()).collect();
        let known = places.into_iter().collect::<Vec<_>>().join(" ");
        let unknown = entity.nowhere.join(", ");
        let places = match (known.as_str(), unknown.as_str()) {
            ("", "") => "place unknown".into(),
            (_, "") => known,
            ("", _) => format!("unknown place {unknown}"),
            _ => format!("{known}, and unknown place {unknown}"),
        };
        match &entity.name {
            Some(name) => format!("{name} ({}, {places})", entity.id),
            None => format!("{} ({places})", entity.id),
        }
    }

    /// The rows of the tree from the top down; the entity is the root.
    pub(super) fn rows(&self) -> Vec<TreeRow> {
        let node = |holder| TreeNode { holder, below: Vec::new(), again: false, left_out: 0 };
        let entity = Some(self.subject);
        let root = Holder { entity, basis_points: 0, more: false, through: false };
        let mut nodes = vec![node(root)];
        let mut queue = VecDeque::from([0]);
        let mut seen = BTreeSet::new();
        while let Some(at) = queue.pop_front() {
            let Some(index) = nodes.get(at).and_then(|node| node.holder.entity) else { continue };
            let mut holders = self.screening.holders(index);
            let again = !seen.insert(index);
            if self.screening.itself(index).is_some() || again {
                holders.clear();
            }
            holders.sort_by_key(|holder| {
                (holder.entity.is_none(), std::cmp::Reverse(holder.basis_points))
            });
            let rest = holders.split_off(holders.len().min(MOST_LINES.saturating_sub(nodes.len())));
            let first = nodes.len();
            nodes.extend(holders.into_iter().map(node));
            queue.extend(first..nodes.len());
            if let Some(holder) = rest.first() {
                let nobody = Holder { entity: None, ..*holder };
                nodes.push(TreeNode { left_out: rest.len(), ..node(nobody) });
            }
            let below = (first..nodes.len()).collect();
            if let Some(node) = nodes.get_mut(at) {
                (node.below, node.again) = (below, again);
            }
        }
        let mut rows = Vec::with_capacity(nodes.len());
        let mut stack = vec![(0_usize, None, String::new(), String::new())];
        while let Some((at, parent, first, further)) = stack.pop() {
            let Some(node) = nodes.get(at) else { continue };
            let row = rows.len();
            for below in node.below.iter().rev() {
                let last = node.below.last() == Some(below);
                let (branch, trunk) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
                let (first, further) = (format!("{further}{branch}"), format!("{further}{trunk}"));
                stack.push((*below, Some(row), first, further));
            }
            let (label, tone) = (self.label(node), self.tone(node));
            rows.push(TreeRow { parent, first, further, label, tone });
        }
        rows
    }

    fn tone(&self, node: &TreeNode) -> Tone {
        let Some(index) = node.holder.entity else {
            return if node.left_out > 0 { Tone::Plain } else { Tone::Unknown };
        };
        let counts = self.screening.settings().method != Method::Multiplicative
            && self.screening.blocked(index).is_some();
        if self.screening.itself(index).is_some() || counts {
            Tone::Restricted
        } else if self.screening.ends_unknown(index) {
            Tone::Unknown
        } else {
            Tone::Plain
        }
    }

    fn label(&self, node: &TreeNode) -> String {
        if node.left_out > 0 {
            return format!("{} more", node.left_out);
        }
        let Holder { entity, basis_points, more, through } = node.holder;
        let share = match (basis_points, more) {
            (0, true) => "? %".into(),
            (known, true) => format!("{} or more", Percentage(known)),
            (known, false) => Percentage(known).to_string(),
        };
        let share = if through { format!("{share} through others") } else { share };
        let Some(index) = entity else { return format!("{share}  unknown owner") };
        let mut label = if index == self.subject && !node.again {
            self.name(index)
        } else {
            format!("{share}  {}", self.name(index))
        };
        match (self.screening.itself(index), self.screening.blocked(index)) {
            (Some(place), _) => label.push_str(&format!(": restricted, in {place}")),
            (None, Some(share)) if self.screening.settings().method != Method::Multiplicative => {
                label.push_str(&format!(": counts as restricted ({} of it is)", Percentage(share)))
            }
            (None, _) if self.screening.ends_unknown(index) => label.push_str(": owners unknown"),
            (None, _) => {}
        }
        if node.again && !self.screening.holders(index).is_empty() {
            label.push_str(" (see above)");
        }
        label
    }
}
