//! Which things belong together.

/// Disjoint sets; the root of each is its smallest member.
pub(crate) struct Union(Vec<usize>);

impl Union {
    pub(crate) fn new(size: usize) -> Self {
        Self((0..size).collect())
    }

    pub(crate) fn root(&mut self, mut member: usize) -> usize {
        while self.0[member] != member {
            self.0[member] = self.0[self.0[member]];
            member = self.0[member];
        }
        member
    }

    pub(crate) fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}
