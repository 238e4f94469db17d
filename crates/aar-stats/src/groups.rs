//! Items that belong together.

use std::collections::HashMap;
use std::hash::Hash;

/// Which group each item belongs to; groups are numbered from 0 by first appearance.
///
/// Items of one group share a source (a prompt, a fact, a template), so their errors are
/// correlated. Statistics treat the group, not the item, as the unit that was sampled.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    of_item: Vec<u32>,
    sizes: Vec<u32>,
}

impl Groups {
    /// Items with equal keys form a group.
    ///
    /// # Panics
    /// With 2³² groups or more.
    pub fn from_keys<K: Eq + Hash>(keys: &[K]) -> Self {
        let mut numbers = HashMap::new();
        let mut sizes = Vec::new();
        let mut of_item = Vec::with_capacity(keys.len());
        for key in keys {
            let number = *numbers.entry(key).or_insert_with(|| {
                sizes.push(0);
                u32::try_from(sizes.len() - 1).expect("fewer than 2^32 groups")
            });
            sizes[number as usize] += 1;
            of_item.push(number);
        }
        Self { of_item, sizes }
    }

    /// Every item its own group: for items that were sampled independently.
    pub fn singletons(items: u32) -> Self {
        Self {
            of_item: (0..items).collect(),
            sizes: vec![1; items as usize],
        }
    }

    /// Number of items.
    pub fn items(&self) -> usize {
        self.of_item.len()
    }

    /// Number of groups.
    pub fn count(&self) -> usize {
        self.sizes.len()
    }

    /// Items in each group, at least 1.
    pub fn sizes(&self) -> &[u32] {
        &self.sizes
    }

    /// The group of each item.
    pub fn of_items(&self) -> &[u32] {
        &self.of_item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_by_first_appearance() {
        let groups = Groups::from_keys(&["b", "a", "b", "c"]);
        assert_eq!(groups.of_items(), [0, 1, 0, 2]);
        assert_eq!(groups.sizes(), [2, 1, 1]);
        assert_eq!(Groups::singletons(3), Groups::from_keys(&[7, 8, 9]));
    }
}
