//! Money for models: hard caps for each researcher and for all together, reserved before a call and settled
//! after it.

use crate::llm::Money;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// A call that would go beyond a cap. Nothing was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{whose} money for models does not suffice: a call can cost {bound}, and {left} are left")]
pub struct Spent {
    /// Whose cap it is.
    pub whose: Whose,
    /// What the call can cost at most.
    pub bound: Money,
    /// What is left, less what calls that are under way may still cost.
    pub left: Money,
    /// Would it suffice if those calls cost nothing? Then it may, once they are settled.
    pub pending: bool,
}

/// Whose cap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// One researcher's.
    Researcher,
    /// That of all together.
    Study,
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Researcher => "the researcher's",
            Self::Study => "the study's",
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Account {
    cap: Money,
    spent: Money,
    reserved: Money,
}

impl Account {
    fn left(&self) -> Money {
        self.cap.minus(self.spent + self.reserved)
    }

    fn holds(&self, bound: Money) -> bool {
        self.spent + self.reserved + bound <= self.cap
    }
}

/// The money of a study.
#[derive(Clone, Debug)]
pub struct Purse(Arc<Mutex<Account>>);

impl Purse {
    /// A purse that holds `cap`, of which `spent` was spent before, as by a run that was resumed.
    #[must_use]
    pub fn new(cap: Money, spent: Money) -> Self {
        let reserved = Money::ZERO;
        Self(Arc::new(Mutex::new(Account {
            cap,
            spent,
            reserved,
        })))
    }

    /// A researcher's part: its own cap within the study's.
    #[must_use]
    pub fn allowance(&self, cap: Money, spent: Money) -> Allowance {
        Allowance {
            own: Self::new(cap, spent),
            study: self.clone(),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What one researcher may spend.
#[derive(Clone, Debug)]
pub struct Allowance {
    own: Purse,
    study: Purse,
}

impl Allowance {
    /// What is left, the study's cap included.
    #[must_use]
    pub fn left(&self) -> Money {
        let [own, study] =
            [&self.own, &self.study].map(|purse| purse.with(|account| account.left()));
        own.min(study)
    }

    /// What was spent.
    #[must_use]
    pub fn spent(&self) -> Money {
        self.own.with(|account| account.spent)
    }

    /// Sets money aside for a call that can cost `bound`.
    ///
    /// # Errors
    /// [`Spent`] if a cap would not hold; then nothing is set aside.
    pub fn reserve(&self, bound: Money) -> Result<Reservation<'_>, Spent> {
        let refuse = |whose, account: &Account| Spent {
            whose,
            bound,
            left: account.left(),
            pending: account.spent + bound <= account.cap,
        };
        // Always in this order, so that nobody waits for the other.
        self.own.with(|own| {
            if !own.holds(bound) {
                return Err(refuse(Whose::Researcher, own));
            }
            self.study.with(|study| {
                if !study.holds(bound) {
                    return Err(refuse(Whose::Study, study));
                }
                own.reserved += bound;
                study.reserved += bound;
                Ok(Reservation {
                    allowance: self,
                    bound,
                    cost: Money::ZERO,
                })
            })
        })
    }
}

/// Money that is set aside for one call. Dropped without being settled it goes back.
#[derive(Debug)]
pub struct Reservation<'a> {
    allowance: &'a Allowance,
    bound: Money,
    cost: Money,
}

impl Reservation<'_> {
    /// What the call can cost at most.
    #[must_use]
    pub fn bound(&self) -> Money {
        self.bound
    }

    /// Spends what the call did cost. More than was set aside is booked all the same: it was spent.
    pub fn settle(mut self, cost: Money) {
        self.cost = cost;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        for purse in [&self.allowance.own, &self.allowance.study] {
            purse.with(|account| {
                account.reserved = account.reserved.minus(self.bound);
                account.spent += self.cost;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_order_of_calls_gets_beyond_a_cap() {
        let purse = Purse::new(Money(100), Money::ZERO);
        let (a, b) = (
            purse.allowance(Money(70), Money::ZERO),
            purse.allowance(Money(70), Money(10)),
        );
        let first = a.reserve(Money(60)).unwrap();
        assert_eq!(a.reserve(Money(11)).unwrap_err().whose, Whose::Researcher);
        let refused = b.reserve(Money(41)).unwrap_err();
        assert_eq!((refused.whose, refused.left), (Whose::Study, Money(40)));
        assert!(refused.pending);
        let second = b.reserve(Money(40)).unwrap();
        first.settle(Money(20));
        assert_eq!((a.spent(), a.left()), (Money(20), Money(40)));
        drop(second);
        assert_eq!((b.spent(), b.left()), (Money(10), Money(60)));
        // A provider's bill beyond the bound counts.
        b.reserve(Money(50)).unwrap().settle(Money(75));
        assert_eq!((a.left(), b.left()), (Money(5), Money::ZERO));
        assert!(!a.reserve(Money(6)).unwrap_err().pending);
        assert!(b.reserve(Money(1)).is_err() && b.reserve(Money::ZERO).is_err());
    }

    #[test]
    fn many_at_once_never_set_aside_more_than_there_is() {
        let purse = Purse::new(Money(1_000), Money::ZERO);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let allowance = purse.allowance(Money(400), Money::ZERO);
                scope.spawn(move || {
                    for cost in 0..50 {
                        if let Ok(held) = allowance.reserve(Money(20)) {
                            held.settle(Money(cost % 20));
                        }
                    }
                });
            }
        });
        let left = purse.with(|account| {
            assert_eq!(account.reserved, Money::ZERO);
            assert!(account.spent <= account.cap);
            account.left()
        });
        assert!(left < Money(20));
    }
}
