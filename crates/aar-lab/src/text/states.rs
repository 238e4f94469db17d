//! Trusted: a language model's frozen states of a problem's texts, kept by what they follow from.

use super::TextError;
use super::source::ModelName;
use aar_core::digest::Digest;
use aar_core::problem::{About, ActivationSpec, Pooling, Split, StrongModel};
use aar_models::{Embedder, LanguageModel, Matrix, Tap, Weights};
use aar_problem::{Problem, Table, Tensor, write_inputs};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The splits whose states methods read. Teachers never read the strong model's.
pub const READ: [Split; 3] = [Split::Train, Split::Dev, Split::Rank];
/// Raised whenever the states of the same input change.
const VERSION: &[u8] = b"1";

/// What was computed or found.
#[derive(Clone, Debug)]
pub struct States {
    /// The model and its tensors.
    pub strong: StrongModel,
    /// One tensor for each of these, for each split.
    pub tensors: BTreeMap<Split, Vec<Tensor>>,
    /// How many splits were found and not computed again.
    pub found: usize,
}

/// The states of the last token after each of `layers` blocks, as the built-in problems have them: the texts
/// alone, without a template. `work` keeps them by the model's content, the rows and the layers; sealed
/// rows are among them, so it must be as secret as the vault. `hear` is told a split, texts done and all texts.
///
/// # Errors
/// If the model cannot be read or has fewer blocks, a text is longer than its context, or `work` cannot be
/// written.
pub fn states(
    problem: &Problem,
    model: &ModelName,
    weights: &Weights,
    layers: &[u16],
    work: &Path,
    hear: &mut dyn FnMut(Split, usize, usize),
) -> Result<States, TextError> {
    super::anchors::make_private(work)?;
    let content = model.digest(weights)?;
    let embedder = Embedder::of(LanguageModel::open(&model.path(weights)?)?);
    let width = embedder.width();
    let activations = layers.iter().map(|&layer| ActivationSpec {
        layer,
        pooling: Pooling::Last,
        width,
    });
    let strong = StrongModel {
        name: model.name(),
        activations: activations.collect(),
    };
    let about = About {
        strong: Some(strong.clone()),
        ..problem.about().clone()
    };
    let taps: Vec<Tap> = layers
        .iter()
        .map(|&layer| Tap {
            layer: usize::from(layer),
            pooling: aar_models::Pooling::Last,
        })
        .collect();
    let (mut tensors, mut found) = (BTreeMap::new(), 0);
    for split in READ {
        let rows = &problem.table(split).rows;
        let inputs = problem.layout().inputs(split);
        let inputs = Digest::of(&fs::read(&inputs).map_err(TextError::io(&inputs))?);
        let depths: Vec<u8> = layers
            .iter()
            .flat_map(|layer| layer.to_le_bytes())
            .collect();
        let key = [VERSION, content.as_bytes(), inputs.as_bytes(), &depths];
        let place = work.join(&Digest::of_parts(&key).to_string()[..16]);
        let read = |place: &Path| -> Result<Vec<Tensor>, TextError> {
            let files = ["inputs.jsonl", "activations.safetensors"].map(|file| place.join(file));
            let table = Table::open(&about, &files[0], &files[1])?;
            let each = about
                .activations()
                .iter()
                .map(|spec| table.activations.get(spec));
            Ok(each.collect::<Result<_, _>>()?)
        };
        if let Ok(kept) = read(&place) {
            found += 1;
            tensors.insert(split, kept);
            continue;
        }
        let texts: Vec<String> = rows.iter().flat_map(|row| row.item.texts()).collect();
        let all = texts.len();
        let made = embedder.embed(&texts, &taps, &mut |done| hear(split, done, all))?;
        let options = about.kind.options();
        let made: Vec<Tensor> = made
            .into_iter()
            .map(|Matrix { cols, data, .. }| Tensor {
                data,
                rows: rows.len(),
                options,
                width: cols,
            })
            .collect();
        // It gets its name when it is whole; a damaged one is made again.
        let draft = place.with_extension("new");
        for old in [&place, &draft] {
            if old.exists() {
                fs::remove_dir_all(old).map_err(TextError::io(old))?;
            }
        }
        write_inputs(&draft, &about, rows, &made)?;
        fs::rename(&draft, &place).map_err(TextError::io(&place))?;
        // Read back, so that a first and a second run store the same.
        tensors.insert(split, read(&place)?);
    }
    Ok(States {
        strong,
        tensors,
        found,
    })
}
