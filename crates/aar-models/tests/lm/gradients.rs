//! Gradients: against PyTorch, and against differences of the loss.

use aar_models::train::{Among, Gradient, Target, Trained, cross_entropy, gradients};
use aar_models::{Decoder, Lora, Projection, Sequence};

use super::golden::{ALL, Golden, assert_close};

const TOLERANCE: f32 = 1e-4;

/// Asserts that each gradient is the reference's, and that there is one for each of its tensors.
fn assert_same(golden: &Golden, kind: &str, got: &[Gradient]) {
    let wanted = golden.tensors.keys().filter(|name| name.starts_with(kind));
    assert_eq!(got.len(), wanted.count(), "{kind}: number of tensors");
    for gradient in got {
        let want = &golden.tensors[&format!("{kind}{}", gradient.name)];
        assert_close(&gradient.name, &gradient.data, want, TOLERANCE);
    }
}

#[test]
fn every_gradient_is_that_of_pytorch() {
    for name in ALL {
        let golden = Golden::new(name);
        let targets = golden.targets();
        let mut loss = cross_entropy(&targets);
        let (value, got) = gradients(
            &golden.decoder(),
            Trained::Everything,
            &golden.sequences(),
            false,
            &mut loss,
        )
        .expect("gradients");
        assert!((value - golden.told.loss).abs() < 1e-5, "{name}: {value}");
        assert_same(&golden, "gradient.", &got);
    }
}

#[test]
fn every_gradient_of_an_adapter_is_that_of_peft() {
    for name in ALL {
        let golden = Golden::new(name);
        let targets = golden.targets();
        let mut loss = cross_entropy(&targets);
        let (decoder, sequences) = (golden.adapted(), golden.sequences());
        let (value, got) = gradients(&decoder, Trained::Adapters, &sequences, false, &mut loss)
            .expect("gradients");
        assert!(
            (value - golden.told.lora_loss).abs() < 1e-5,
            "{name}: {value}"
        );
        assert_same(&golden, "lora.", &got);
    }
}

#[test]
fn soft_targets_over_the_labels_have_the_gradients_of_pytorch() {
    for name in ALL {
        let golden = Golden::new(name);
        let [first, second] = golden.told.labels;
        let soft = |p: f32| {
            vec![Target {
                tokens: vec![(first, 1.0 - p), (second, p)],
                among: Among::These,
            }]
        };
        let targets: Vec<Vec<Target>> = golden.told.rows.iter().map(|r| soft(r.soft)).collect();
        let rows = golden.told.rows.iter();
        let sequences: Vec<_> = rows.map(|r| Sequence::at_end(r.tokens.clone())).collect();
        let mut loss = cross_entropy(&targets);
        let (value, mut got) = gradients(
            &golden.adapted(),
            Trained::Adapters,
            &sequences,
            false,
            &mut loss,
        )
        .expect("gradients");
        assert!(
            (value - golden.told.soft_loss).abs() < 1e-5,
            "{name}: {value}"
        );
        got.retain(|gradient| gradient.name.contains("layers.0.self_attn"));
        assert_same(&golden, "soft.", &got);
    }
}

#[test]
fn running_blocks_again_changes_no_bit_and_fewer_blocks_are_a_part() {
    for name in ALL {
        let golden = Golden::new(name);
        let (decoder, sequences, targets) =
            (golden.decoder(), golden.sequences(), golden.targets());
        let of = |trained, recompute| {
            let mut loss = cross_entropy(&targets);
            gradients(&decoder, trained, &sequences, recompute, &mut loss).expect("gradients")
        };
        let all = of(Trained::Everything, false);
        assert_eq!(all, of(Trained::Everything, true), "{name}");
        let (value, last) = of(Trained::LastBlocks(1), false);
        assert_eq!(value, all.0);
        let top: Vec<_> = all
            .1
            .iter()
            .filter(|g| g.name.contains("layers.1."))
            .collect();
        assert_eq!(last.iter().collect::<Vec<_>>(), top, "{name}");
    }
}

/// A loss over logits and states at every place that has no symmetry: `Σ sin(i) logit_i / 8 + Σ cos(i) state_i / 8`.
fn value(decoder: &Decoder, sequences: &[Sequence]) -> f64 {
    let mut total = 0.0;
    decoder
        .read(sequences, &mut |outputs| {
            let sum = |numbers: &[f32], wave: fn(f64) -> f64| -> f64 {
                let terms = numbers.iter().enumerate();
                terms
                    .map(|(i, &v)| wave(i as f64) / 8.0 * f64::from(v))
                    .sum()
            };
            total += sum(outputs.logits, f64::sin) + sum(outputs.hidden, f64::cos);
        })
        .expect("reads");
    total
}

/// Its gradients.
fn slopes(decoder: &Decoder, trained: Trained, sequences: &[Sequence]) -> Vec<Gradient> {
    let (found, got) = gradients(
        decoder,
        trained,
        sequences,
        false,
        &mut |outputs, _, gradient| {
            for (i, g) in gradient.logits.iter_mut().enumerate() {
                *g = ((i as f64).sin() / 8.0) as f32;
            }
            for (i, g) in gradient.hidden.iter_mut().enumerate() {
                *g = ((i as f64).cos() / 8.0) as f32;
            }
            let sum = |numbers: &[f32], wave: fn(f64) -> f64| -> f64 {
                let terms = numbers.iter().enumerate();
                terms
                    .map(|(i, &v)| wave(i as f64) / 8.0 * f64::from(v))
                    .sum()
            };
            Ok(sum(outputs.logits, f64::sin) + sum(outputs.hidden, f64::cos))
        },
    )
    .expect("gradients");
    assert!((found - value(decoder, sequences)).abs() < 1e-4 * found.abs().max(1.0));
    got
}

/// Moves all weights along a random direction both ways: the loss changes by the gradient's part along it. One direction
/// for each tensor, so every backward pass is looked at by itself, with a loss that reads logits and states.
#[test]
fn gradients_are_the_slopes_of_the_loss() {
    for name in ALL {
        let golden = Golden::new(name);
        let mut sequences = golden.sequences();
        for sequence in &mut sequences {
            sequence.places = (0..sequence.tokens.len()).step_by(3).collect();
        }
        // Long enough that attention goes through more than one block of queries, once with places in one of them alone.
        let long: Vec<u32> = (0..200).map(|i| 3 + i * 31 % 90).collect();
        sequences.push(Sequence {
            places: (0..200).step_by(40).collect(),
            tokens: long.clone(),
        });
        sequences.push(Sequence {
            places: vec![150, 199],
            tokens: long.clone(),
        });
        // Two that begin as each other, in the order that training gives them, with places in the beginning too.
        for (token, length) in [(70, 40), (80, 9)] {
            let own = (0..length).map(|i| token + i % 10);
            sequences.push(Sequence {
                tokens: long[..60].iter().copied().chain(own).collect(),
                places: vec![10, 59, 60, 68],
            });
        }
        let plain = golden.decoder();
        let adapted = golden.adapted();
        for (decoder, trained) in [(&plain, Trained::Everything), (&adapted, Trained::Adapters)] {
            for gradient in slopes(decoder, trained, &sequences) {
                let direction = |i: usize| (i as f32 * 1.7 + 0.3).sin();
                let along: f64 = gradient
                    .data
                    .iter()
                    .enumerate()
                    .map(|(i, &g)| f64::from(g) * f64::from(direction(i)))
                    .sum();
                let length: f64 = gradient.data.iter().map(|&g| f64::from(g).powi(2)).sum();
                let step = 2e-3;
                let moved = |by: f32| {
                    let mut moved = decoder.clone();
                    let weights = moved.weight_mut(&gradient.name).expect("a known name");
                    for (i, w) in weights.iter_mut().enumerate() {
                        *w += by * direction(i);
                    }
                    value(&moved, &sequences)
                };
                let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
                let tolerance = 1e-2 * length.sqrt() + 1e-3;
                assert!(
                    (slope - along).abs() < tolerance,
                    "{name}, {}: {slope} for {along}, tolerance {tolerance}",
                    gradient.name
                );
            }
        }
    }
}

#[test]
fn merged_adapters_say_what_attached_ones_say() {
    for name in ALL {
        let golden = Golden::new(name);
        let mut decoder = golden.adapted();
        let sequences = golden.sequences();
        let attached = read(&decoder, &sequences);
        decoder.merge();
        assert_eq!(decoder.lora(), None);
        assert_close(name, &read(&decoder, &sequences), &attached, 2e-5);
    }
}

#[test]
fn new_adapters_change_nothing_until_they_are_trained_and_go_through_files() {
    let golden = Golden::new("qwen2");
    let mut decoder = golden.decoder();
    let sequences = golden.sequences();
    let before = read(&decoder, &sequences);
    let lora = Lora {
        rank: 3,
        alpha: 6.0,
        rslora: true,
        targets: vec![Projection::Query, Projection::Down],
    };
    decoder.attach(&lora, 5).expect("attached");
    assert_close("fresh", &read(&decoder, &sequences), &before, 1e-6);

    let adapted = golden.adapted();
    let dir = tempfile::tempdir().expect("scratch directory");
    adapted.save_adapters(dir.path()).expect("saved");
    decoder.load_adapters(dir.path()).expect("read again");
    assert_eq!(read(&decoder, &sequences), read(&adapted, &sequences));
    decoder.detach();
    assert_eq!(read(&decoder, &sequences), before);
}

fn read(decoder: &Decoder, sequences: &[Sequence]) -> Vec<f32> {
    let mut logits = Vec::new();
    decoder
        .read(sequences, &mut |outputs| {
            logits.extend_from_slice(outputs.logits)
        })
        .expect("reads");
    logits
}
