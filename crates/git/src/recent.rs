use std::collections::HashMap;
use std::hash::Hash;

/// Keeps what was used lately, within a limit: two generations, of which the older one is dropped when
/// the younger one is full.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    weight: usize,
    limit: usize,
}

impl<K: Eq + Hash + Copy, V: Clone> Recent<K, V> {
    /// Keeps at most about twice `limit`, in whatever unit the weights have.
    pub(crate) fn new(limit: usize) -> Self {
        Recent { young: HashMap::new(), old: HashMap::new(), weight: 0, limit }
    }

    pub(crate) fn get(&mut self, key: K, weight: impl Fn(&V) -> usize) -> Option<V> {
        if let Some(value) = self.young.get(&key) {
            return Some(value.clone());
        }
        let value = self.old.remove(&key)?;
        let weighs = weight(&value);
        self.put(key, value.clone(), weighs);
        Some(value)
    }

    pub(crate) fn put(&mut self, key: K, value: V, weight: usize) {
        if self.weight + weight > self.limit {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += weight;
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let mut recent: Recent<u32, u32> = Recent::new(10);
        for key in 0..1_000 {
            recent.put(key, key, 1);
            assert_eq!(recent.get(0, |_| 1), Some(0), "after {key}");
            assert!(recent.young.len() + recent.old.len() <= 20);
        }
        assert_eq!(recent.get(1, |_| 1), None);
    }
}
