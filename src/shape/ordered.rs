//! Short lists that are kept in order.
//!
//! The standard library's sorts take 10 to 35 KB of the module's 600 for each type that is sorted.
//! Lists of a few elements, or built once from a configuration, don't need their speed.

/// Puts an element behind all elements whose key isn't greater.
pub fn insert<T, K: Ord + ?Sized>(list: &mut Vec<T>, element: T, key: impl Fn(&T) -> &K) {
    let at = list.partition_point(|known| key(known) <= key(&element));
    list.insert(at, element);
}

/// The elements in order.
pub fn sorted<T: Ord>(elements: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut list = Vec::new();
    for element in elements {
        insert(&mut list, element, |element| element);
    }
    list
}
