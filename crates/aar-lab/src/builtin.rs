//! The recipes of the repository's `recipes/`: established baselines and published methods.

use aar_core::recipe::{Recipe, RecipeError};

/// A recipe of the repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Builtin {
    /// The name on the board.
    pub name: &'static str,
    /// The recipe file.
    pub toml: &'static str,
}

impl Builtin {
    /// The recipe itself.
    ///
    /// # Errors
    /// Never for the constants of this module; a test reads them all.
    pub fn recipe(&self) -> Result<Recipe, RecipeError> {
        Recipe::from_toml(self.toml)
    }
}

macro_rules! builtin {
    ($name:literal, $file:literal) => {
        Builtin {
            name: $name,
            toml: include_str!(concat!("../../../recipes/", $file, ".toml")),
        }
    };
}

/// The four established baselines (study report, figure 3; `docs/methods.md`).
pub const BASELINES: [Builtin; 4] = [
    builtin!("vanilla", "baselines/vanilla"),
    builtin!("confident", "baselines/confident"),
    builtin!("elicitation", "baselines/elicitation"),
    builtin!("critic-judge", "baselines/critic"),
];

/// The established baselines on language models that read texts.
pub const TEXTS: [Builtin; 3] = [
    builtin!("vanilla", "texts/vanilla"),
    builtin!("confident", "texts/confident"),
    builtin!("zero-shot", "texts/zero_shot"),
];

/// The five methods that the study describes well enough to rebuild (report §4.2).
pub const PUBLISHED: [Builtin; 5] = [
    builtin!("ccs-es", "published/ccs_es"),
    builtin!("em-posterior", "published/em_posterior"),
    builtin!("overlap-density", "published/overlap_density"),
    builtin!("mdl-curriculum", "published/mdl_curriculum"),
    builtin!("epiplexity", "published/epiplexity"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_reads_and_vanilla_is_the_default() {
        for builtin in BASELINES.iter().chain(&PUBLISHED) {
            let recipe = builtin.recipe().unwrap();
            assert!(!recipe.summary.is_empty(), "{}", builtin.name);
            assert!(recipe.uses_teacher());
        }
        let vanilla = BASELINES[0].recipe().unwrap();
        assert_eq!(
            Recipe {
                summary: String::new(),
                ..vanilla
            },
            Recipe::default()
        );
    }
}
