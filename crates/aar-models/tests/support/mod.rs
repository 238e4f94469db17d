//! Reading the fixtures of `scripts/reference_forward.py` and comparing with them.

use std::path::PathBuf;

use aar_models::{Embedder, Pooling, Tap};
use serde::Deserialize;

/// One text with what the reference made of it.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) text: String,
    pub(crate) ids: Vec<u32>,
    pub(crate) states: Vec<State>,
}

/// The first few dimensions of the pooled states at one depth.
#[derive(Deserialize)]
pub(crate) struct State {
    pub(crate) layer: usize,
    pub(crate) last: Vec<f32>,
    pub(crate) mean: Vec<f32>,
    pub(crate) unit_mean: Vec<f32>,
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

pub(crate) fn cases(name: &str) -> Vec<Case> {
    let text = std::fs::read_to_string(fixture(name)).expect("fixture");
    serde_json::from_str(&text).expect("fixture is valid")
}

pub(crate) fn texts(cases: &[Case]) -> Vec<String> {
    cases.iter().map(|c| c.text.clone()).collect()
}

/// Every depth of the fixture with every pooling.
pub(crate) fn all_taps(cases: &[Case]) -> Vec<Tap> {
    let poolings = [Pooling::Last, Pooling::Mean, Pooling::UnitMean];
    let layers = cases[0].states.iter().map(|s| s.layer);
    layers
        .flat_map(|layer| poolings.map(|pooling| Tap { layer, pooling }))
        .collect()
}

/// Asserts that ids are equal and states agree; gives the greatest difference, relative to the
/// root mean square of the reference's numbers.
pub(crate) fn compare(embedder: &Embedder, cases: &[Case], tolerance: f32) -> f32 {
    let texts = texts(cases);
    let tokens = embedder.tokens(&texts).expect("texts are tokenised");
    for (case, ids) in cases.iter().zip(&tokens) {
        assert_eq!(ids, &case.ids, "token ids of {:?}", case.text);
    }
    let taps = all_taps(cases);
    let got = embedder
        .embed(&texts, &taps, &mut |_| ())
        .expect("texts are embedded");
    let mut worst = 0.0_f32;
    for (t, (tap, matrix)) in taps.iter().zip(&got).enumerate() {
        for (i, case) in cases.iter().enumerate() {
            let state = &case.states[t / 3];
            let want = [&state.last, &state.mean, &state.unit_mean][t % 3];
            let size = (want.iter().map(|v| v * v).sum::<f32>() / want.len() as f32).sqrt();
            for (a, b) in matrix.row(i).iter().zip(want) {
                let difference = (a - b).abs() / size;
                assert!(
                    difference < tolerance,
                    "{tap:?} of {:?}: {a} for {b}",
                    case.text
                );
                worst = worst.max(difference);
            }
        }
    }
    worst
}
