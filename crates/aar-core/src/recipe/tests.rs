use super::*;

#[test]
fn the_empty_recipe_is_the_naive_baseline() {
    let recipe = Recipe::from_toml("").unwrap();
    assert_eq!(recipe, Recipe::default());
    assert_eq!(recipe.family(), Family::Other);
    assert_eq!(recipe.complexity(), 0);
    assert!(recipe.uses_teacher());
}

const FULL: &str = r#"
summary = "everything at once"
[features]
layers = [12, 20]
pooling = "mean"
components = 32
pair = "concat"
swap_augment = true
[labels]
kind = "weak-soft"
temperature = 2.0
[[refine]]
kind = "keep-confident"
fraction = 0.5
balanced = true
[[refine]]
kind = "self-training"
rounds = 3
fraction = 0.5
[student]
c = 0.01
model = { kind = "mlp", hidden = 16 }
loss = { kind = "confidence", alpha = 0.5 }
stages = [{ fraction = 0.5, epochs = 2, rate = 1.0 }]
[evolve]
steps = 10
sigma = 0.05
rate = 0.1
rows = 200
[ensemble]
bags = 4
over_layers = true
combine = "trimmed-logit"
[predict]
symmetrise = true
threshold = "balanced"
"#;

#[test]
fn a_recipe_survives_writing_and_reading() {
    let recipe = Recipe::from_toml(FULL).unwrap();
    let text = recipe.to_toml().unwrap();
    assert_eq!(Recipe::from_toml(&text).unwrap(), recipe);
    assert_eq!(recipe.family(), Family::Evolutionary);
    let json = serde_json::to_string(&recipe).unwrap();
    assert_eq!(serde_json::from_str::<Recipe>(&json).unwrap(), recipe);
}

#[test]
fn unknown_keys_are_refused_at_every_level() {
    for text in [
        "nope = 1",
        "[features]\nnope = 1",
        "[labels]\nkind = \"weak-hard\"\nnope = 1",
        "[labels]\nkind = \"judge\"\nfolds = 3\nnope = 1",
        "[[refine]]\nkind = \"reweight\"\npower = 1.0\nnope = 1",
        "[student]\nnope = 1",
        "[student.model]\nkind = \"linear\"\nnope = 1",
        "[student.loss]\nkind = \"reverse-kl\"\nnope = 1",
        "[student]\nstages = [{ fraction = 0.5, epochs = 1, rate = 1.0, nope = 1 }]",
        "[ensemble]\nnope = 1",
        "[finetune]\nloss = { kind = \"reverse-kl\", nope = 1 }",
        "[finetune]\nloss = { kind = \"expression\", value = \"m\", nope = 1 }",
        "[predict]\nnope = 1",
        "[finetune]\n[critic]\nnope = 1",
        "[finetune]\n[critic.grpo]\nnope = 1",
    ] {
        let error = Recipe::from_toml(text).unwrap_err();
        assert!(matches!(error, RecipeError::Parse(_)), "{text}: {error}");
        assert!(error.to_string().contains("nope"), "{text}: {error}");
    }
}

#[test]
fn values_out_of_bounds_name_their_field() {
    for (text, name) in [
        ("[features]\ncomponents = 0", "features.components"),
        ("[features]\nlayers = [3, 3]", "features.layers"),
        ("[features]\nlayers = []", "features.layers"),
        (
            "[labels]\nkind = \"weak-soft\"\ntemperature = nan",
            "labels.temperature",
        ),
        ("[student]\nc = inf", "student.c"),
        (
            "[student]\nloss = { kind = \"confidence\", alpha = 0.95 }",
            "student.loss.alpha",
        ),
        (
            "[finetune]\nloss = { kind = \"confidence\", alpha = nan }",
            "finetune.loss.alpha",
        ),
        ("[ensemble]\nbags = 33", "ensemble.bags"),
        (
            "[ensemble]\nbags = 30\n[student.model]\nkind = \"mlp\"\nhidden = 4",
            "fits",
        ),
        (
            "[[refine]]\nkind = \"reweight\"\npower = 1\n[[refine]]\nkind = \"keep-above\"\nthreshold = 0.2",
            "refine[1].threshold",
        ),
    ] {
        let error = Recipe::from_toml(text).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("field {name}")),
            "{text}: {error}"
        );
    }
    let error = Recipe::from_toml("[features]\nlayers = \"top\"")
        .unwrap_err()
        .to_string();
    assert!(error.contains("deepest"), "{error}");
}

#[test]
fn the_family_follows_the_order_of_precedence() {
    let family = |text: &str| Recipe::from_toml(text).unwrap().family();
    let ccs = "[labels]\nkind = \"consistency\"\nrestarts = 2\norient = \"coin\"\n";
    assert_eq!(family(ccs), Family::UnsupervisedElicitation);
    assert!(!Recipe::from_toml(ccs).unwrap().uses_teacher());
    assert!(
        Recipe::from_toml(&ccs.replace("coin", "weak"))
            .unwrap()
            .uses_teacher()
    );
    let above = "[[refine]]\nkind = \"keep-above\"\nthreshold = 0.75\n";
    assert_eq!(family(above), Family::DataFiltering);
    assert!(
        Recipe::from_toml(&format!("{ccs}{above}"))
            .unwrap()
            .uses_teacher()
    );
    assert_eq!(family("[ensemble]\nbags = 2"), Family::Ensemble);
    assert_eq!(family("[features]\ncomponents = 8"), Family::ModelInternal);
    assert_eq!(
        family("[student.loss]\nkind = \"reverse-kl\""),
        Family::LossFunction
    );
}

#[test]
fn a_language_model_has_the_losses_of_students_and_formulas() {
    for (loss, family, complexity) in [
        ("kind = \"cross-entropy\", hard = false", Family::Other, 1),
        ("kind = \"cross-entropy\", hard = true", Family::Other, 2),
        (
            "kind = \"confidence\", alpha = 0.5",
            Family::LossFunction,
            2,
        ),
        ("kind = \"reverse-kl\"", Family::LossFunction, 2),
        (
            "kind = \"expression\", value = \"\"\"\nif(m > 0, softplus(-m), m^2)\"\"\"",
            Family::LossFunction,
            2,
        ),
    ] {
        let recipe = Recipe::from_toml(&format!("finetune.loss = {{ {loss} }}")).unwrap();
        assert_eq!(recipe.family(), family, "{loss}");
        assert_eq!(recipe.complexity(), complexity, "{loss}");
        let text = recipe.to_toml().unwrap();
        assert_eq!(Recipe::from_toml(&text).unwrap(), recipe, "{text}");
        let json = serde_json::to_string(&recipe).unwrap();
        assert_eq!(serde_json::from_str::<Recipe>(&json).unwrap(), recipe);
    }
    let said = |loss: &str| {
        let text = format!("[finetune]\nepochs = 2\nloss = {{ {loss} }}");
        Recipe::from_toml(&text).unwrap_err().to_string()
    };
    let wrong = said("kind = \"expression\", value = \"q * logit\"");
    assert!(wrong.starts_with("line 3: field finetune.loss"), "{wrong}");
    assert!(
        wrong.contains("character 5: found `logit`, expected one of a, b"),
        "{wrong}"
    );
    assert!(
        said("kind = \"hinge\"").contains("`expression`"),
        "kinds are listed"
    );
    // Students on frozen states have no formulas.
    let student = "[student.loss]\nkind = \"expression\"\nvalue = \"m\"";
    assert!(Recipe::from_toml(student).is_err());
}

#[test]
fn critic_training_has_bounds_and_needs_a_student_with_adapters() {
    let recipe = Recipe::from_toml("[finetune]\n[critic]\n").unwrap();
    assert_eq!(recipe.critic, Some(Critic::default()));
    assert!(!recipe.uses_teacher());
    assert_eq!(recipe.family(), Family::Other);
    assert_eq!(recipe.complexity(), 2);
    let text = recipe.to_toml().unwrap();
    assert_eq!(Recipe::from_toml(&text).unwrap(), recipe);
    for (text, name) in [
        ("[critic]\n", "critic"),
        (
            "[finetune]\nzero_shot = true\n[critic]\n",
            "finetune.zero_shot",
        ),
        (
            "[finetune]\ntrained = { kind = \"last-layers\", layers = 2 }\n[critic]\n",
            "finetune.trained.kind",
        ),
        (
            "[labels]\nkind = \"weak-soft\"\ntemperature = 1.0\n[finetune]\n[critic]\n",
            "labels and refine",
        ),
    ] {
        let said = Recipe::from_toml(text).unwrap_err().to_string();
        assert!(said.starts_with(&format!("field {name}: ")), "{said}");
    }
    let many = "critic.grpo = { questions = 1024, samples = 8 }\n[finetune]\n";
    let said = Recipe::from_toml(many).unwrap_err().to_string();
    assert!(said.contains("questions times samples"), "{said}");
    for (part, value) in [
        ("writing.max_tokens", "8193"),
        ("writing.top_p", "0.0"),
        ("writing.top_p", "nan"),
        ("imitation.critiques", "0"),
        ("imitation.epochs", "101"),
        ("imitation.rate", "-1e-4"),
        ("judge.epochs", "0"),
        ("judge.rate", "nan"),
        ("judge.max_tokens", "15"),
        ("grpo.steps", "0"),
        ("grpo.questions", "1025"),
        ("grpo.samples", "1"),
        ("grpo.rate", "2.0"),
        ("grpo.kl", "-0.1"),
    ] {
        let text = format!("critic.{part} = {value}\n[finetune]\n");
        let said = Recipe::from_toml(&text).unwrap_err().to_string();
        assert!(
            said.starts_with(&format!("field critic.{part}: ")),
            "{said}"
        );
    }
}
