//! Models as a sandbox shows them: files in `$AAR_MODELS`, and a list of names.

use super::TextError;
use super::source::ModelName;
use aar_core::study::STUDENTS_FILE;
use aar_models::ModelSource;
use std::fs;
use std::path::{Path, PathBuf};

/// The model that a recipe calls `wanted`, or the first one, of those in `models`.
///
/// # Errors
/// If there is no such model; the error lists those there are.
pub fn student(models: &Path, wanted: Option<&str>) -> Result<ModelName, TextError> {
    let list = models.join(STUDENTS_FILE);
    let text = fs::read_to_string(&list).map_err(TextError::io(&list))?;
    let known: Vec<&str> = text.lines().collect();
    let found = match wanted {
        Some(name) => known.iter().find(|one| **one == name),
        None => known.first(),
    };
    let Some(name) = found else {
        return Err(TextError::Refused(format!(
            "field finetune.student: found {:?}, expected one of the study's students: {}",
            wanted.unwrap_or_default(),
            known.join(", ")
        )));
    };
    let path = checkpoint(&models.join(name))?;
    Ok(ModelName::At(ModelSource::File(path)))
}

/// The checkpoint's directory itself, or the GGUF file in it.
fn checkpoint(directory: &Path) -> Result<PathBuf, TextError> {
    if directory.join("config.json").is_file() {
        return Ok(directory.to_owned());
    }
    let entries = fs::read_dir(directory).map_err(TextError::io(directory))?;
    let mut files = entries.flatten().map(|entry| entry.path());
    let gguf = files.find(|path| path.extension().is_some_and(|kind| kind == "gguf"));
    gguf.ok_or_else(|| TextError::NoModel(directory.to_owned()))
}
