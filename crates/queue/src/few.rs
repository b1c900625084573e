use std::ops::Deref;

use yardmaster_protocol::RequestId;

/// Ids in order, mostly one: that one needs no memory of its own, and a copy of it costs next to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Few {
    One(RequestId),
    /// None, or more than one.
    Many(Vec<RequestId>),
}

impl Default for Few {
    fn default() -> Few {
        Few::Many(Vec::new())
    }
}

impl Few {
    pub(crate) fn insert(&mut self, id: RequestId) {
        match self {
            Few::Many(ids) if ids.is_empty() => *self = Few::One(id),
            Few::Many(ids) => {
                if let Err(at) = ids.binary_search(&id) {
                    ids.insert(at, id);
                }
            }
            Few::One(one) if *one == id => {}
            Few::One(one) => *self = Few::Many(vec![id.min(*one), id.max(*one)]),
        }
    }

    pub(crate) fn remove(&mut self, id: RequestId) {
        match self {
            Few::One(one) if *one == id => *self = Few::default(),
            Few::One(_) => {}
            Few::Many(ids) => {
                if let Ok(at) = ids.binary_search(&id) {
                    ids.remove(at);
                }
                if let [one] = ids[..] {
                    *self = Few::One(one);
                }
            }
        }
    }
}

impl Deref for Few {
    type Target = [RequestId];

    fn deref(&self) -> &[RequestId] {
        match self {
            Few::One(id) => std::slice::from_ref(id),
            Few::Many(ids) => ids,
        }
    }
}

impl<'a> IntoIterator for &'a Few {
    type Item = &'a RequestId;
    type IntoIter = std::slice::Iter<'a, RequestId>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn few_are_a_set() {
        let (mut few, mut set, mut seed) = (Few::default(), BTreeSet::new(), 7_u64);
        for step in 0..2_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let id = RequestId((seed >> 33) % 4);
            if seed >> 63 == 0 {
                few.insert(id);
                set.insert(id);
            } else {
                few.remove(id);
                set.remove(&id);
            }
            assert!(few.iter().eq(&set), "step {step}: {few:?} {set:?}");
            assert_eq!(matches!(few, Few::One(_)), set.len() == 1);
        }
    }
}
