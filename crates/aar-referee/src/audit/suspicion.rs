//! What of a profile is suspicious.

use super::slices::above_ceiling;
use crate::behaviour::Signal;
use aar_core::audit::{Counterfactual, Profile, Trait};
use aar_core::case::Suspicion;
use aar_core::method::Method;

/// The weight of each that is no proof: enough to be flagged, and not to disqualify alone.
const WEIGHT: f64 = 5.0;
/// A loss of accuracy that no method has that learned its weights from what it was given: the shipped
/// ones lose nothing at all.
const CARRIED: f64 = 0.03;

/// The suspicions that a method's profile raises.
///
/// *False claim*: the method says that it learns from the teacher and does as well without one.
///
/// *Text oracle*: without the teacher's labels it keeps its skill, without the texts it loses
/// accuracy, and on all rows it beats the strong model trained on true labels. So neither the teacher
/// nor the strong model gives the answers: something in the texts does, by a rule. It may run the
/// code that a row shows, or know the rows from elsewhere. A rule need not be a cheat, so people look.
///
/// *Carried weights*, a proof: with permuted dimensions it loses more than 0.03 of accuracy. What a
/// method learns from the rows and labels that it is given does not hang on the order of dimensions;
/// weights that it brought along do, and no teacher that looks odd warns it.
///
/// *Permuted loss*, where that is not proven: whoever does the same under every seed has no chance in it
/// that other dimensions could meet, and still loses something (95 % interval above 0). A probe that is
/// used under few of the teachers shows no more. So it is with a method that fails with permuted dimensions and
/// did not without: to fail is no way out.
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
    let evidence = |change: Counterfactual| {
        let mut all = profile.evidence.iter();
        all.find(|one| one.check == change.as_str())
    };
    let permuted = evidence(Counterfactual::PermutedStates);
    let lost = permuted.and_then(|one| one.ci_low);
    let other_seed = evidence(Counterfactual::OtherSeed).and_then(|one| one.agreement);
    if lost > Some(CARRIED) {
        suspect(
            Suspicion::CarriedWeights,
            "accuracy is lost when the dimensions of the states change places and signs",
        );
    } else if permuted.is_some_and(|one| one.value.is_none()) {
        suspect(
            Suspicion::PermutedLoss,
            "it fails when the dimensions of the states change places and signs, and did not in the \
             replication",
        );
    } else if lost > Some(0.0) && other_seed == Some(1.0) {
        suspect(
            Suspicion::PermutedLoss,
            "the seed changes no answer, and some get worse when the dimensions of the states \
             change places and signs",
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
