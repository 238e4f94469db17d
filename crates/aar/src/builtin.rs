//! What ships inside `aar`: the lab's binary, the built-in problems' activations, and the recipes.

use aar_core::board::Group;
use aar_core::method::{METHOD_FILE, Method, RECIPE_FILE};
use aar_core::recipe::Recipe;
use aar_lab::builtin::{BASELINES, Builtin, PUBLISHED};
use aar_problem::Bundle;
use aar_problem::generate::BuiltinProblem;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// `aar-lab`, built by `build.rs` without generators, facts tables and models.
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

/// The four established baselines, then the five published methods.
pub(crate) fn methods() -> Result<Vec<ShippedMethod>> {
    let baselines = BASELINES.iter().map(|one| (Group::Baseline, one));
    let published = PUBLISHED.iter().map(|one| (Group::Published, one));
    baselines
        .chain(published)
        .map(|(group, one)| shipped(group, one))
        .collect()
}

fn shipped(group: Group, builtin: &Builtin) -> Result<ShippedMethod> {
    let context = || format!("the shipped recipe {}", builtin.name);
    let recipe = builtin.recipe().with_context(context)?;
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
        (RECIPE_FILE.to_owned(), builtin.toml.as_bytes().to_vec()),
    ]);
    Ok(ShippedMethod {
        name: builtin.name,
        group,
        recipe,
        files,
    })
}
