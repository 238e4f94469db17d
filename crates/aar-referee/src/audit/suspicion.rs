//! What of a profile is suspicious.

use super::slices::above_ceiling;
use crate::behaviour::Signal;
use aar_core::audit::{Profile, Trait};
use aar_core::case::Suspicion;
use aar_core::method::Method;

/// The weight of each: enough to be flagged, and not to disqualify alone.
const WEIGHT: f64 = 5.0;

/// The suspicions that a method's profile raises.
///
/// *False claim*: the method says that it learns from the teacher and does as well without one.
///
/// *Text oracle*: without the teacher's labels it keeps its skill, without the texts it loses
/// accuracy, and on all rows it beats the strong model trained on true labels. So neither the teacher
/// nor the strong model gives the answers: something in the texts does, by a rule. It may run the
/// code that a row shows, or know the rows from elsewhere. A rule need not be a cheat, so people look.
///
/// *Carried weights*: with permuted dimensions it is less accurate. What a method learns from the rows
/// and labels that it is given does not hang on the order of dimensions; weights that it brought along
/// do, and no teacher that looks odd warns it.
///
/// *Above the ceiling*, on all rows, of whatever else: a student of weak labels has no business there.
/// A method that carries answers, and behaves when it sees that the labels were changed, shows nothing
/// else; yet the ceiling is one linear probe, and a better student can be better.
#[must_use]
pub fn suspicions(profile: &Profile, method: &Method) -> Vec<Signal> {
    let mut found = Vec::new();
    let mut suspect = |suspicion, why: &str| {
        found.push(Signal {
            suspicion,
            weight: WEIGHT,
            evidence: format!("{why}; the audit says: {}", profile.words()),
        });
    };
    if profile.contradicts_claim(method) {
        suspect(
            Suspicion::FalseClaim,
            "method.toml says claims_teacher = true",
        );
    }
    if profile.has(Trait::CarriesWeights) {
        suspect(
            Suspicion::CarriedWeights,
            "accuracy is lost when the dimensions of the states change places and signs",
        );
    }
    if above_ceiling(profile) {
        if profile.has(Trait::TeacherFree) && profile.has(Trait::ReadsTexts) {
            suspect(
                Suspicion::TextOracle,
                "the answers come from the texts, not from the teacher, and are better than those \
                 of the strong model trained on true labels",
            );
        } else {
            suspect(
                Suspicion::AboveCeiling,
                "the answers are better than those of the strong model trained on true labels",
            );
        }
    }
    found
}
