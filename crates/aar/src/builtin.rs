//! What ships inside `aar`: the lab's binary, the built-in problems' activations, and the recipes.

use aar_core::board::Group;
use aar_core::method::{METHOD_FILE, Method, RECIPE_FILE};
use aar_core::recipe::{EngineName, FineTune, Recipe};
use aar_lab::builtin::{BASELINES, Builtin, PUBLISHED, TEXTS};
use aar_problem::generate::BuiltinProblem;
use aar_problem::{Bundle, Problem};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// `aar-lab`, built by `build.rs` without generators, facts tables and whatever fetches models.
static LAB: &[u8] = include_bytes!(env!("AAR_LAB_BINARY"));

/// The activations of one built-in problem; the reason names the problem if the file is damaged.
pub(crate) fn bundle(problem: BuiltinProblem) -> Result<Bundle<'static>> {
    let bytes: &'static [u8] = match problem {
        BuiltinProblem::Chat => include_bytes!("../../../assets/chat.safetensors"),
        BuiltinProblem::Math => include_bytes!("../../../assets/math.safetensors"),
        BuiltinProblem::Code => include_bytes!("../../../assets/code.safetensors"),
        BuiltinProblem::Facts => include_bytes!("../../../assets/facts.safetensors"),
    };
    Bundle::open(bytes).with_context(|| format!("the shipped activations of {}", problem.name()))
}

/// Writes the lab's binary to `path`, executable for everyone: sandboxes run it as another user.
pub(crate) fn write_lab(path: &Path) -> Result<()> {
    let write = || {
        fs::write(path, LAB)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// A method that ships with `aar`, for the board's baselines and published methods.
pub(crate) struct ShippedMethod {
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    pub(crate) recipe: Recipe,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// The established baselines of a problem, then the published methods, which need states. Where there are
/// none, language models are trained as the problem's ceilings were, so that only their labels differ.
pub(crate) fn methods(problem: &Problem) -> Result<Vec<ShippedMethod>> {
    if problem.about().activations().is_empty() {
        let ceilings = problem.manifest().ceilings.as_ref();
        let tuning = ceilings.map(|ceilings| &ceilings.tuning);
        return TEXTS.iter().map(|one| text_baseline(one, tuning)).collect();
    }
    let baselines = BASELINES.iter().map(|one| (Group::Baseline, one));
    let published = PUBLISHED.iter().map(|one| (Group::Published, one));
    baselines
        .chain(published)
        .map(|(group, one)| shipped(group, one))
        .collect()
}

fn shipped(group: Group, builtin: &Builtin) -> Result<ShippedMethod> {
    let recipe = builtin.recipe();
    let recipe = recipe.with_context(|| format!("the shipped recipe {}", builtin.name))?;
    method(group, builtin, recipe, builtin.toml.to_owned())
}

fn text_baseline(builtin: &Builtin, tuning: Option<&FineTune>) -> Result<ShippedMethod> {
    let context = || format!("the shipped recipe {}", builtin.name);
    let mut recipe = builtin.recipe().with_context(context)?;
    if let (Some(shipped), Some(tuning)) = (&mut recipe.finetune, tuning) {
        *shipped = FineTune {
            zero_shot: shipped.zero_shot,
            // Recipes' sandboxes have no Python; the engines agree but for rounding.
            engine: EngineName::Native,
            ..tuning.clone()
        };
    }
    let text = recipe.to_toml().with_context(context)?;
    method(Group::Baseline, builtin, recipe, text)
}

/// A shipped recipe, whose file holds `text`, as a method.
fn method(group: Group, builtin: &Builtin, recipe: Recipe, text: String) -> Result<ShippedMethod> {
    let context = || format!("the shipped recipe {}", builtin.name);
    let name = builtin
        .name
        .parse()
        .map_err(anyhow::Error::msg)
        .with_context(context)?;
    let method = Method::for_recipe(
        name,
        recipe.family(),
        recipe.summary.clone(),
        recipe.uses_teacher(),
    );
    let method = toml::to_string(&method).with_context(context)?;
    let files = BTreeMap::from([
        (METHOD_FILE.to_owned(), method.into_bytes()),
        (RECIPE_FILE.to_owned(), text.into_bytes()),
    ]);
    Ok(ShippedMethod {
        name: builtin.name,
        group,
        recipe,
        files,
    })
}
