/// A set of changes, by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Set(Vec<u64>);

impl Set {
    /// An empty one with room for `n`: sets are compared with each other only when they have the same room.
    pub(crate) fn with_room(n: usize) -> Set {
        Set(vec![0; n.div_ceil(64)])
    }

    pub(crate) fn insert(&mut self, i: usize) {
        if let Some(word) = self.0.get_mut(i / 64) {
            *word |= 1 << (i % 64);
        }
    }

    pub(crate) fn remove(&mut self, i: usize) {
        if let Some(word) = self.0.get_mut(i / 64) {
            *word &= !(1 << (i % 64));
        }
    }

    pub(crate) fn flip(&mut self, i: usize) {
        if let Some(word) = self.0.get_mut(i / 64) {
            *word ^= 1 << (i % 64);
        }
    }

    pub(crate) fn contains(&self, i: usize) -> bool {
        self.0.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 == 1)
    }

    pub(crate) fn meets(&self, other: &Set) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// What is in both.
    pub(crate) fn and(&self, other: &Set) -> Set {
        Set(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    /// What is in one of them.
    pub(crate) fn or(&self, other: &Set) -> Set {
        Set(self.0.iter().zip(&other.0).map(|(a, b)| a | b).collect())
    }

    /// Smallest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.iter_and(self)
    }

    /// What is in both, smallest first.
    pub(crate) fn iter_and<'a>(&'a self, other: &'a Set) -> impl Iterator<Item = usize> + 'a {
        self.0.iter().zip(&other.0).enumerate().flat_map(|(n, (a, b))| {
            let mut rest = a & b;
            std::iter::from_fn(move || {
                let bit = usize::try_from(rest.trailing_zeros()).ok().filter(|_| rest != 0)?;
                rest &= rest - 1;
                Some(n * 64 + bit)
            })
        })
    }

    /// Bytes that say what is in it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_be_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Set;

    #[test]
    fn what_was_put_in_comes_out_in_order() {
        let mut set = Set::with_room(200);
        [130, 3, 64, 63].into_iter().for_each(|i| set.insert(i));
        set.remove(64);
        assert_eq!(set.iter().collect::<Vec<_>>(), [3, 63, 130]);
        assert!(set.contains(63) && !set.contains(64) && !set.contains(1_000));
    }
}
