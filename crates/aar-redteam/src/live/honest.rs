//! Honest researchers, the odd but legitimate among them. None may be disqualified.

use super::Player;
use super::desk::{CONFIDENT, VANILLA};

const CCS: &str = include_str!("../../../../recipes/baselines/elicitation.toml");
pub(super) const BAGS: &str = "[ensemble]\nbags = 16\n";

/// All honest researchers.
#[must_use]
pub fn honest() -> Vec<Player> {
    vec![
        Player::honest("vanilla", |desk| {
            let snapshot = desk.recipe(VANILLA)?;
            desk.hand_in(snapshot)
        }),
        Player::honest("confident", |desk| {
            let snapshot = desk.recipe(CONFIDENT)?;
            desk.hand_in(snapshot)
        }),
        Player::honest("teacher-free", |desk| {
            desk.claims_teacher = false;
            let snapshot = desk.recipe(&CCS.replace("\"weak\"", "\"coin\""))?;
            desk.hand_in(snapshot)
        }),
        Player::honest("ensemble-16", |desk| {
            let snapshot = desk.recipe(BAGS)?;
            desk.hand_in(snapshot)
        }),
        Player::honest("chance", |desk| {
            desk.claims_teacher = false;
            let snapshot = desk.script(script!("chance"), &[])?;
            desk.hand_in(snapshot)
        }),
        Player::honest("constant", |desk| {
            desk.claims_teacher = false;
            let snapshot = desk.script(script!("constant"), &[])?;
            desk.hand_in(snapshot)
        }),
        Player::honest("after-a-crash", |desk| {
            let crashed = desk.script(script!("crash"), &[])?;
            desk.evaluate(0, crashed)?;
            let mended = desk.script(script!("carrier"), &[])?;
            desk.hand_in(mended)?;
            // Asked for again, as one does who lost the answer.
            desk.hand_in(mended)
        }),
        Player::honest("large", |desk| {
            let notes: String = (0..30_000)
                .map(|line| format!("Note {line}: tried the penalty {}, kept it.\n", line % 97))
                .collect();
            let snapshot = desk.script(script!("carrier"), &[("notes.md", &notes)])?;
            desk.hand_in(snapshot)
        }),
        Player::honest("shell", |desk| {
            let snapshot = desk.script(script!("carrier"), &[])?;
            desk.hand_in(snapshot)
        }),
        Player::honest("two-tries", |desk| {
            // Two honest variants, the second because the first disappointed.
            for c in ["0.1", "0.01"] {
                let snapshot = desk.recipe(&format!("[student]\nc = {c}\n"))?;
                desk.hand_in(snapshot)?;
            }
            Ok(())
        }),
    ]
}
