//! Coin weighing: many hidden bits from few exact counts.
//!
//! Source: Lindström 1965, "On a combinatorial problem in number theory", Canad. Math. Bull. 8(4),
//! 477–490; Cantor & Mills 1966, "Determination of a subset from certain combinatorial properties",
//! Canad. J. Math. 18, 42–48: 2^k − 1 counts determine k · 2^(k − 1) bits.
//!
//! Coins are numbered by a set B ⊆ {0..k} (not empty) and a digit j < |B|; weighings by a set X. The
//! coin (B, j) is on the scale X if |X ∩ B| is odd and X ∩ B is one of 2^j chosen odd subsets of B.
//! Summing the weights of all X ⊆ C with sign (−1)^(|X| + 1), coins of sets that do not contain C
//! cancel, and coins of C itself count 2^j each: their bits are the binary digits of the sum, once
//! the coins of larger sets are known and taken off.

/// One block: `2^order − 1` weighings of `order · 2^(order − 1)` coins.
#[derive(Clone, Debug)]
pub(super) struct Weighing {
    order: u32,
    /// Set and digit of each coin, larger sets first: the order in which they become known.
    coins: Vec<(u32, u32)>,
}

impl Weighing {
    /// A block of `order` 1 to 20.
    pub(super) fn new(order: u32) -> Self {
        let mut sets: Vec<u32> = (1..1 << order).collect();
        sets.sort_by_key(|set| std::cmp::Reverse(set.count_ones()));
        let coins = sets
            .into_iter()
            .flat_map(|set| (0..set.count_ones()).map(move |digit| (set, digit)))
            .collect();
        Self { order, coins }
    }

    /// How many coins.
    pub(super) fn coins(&self) -> usize {
        self.coins.len()
    }

    /// The weighings: for each, which coins are on the scale.
    pub(super) fn scales(&self) -> impl Iterator<Item = Vec<usize>> + '_ {
        (1..1u32 << self.order).map(|x| {
            let on = |&coin: &usize| on_scale(x, self.coins[coin]);
            (0..self.coins.len()).filter(on).collect()
        })
    }

    /// The bits of all coins from the counts of all weighings, in order. Counts that no bits give
    /// are brought to the nearest sum that some do.
    pub(super) fn read(&self, counts: &[i64]) -> Vec<bool> {
        let mut bits = vec![false; self.coins.len()];
        let mut at = 0;
        while let Some(&(set, _)) = self.coins.get(at) {
            let mut sum = 0;
            for x in subsets(set) {
                let known = (0..at).filter(|&coin| bits[coin] && on_scale(x, self.coins[coin]));
                let rest = counts[x as usize - 1] - known.count() as i64;
                sum += if x.count_ones() % 2 == 1 { rest } else { -rest };
            }
            let size = set.count_ones() as usize;
            let sum = sum.clamp(0, (1 << size) - 1);
            for digit in 0..size {
                bits[at + digit] = sum >> digit & 1 == 1;
            }
            at += size;
        }
        bits
    }
}

fn on_scale(x: u32, (set, digit): (u32, u32)) -> bool {
    let common = x & set;
    // The odd subsets of a set, packed onto its elements, are numbered by all bits but the lowest.
    common.count_ones() % 2 == 1 && pack(common, set) >> 1 < 1 << digit
}

/// The bits of `part` at the places of `set`, moved together.
fn pack(part: u32, set: u32) -> u32 {
    let mut packed = 0;
    let places = (0..u32::BITS).filter(|place| set >> place & 1 == 1);
    for (rank, place) in places.enumerate() {
        packed |= (part >> place & 1) << rank;
    }
    packed
}

/// The subsets of `set` that are not empty.
fn subsets(set: u32) -> impl Iterator<Item = u32> {
    let mut next = Some(set);
    std::iter::from_fn(move || {
        let now = next?;
        next = match now.wrapping_sub(1) & set {
            0 => None,
            smaller => Some(smaller),
        };
        Some(now)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aar_core::id::Seed;
    use aar_lab::numeric::random::stream;
    use rand::RngExt as _;

    #[test]
    fn counts_of_every_order_give_back_all_bits() {
        let mut rng = stream(Seed(1), "coins", 0);
        for order in 1..=8 {
            let block = Weighing::new(order);
            assert_eq!(block.coins(), order as usize * (1 << (order - 1)));
            let bits: Vec<bool> = (0..block.coins()).map(|_| rng.random()).collect();
            let weigh = |on: Vec<usize>| on.iter().filter(|&&coin| bits[coin]).count() as i64;
            let counts: Vec<i64> = block.scales().map(weigh).collect();
            assert_eq!(counts.len(), (1 << order) - 1);
            assert_eq!(block.read(&counts), bits, "order {order}");
        }
    }
}
