//! The two fixed accuracies between which PGR measures.

use crate::{Estimate, StatsError};
use serde::{Deserialize, Serialize};

/// The weak and the ceiling accuracy of one split, each the mean over many seeds.
///
/// Always finite with `0 <= weak < ceiling <= 1`, also when deserialised.
///
/// A PGR interval made with these is *conditional on the anchors*: they are treated as known
/// constants, so their own sampling error is not in it. That error moves every method on a split
/// in the same direction, so it does not blur comparisons between methods, only the absolute
/// value of PGR.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "Unchecked")]
pub struct Anchors {
    weak: f64,
    ceiling: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    weak: f64,
    ceiling: f64,
}

impl TryFrom<Unchecked> for Anchors {
    type Error = StatsError;

    fn try_from(raw: Unchecked) -> Result<Self, StatsError> {
        Anchors::new(raw.weak, raw.ceiling)
    }
}

impl Anchors {
    /// Anchors from two accuracies.
    ///
    /// # Errors
    /// [`StatsError::Anchors`] unless `0 <= weak < ceiling <= 1`; NaN fails too.
    pub fn new(weak: f64, ceiling: f64) -> Result<Self, StatsError> {
        if 0.0 <= weak && weak < ceiling && ceiling <= 1.0 {
            Ok(Self { weak, ceiling })
        } else {
            Err(StatsError::Anchors { weak, ceiling })
        }
    }

    /// Accuracy of the weak teacher: PGR 0.
    pub fn weak(&self) -> f64 {
        self.weak
    }

    /// Accuracy of the strong model trained on true labels: PGR 1.
    pub fn ceiling(&self) -> f64 {
        self.ceiling
    }

    /// `ceiling - weak`, in `(0, 1]`.
    pub fn gap(&self) -> f64 {
        self.ceiling - self.weak
    }

    /// Performance gap recovered, `(accuracy - weak) / (ceiling - weak)`.
    ///
    /// Not clipped: below 0 when worse than the teacher, above 1 when better than the ceiling.
    ///
    /// Source: Burns et al. 2023, "Weak-to-strong generalization" (arXiv 2312.09390), section 3.
    pub fn pgr(&self, accuracy: f64) -> f64 {
        (accuracy - self.weak) / self.gap()
    }

    /// The accuracy at which [`Anchors::pgr`] takes the value `pgr`.
    pub fn accuracy(&self, pgr: f64) -> f64 {
        self.weak + pgr * self.gap()
    }

    /// An accuracy with its interval as PGR with its interval, conditional on the anchors.
    pub fn pgr_of(&self, accuracy: &Estimate) -> Estimate {
        Estimate {
            value: self.pgr(accuracy.value),
            low: self.pgr(accuracy.low),
            high: self.pgr(accuracy.high),
            std_error: accuracy.std_error / self.gap(),
            freedom: accuracy.freedom,
        }
    }

    /// A difference of accuracies as a difference of PGR: the weak anchor cancels.
    pub fn gain_of(&self, difference: &Estimate) -> Estimate {
        let gap = self.gap();
        Estimate {
            value: difference.value / gap,
            low: difference.low / gap,
            high: difference.high / gap,
            std_error: difference.std_error / gap,
            freedom: difference.freedom,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_spans_no_gap() {
        let bad = [
            (0.7, 0.7),
            (0.8, 0.6),
            (-0.1, 0.5),
            (0.5, 1.1),
            (f64::NAN, 0.5),
        ];
        for (weak, ceiling) in bad
            .into_iter()
            .chain([(0.5, f64::NAN), (0.5, f64::INFINITY)])
        {
            assert!(Anchors::new(weak, ceiling).is_err(), "{weak} {ceiling}");
        }
        assert!(Anchors::new(0.0, 1.0).is_ok());
    }

    #[test]
    fn serde_checks_as_the_constructor_does() {
        let anchors = Anchors::new(0.6, 0.8).unwrap();
        let text = serde_json::to_string(&anchors).unwrap();
        assert_eq!(serde_json::from_str::<Anchors>(&text).unwrap(), anchors);
        for bad in [
            r#"{"weak":0.8,"ceiling":0.6}"#,
            r#"{"weak":0.1,"ceiling":0.6,"x":1}"#,
        ] {
            assert!(serde_json::from_str::<Anchors>(bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn pgr_is_affine_with_its_anchors_at_0_and_1(
            weak in 0.0..0.9f64,
            gap in 0.01..0.1f64,
            accuracy in 0.0..1.0f64,
        ) {
            let anchors = Anchors::new(weak, weak + gap).unwrap();
            prop_assert_eq!(anchors.pgr(anchors.weak()), 0.0);
            prop_assert_eq!(anchors.pgr(anchors.ceiling()), 1.0);
            prop_assert!((anchors.accuracy(anchors.pgr(accuracy)) - accuracy).abs() < 1e-12);
        }
    }
}
