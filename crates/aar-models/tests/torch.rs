//! The engine in PyTorch keeps the contract of engines, and says what the native one says.
//!
//! These need a Python with torch, transformers and peft (`AAR_TORCH_PYTHON`, see `scripts/torch_env.py`) and so are ignored
//! unless asked for: `cargo test --release -p aar-models --test torch -- --ignored`. Then a Python without them fails.

#[allow(dead_code, reason = "other targets read the rest of the fixtures")]
#[path = "lm/golden.rs"]
mod golden;

mod engine;

use std::path::Path;

use aar_models::train::{Plan, Trained};
use aar_models::{Decoder, Engine, LanguageModel, Sequence, Torch, TorchSetup, Weights};
use engine::{
    Subject, assert_curves, drawn, generate, keeps_the_contract, lora, plan, read, run, small,
};
use golden::{ALL, Golden, assert_close};

impl Subject for Torch {
    fn load_adapters(&mut self, dir: &Path) {
        Torch::load_adapters(self, dir).expect("the adapters are read");
    }
}

/// On the CPU, in f32, wherever the tests run: golden values are.
fn setup() -> TorchSetup {
    TorchSetup {
        device: Some("cpu".into()),
        ..TorchSetup::from_env()
    }
}

fn open(golden: &Golden) -> Torch {
    Torch::in_dir(&golden.dir, &setup()).expect("the worker opens the checkpoint")
}

fn contract(name: &str) {
    let golden = Golden::new(name);
    keeps_the_contract(&golden, &|| Box::new(open(&golden)));
}

#[test]
#[ignore = "needs PyTorch"]
fn torch_keeps_the_contract_on_llama() {
    contract("llama");
}

#[test]
#[ignore = "needs PyTorch"]
fn torch_keeps_the_contract_on_a_tied_llama_in_shards() {
    contract("llama_tied");
}

#[test]
#[ignore = "needs PyTorch"]
fn torch_keeps_the_contract_on_qwen2() {
    contract("qwen2");
}

#[test]
#[ignore = "needs PyTorch"]
fn torch_keeps_the_contract_on_qwen3() {
    contract("qwen3");
}

#[test]
#[ignore = "needs PyTorch"]
fn both_engines_begin_alike_and_learn_alike() {
    for name in ALL {
        let golden = Golden::new(name);
        let sequences = golden.sequences();
        let alike = |native: &mut Decoder, torch: &mut Torch, plan: &Plan| {
            let want = run(&golden, native, plan);
            assert_curves(&run(&golden, torch, plan).curve, &want.curve, 1e-4);
            let want = read(native, &sequences).0;
            assert_close(name, &read(torch, &sequences).0, &want, 2e-3);
        };
        let (mut native, mut torch) = (golden.decoder(), open(&golden));
        alike(&mut native, &mut torch, &small(Trained::LastBlocks(1)));
        native.attach(&lora(), 9).expect("attaches");
        torch.attach(&lora(), 9).expect("attaches");
        alike(&mut native, &mut torch, &plan(Trained::Adapters));
    }
}

#[test]
#[ignore = "needs PyTorch"]
fn both_engines_draw_the_same_samples() {
    let golden = Golden::new("qwen3");
    let prompts: Vec<Vec<u32>> = golden.told.rows.iter().map(|r| r.tokens.clone()).collect();
    let want = generate(&mut golden.adapted(), &prompts, &drawn());
    let mut torch = open(&golden);
    Subject::load_adapters(&mut torch, &golden.dir.join("adapter"));
    let got = generate(&mut torch, &prompts, &drawn());
    for (got, want) in got.iter().zip(&want) {
        assert_eq!((&got.tokens, got.end), (&want.tokens, want.end));
    }
    assert_eq!(got.len(), want.len());
}

#[test]
#[ignore = "needs PyTorch"]
fn the_worker_tells_its_device_and_versions() {
    let torch = open(&Golden::new("llama"));
    assert_eq!((torch.name(), torch.device()), ("torch", "cpu"));
    let versions = torch.versions();
    assert!(versions.contains("transformers"), "{versions}");
}

#[test]
#[ignore = "needs PyTorch"]
fn a_device_that_is_not_there_is_named() {
    let golden = Golden::new("llama");
    let setup = TorchSetup {
        device: Some("nowhere".into()),
        ..setup()
    };
    let error = Torch::in_dir(&golden.dir, &setup).expect_err("no such device");
    assert!(error.to_string().contains("nowhere"), "{error}");
}

/// The real weights, from a GGUF file in 4 bits; passes without looking where they are not.
#[test]
#[ignore = "needs PyTorch"]
fn smollm2_from_gguf_says_what_the_native_engine_says() {
    let Some(dir) = std::env::var_os("AAR_WEIGHTS") else {
        return;
    };
    let path = Weights::in_dir(dir).smollm2().expect("the weights");
    let mut native = LanguageModel::open(&path).expect("opens");
    let mut torch = LanguageModel::open_torch(&path, &setup()).expect("opens");
    let tokens = native
        .tokenizer
        .encode("The capital of France is")
        .expect("tokens");
    let sequences = [Sequence::at_end(tokens)];
    let want = read(&mut native.decoder, &sequences).0;
    let got = read(&mut torch.decoder, &sequences).0;
    assert_close("logits", &got, &want, 1e-3);
}
