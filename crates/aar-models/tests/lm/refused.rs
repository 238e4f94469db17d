//! Damaged and foreign checkpoints, and sequences that a decoder cannot read: the message names file, tensor or row.

use std::path::Path;

use aar_models::{Decoder, ModelError, Sequence};

use super::golden::{Golden, fixture};

fn copy(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("scratch directory");
    for entry in std::fs::read_dir(fixture(name)).expect("fixture") {
        let path = entry.expect("fixture").path();
        if path.is_file() {
            std::fs::copy(&path, dir.path().join(path.file_name().expect("a file"))).expect("copy");
        }
    }
    dir
}

fn edit(dir: &Path, file: &str, from: &str, to: &str) {
    let path = dir.join(file);
    let text = std::fs::read_to_string(&path).expect("a text");
    assert!(text.contains(from), "{file} lacks {from}");
    std::fs::write(path, text.replace(from, to)).expect("write");
}

fn message<T: std::fmt::Debug>(result: Result<T, ModelError>) -> String {
    result.expect_err("must be refused").to_string()
}

#[test]
fn what_a_configuration_asks_for_and_we_do_not_run_is_named() {
    for (from, to, wanted) in [
        (
            "\"model_type\": \"llama\"",
            "\"model_type\": \"mamba\"",
            "architecture `mamba`",
        ),
        (
            "\"hidden_act\": \"silu\"",
            "\"hidden_act\": \"gelu\"",
            "`hidden_act`",
        ),
        (
            "\"attention_bias\": false",
            "\"attention_bias\": true",
            "`attention_bias`",
        ),
        (
            "\"rope_type\": \"llama3\"",
            "\"rope_type\": \"yarn\"",
            "RoPE of type `yarn`",
        ),
        ("\"factor\": 4.0", "\"factor\": 0.0", "impossible scaling"),
        (
            "\"num_key_value_heads\": 2",
            "\"num_key_value_heads\": 3",
            "do not fit together",
        ),
        (
            "\"num_attention_heads\": 4",
            "\"num_attention_heads\": 0",
            "do not fit together",
        ),
        (
            "\"hidden_size\": 32",
            "\"hidden_size\": 99999999999",
            "do not fit together",
        ),
        (
            "\"eos_token_id\": 2",
            "\"eos_token_id\": 96",
            "do not fit together",
        ),
        ("\"hidden_size\": 32,", "", "hidden_size"),
    ] {
        let dir = copy("llama_tied");
        edit(dir.path(), "config.json", from, to);
        let error = message(Decoder::in_dir(dir.path()));
        assert!(
            error.contains("config.json") && error.contains(wanted),
            "{error}"
        );
    }
}

#[test]
fn a_tensor_that_is_missing_or_has_another_shape_is_named_with_its_file() {
    let dir = copy("llama_tied");
    edit(
        dir.path(),
        "config.json",
        "\"num_hidden_layers\": 2",
        "\"num_hidden_layers\": 3",
    );
    let error = message(Decoder::in_dir(dir.path()));
    let wanted =
        "model.safetensors.index.json: tensor `model.layers.2.input_layernorm.weight`: missing";
    assert!(error.contains(wanted), "{error}");

    let dir = copy("llama");
    edit(
        dir.path(),
        "config.json",
        "\"intermediate_size\": 40",
        "\"intermediate_size\": 41",
    );
    let error = message(Decoder::in_dir(dir.path()));
    let wanted = "model.safetensors: tensor `model.layers.0.mlp.gate_proj.weight`: shape is [40, 32], expected [41, 32]";
    assert!(error.contains(wanted), "{error}");

    // A Qwen 2 has biases that a Llama lacks.
    let dir = copy("llama");
    edit(
        dir.path(),
        "config.json",
        "\"model_type\": \"llama\"",
        "\"model_type\": \"qwen2\"",
    );
    let error = message(Decoder::in_dir(dir.path()));
    assert!(
        error.contains("`model.layers.0.self_attn.q_proj.bias`: missing"),
        "{error}"
    );
}

#[test]
fn shards_that_are_missing_or_lie_elsewhere_are_refused() {
    let dir = copy("llama_tied");
    std::fs::remove_file(dir.path().join("model-00002-of-00003.safetensors")).expect("remove");
    let error = message(Decoder::in_dir(dir.path()));
    assert!(
        error.contains("model-00002-of-00003.safetensors"),
        "{error}"
    );

    let dir = copy("llama_tied");
    let index = "model.safetensors.index.json";
    edit(
        dir.path(),
        index,
        "model-00001-of-00003",
        "../model-00001-of-00003",
    );
    let error = message(Decoder::in_dir(dir.path()));
    assert!(error.contains("not one of this directory"), "{error}");

    let dir = copy("llama_tied");
    edit(
        dir.path(),
        index,
        "model-00001-of-00003",
        "model-00003-of-00003",
    );
    let error = message(Decoder::in_dir(dir.path()));
    assert!(error.contains("index.json says it is here"), "{error}");
}

#[test]
fn no_cut_of_a_checkpoint_is_read() {
    let dir = copy("qwen2");
    let path = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&path).expect("copy");
    for length in (0..bytes.len()).step_by(997) {
        std::fs::write(&path, &bytes[..length]).expect("write");
        let error = message(Decoder::in_dir(dir.path()));
        assert!(error.contains("model.safetensors"), "{length}: {error}");
    }
}

#[test]
fn impossible_sequences_are_refused_before_anything_is_computed() {
    let decoder = Golden::new("llama").decoder();
    let good = Sequence::at_end(vec![1, 2]);
    for (tokens, places, wanted) in [
        (vec![], vec![0], "has no tokens"),
        (vec![5; 257], vec![0], "257 tokens, more than the 256"),
        (vec![5, 96], vec![0], "token 96"),
        (vec![5, 6], vec![], "has places []"),
        (vec![5, 6], vec![2], "below 2"),
        (vec![5, 6], vec![1, 0], "rising"),
        (vec![5, 6], vec![1, 1], "rising"),
    ] {
        let sequences = [good.clone(), Sequence { tokens, places }];
        let mut heard = 0;
        let error = message(decoder.read(&sequences, &mut |_| heard += 1));
        assert!(
            error.contains("sequence 1") && error.contains(wanted),
            "{error}"
        );
        assert_eq!(heard, 0);
    }
}
