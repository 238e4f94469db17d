//! Shipped states: how far off they are, and that no damage goes unnoticed.

use crate::fixture::{SPECS, pool};
use aar_core::digest::Digest;
use aar_core::problem::ItemKind;
use aar_problem::{Bundle, BundleError, ModelSource, Pool, Tensor, pool_digest};

fn encode(pool: &Pool) -> Result<Vec<u8>, BundleError> {
    let model = |name: &str| ModelSource {
        name: name.to_owned(),
        weights: Digest::of(b"w"),
    };
    Bundle::encode(
        "tiny@3".parse().unwrap(),
        model("strong"),
        model("weak"),
        "test 1",
        pool,
    )
}

/// The largest error in units of half a quantisation step of its dimension.
fn worst_error(original: &Tensor, restored: &Tensor) -> f32 {
    let width = original.width;
    let mut worst = 0.0_f32;
    for dimension in 0..width {
        let column = |t: &Tensor| -> Vec<f32> {
            t.data
                .iter()
                .skip(dimension)
                .step_by(width)
                .copied()
                .collect()
        };
        let (a, b) = (column(original), column(restored));
        let low = a.iter().copied().fold(f32::INFINITY, f32::min);
        let high = a.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let half_step = (high - low) / 254.0 / 2.0;
        for (a, b) in a.iter().zip(&b) {
            worst = worst.max((a - b).abs() / half_step);
        }
    }
    worst
}

#[test]
fn values_come_back_within_half_a_step() {
    let mut source = pool(ItemKind::Pair, 50, 3);
    // A dimension far from zero and one a thousand times the others, as hidden states have them.
    for vector in source.activations[0].1.data.chunks_exact_mut(5) {
        vector[1] = vector[1] * 0.01 + 40.0;
        vector[2] *= 1000.0;
    }
    let bytes = encode(&source).unwrap();
    let bundle = Bundle::open(&bytes).unwrap();
    let restored = bundle.pool(source.rows.clone()).unwrap();
    assert_eq!(restored.rows, source.rows);
    for ((spec, original), (same, restored)) in source.activations.iter().zip(&restored.activations)
    {
        assert_eq!(spec, same);
        assert_eq!(
            (original.rows, original.options),
            (restored.rows, restored.options)
        );
        let worst = worst_error(original, restored);
        // Beside 40, the last bits of f32 are a tenth of the step.
        assert!(worst < 1.2, "{worst}");
    }
    assert!(worst_error(&source.weak, &restored.weak) < 1.01);
    assert_eq!(bundle.weak().unwrap(), restored.weak);
    assert_eq!(
        bundle.activations(&SPECS[1]).unwrap(),
        restored.activations[1].1
    );
}

#[test]
fn constant_dimensions_come_back_exactly() {
    let mut source = pool(ItemKind::Claim, 10, 3);
    source.weak.data.fill(0.1);
    let bytes = encode(&source).unwrap();
    assert_eq!(Bundle::open(&bytes).unwrap().weak().unwrap(), source.weak);
}

#[test]
fn bundles_are_reproducible_and_say_what_they_hold() {
    let source = pool(ItemKind::Pair, 10, 3);
    let bytes = encode(&source).unwrap();
    assert_eq!(bytes, encode(&source).unwrap());
    let bundle = Bundle::open(&bytes).unwrap();
    let info = bundle.info();
    assert_eq!((info.rows, info.options), (30, 2));
    assert_eq!(info.activations, SPECS);
    assert_eq!(info.pool, pool_digest(&source.rows));
    assert_eq!(info.strong.name, "strong");
}

#[test]
fn any_flipped_byte_is_found() {
    let bytes = encode(&pool(ItemKind::Claim, 3, 2)).unwrap();
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x01;
        assert!(
            Bundle::open(&damaged).is_err(),
            "byte {place} of {}",
            bytes.len()
        );
    }
    assert!(Bundle::open(&bytes[..bytes.len() - 1]).is_err());
    assert!(Bundle::open(b"").is_err());
}

#[test]
fn states_of_other_rows_are_refused() {
    let source = pool(ItemKind::Claim, 10, 3);
    let bytes = encode(&source).unwrap();
    let bundle = Bundle::open(&bytes).unwrap();
    let mut rows = source.rows.clone();
    rows[4].label = rows[4].label.flipped();
    assert!(matches!(
        bundle.pool(rows),
        Err(BundleError::OtherPool { .. })
    ));
    let mut rows = source.rows.clone();
    rows.swap(3, 4);
    assert!(matches!(
        bundle.pool(rows),
        Err(BundleError::OtherPool { .. })
    ));
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let mut source = pool(ItemKind::Pair, 10, 3);
    source.weak.data[7] = f32::NAN;
    let error = encode(&source).unwrap_err().to_string();
    assert_eq!(error, "the bundle's tensor weak: row 1 (from 0) holds NaN");
}
