//! A recipe in words, for summaries and findings.

use super::texts;
use aar_core::recipe::{
    Labels, Layers, Loss, NamedLayers, PairView, Recipe, Refine, StudentKind, Threshold,
};

/// What the recipe does, in one sentence without its full stop.
pub(super) fn describe(recipe: &Recipe) -> String {
    let mut steps = match &recipe.finetune {
        Some(finetune) if finetune.zero_shot => vec!["the model's own answers".to_owned()],
        _ => vec![labels(recipe.labels)],
    };
    steps.extend(recipe.refine.iter().map(refinement));
    match &recipe.finetune {
        Some(finetune) => steps.push(texts::describe(finetune)),
        None => steps.push(student(recipe)),
    }
    if let Some(evolve) = recipe.evolve {
        steps.push(format!(
            "{} steps of evolution on consistency",
            evolve.steps
        ));
    }
    let mut text = steps.join(" → ");
    for aside in asides(recipe) {
        text.push_str("; ");
        text.push_str(&aside);
    }
    text
}

fn labels(labels: Labels) -> String {
    match labels {
        Labels::WeakHard {} => "hard weak labels".to_owned(),
        Labels::WeakSoft { temperature } => format!("soft weak labels (temperature {temperature})"),
        Labels::Consistency { restarts, .. } => {
            format!("labels elicited by consistency ({restarts} starts)")
        }
        Labels::Principal { among } => format!("labels from one of {among} principal components"),
        Labels::Judge { folds } => format!("weak labels corrected by a judge ({folds} folds)"),
    }
}

/// A refinement with its numbers.
pub(super) fn refinement(step: &Refine) -> String {
    match *step {
        Refine::KeepConfident { fraction, balanced } => {
            let how = if balanced { " of each class" } else { "" };
            format!("keep the surest {fraction}{how}")
        }
        Refine::KeepAbove { threshold } => format!("keep confidence above {threshold}"),
        Refine::Reweight { power } => format!("weigh by confidence to the power {power}"),
        Refine::CcsAgreement { epsilon } => {
            format!("weigh by agreement with elicited labels (else × {epsilon})")
        }
        Refine::NoisyChannelEm { rounds, folds } => {
            format!("posterior behind a noisy teacher ({rounds} rounds, {folds} folds)")
        }
        Refine::KfoldRelabel { folds, mix } => format!("relabel in {folds} folds (share {mix})"),
        Refine::KnnAgreement {
            neighbours,
            fraction,
        } => {
            format!("keep the {fraction} whose {neighbours} neighbours agree most")
        }
        Refine::OverlapDensity {
            neighbours,
            fraction,
        } => {
            format!("keep the {fraction} of highest overlap density ({neighbours} neighbours)")
        }
        Refine::Epiplexity { fraction, gamma } => {
            format!("smooth all but the {fraction} that teach most (gamma {gamma})")
        }
        Refine::SelfTraining { rounds, fraction } => {
            format!("self-train {rounds} rounds on the surest {fraction}")
        }
    }
}

fn student(recipe: &Recipe) -> String {
    let student = &recipe.student;
    let model = match student.model {
        StudentKind::Linear => "linear probe".to_owned(),
        StudentKind::Mlp { hidden } => format!("network of {hidden} units"),
        StudentKind::LowRank { rank } => format!("probe of rank {rank}"),
    };
    let loss = match student.loss {
        Loss::CrossEntropy { hard: false } => String::new(),
        Loss::CrossEntropy { hard: true } => ", hardened labels".to_owned(),
        Loss::Confidence { alpha } => format!(", confidence loss {alpha}"),
        Loss::ReverseKl {} => ", reverse KL".to_owned(),
    };
    let stages = match student.stages.len() {
        0 => String::new(),
        count => format!(", {count} stages"),
    };
    let space = match recipe.features.components {
        Some(count) => format!("{count} components"),
        None => "all dimensions".to_owned(),
    };
    let depth = match &recipe.features.layers {
        Layers::Named(NamedLayers::Deepest) => "the deepest layer".to_owned(),
        Layers::Named(NamedLayers::Middle) => "the middle layer".to_owned(),
        Layers::Named(NamedLayers::All) if recipe.ensemble.over_layers => "each layer".to_owned(),
        Layers::Named(NamedLayers::All) => "all layers".to_owned(),
        Layers::Listed(list) => format!("layers {list:?}"),
    };
    let c = student.c;
    format!("{model} (C {c}{loss}{stages}) on {space} of {depth}")
}

fn asides(recipe: &Recipe) -> Vec<String> {
    let (features, ensemble) = (&recipe.features, &recipe.ensemble);
    let said = [
        (ensemble.bags > 1, format!("{} bags", ensemble.bags)),
        (features.swap_augment, "trained on both orders".to_owned()),
        (recipe.predict.symmetrise, "symmetrised".to_owned()),
        (
            features.pair == PairView::Concat,
            "options side by side".to_owned(),
        ),
        (!features.standardise, "not scaled".to_owned()),
        (
            recipe.predict.threshold == Threshold::Balanced,
            "balanced threshold".to_owned(),
        ),
    ];
    said.into_iter()
        .filter_map(|(holds, words)| holds.then_some(words))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_says_what_is_done_in_order() {
        assert_eq!(
            describe(&Recipe::default()),
            "hard weak labels → linear probe (C 0.001) on all dimensions of the deepest layer"
        );
        let mut recipe = Recipe::default();
        recipe.refine.push(Refine::Reweight { power: 2.0 });
        recipe.features.components = Some(32);
        recipe.ensemble.bags = 5;
        assert_eq!(
            describe(&recipe),
            "hard weak labels → weigh by confidence to the power 2 → \
             linear probe (C 0.001) on 32 components of the deepest layer; 5 bags"
        );
    }
}
