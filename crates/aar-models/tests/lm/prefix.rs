//! Sequences that begin alike: what they begin with is computed once, and nothing else changes.

use std::collections::HashMap;
use std::ops::ControlFlow;

use aar_models::train::{
    AdamW, Fall, Gradient, Keep, Plan, Run, Schedule, Target, Trained, cross_entropy, gradients,
    train,
};
use aar_models::{Decoder, Sequence};

use super::golden::{ALL, Golden};

/// Sequences that begin with the same `prefix` tokens and go on with so many of their own, looked at where the prefix and
/// the sequence end and in between.
fn family(seed: usize, prefix: usize, rests: &[usize]) -> Vec<Sequence> {
    let token = |i: usize| (3 + (i * 31 + seed * 17) % 90) as u32;
    let one = |(nth, &rest): (usize, &usize)| {
        let own = (0..rest).map(|i| 3 + (token(i) + 7 * nth as u32) % 90);
        let tokens: Vec<u32> = (0..prefix).map(token).chain(own).collect();
        let last = tokens.len() - 1;
        let mut places = vec![prefix / 2, prefix - 1, (prefix + last) / 2, last];
        places.sort_unstable();
        places.dedup();
        Sequence { tokens, places }
    };
    rests.iter().enumerate().map(one).collect()
}

/// Beginnings shorter and longer than a block of attention, rests that are empty, equal or long, and a loner.
fn sequences() -> Vec<Sequence> {
    [
        family(1, 16, &[5, 40, 1]),
        family(2, 33, &[7, 0, 0, 64]),
        family(3, 64, &[32, 3]),
        family(4, 150, &[20, 1, 45]),
        family(5, 10, &[5]),
    ]
    .concat()
}

/// Logits and final states by sequence and place.
type Said = HashMap<(usize, usize), (Vec<f32>, Vec<f32>)>;

fn read(decoder: &Decoder, sequences: &[Sequence]) -> Said {
    let mut said = HashMap::new();
    decoder
        .read(sequences, &mut |outputs| {
            for (index, place) in outputs.places.iter().enumerate() {
                assert_eq!(sequences[place.sequence].places[place.nth], place.position);
                let numbers = (
                    outputs.logits(index).to_vec(),
                    outputs.hidden(index).to_vec(),
                );
                assert_eq!(said.insert((place.sequence, place.nth), numbers), None);
            }
        })
        .expect("reads");
    said
}

#[test]
fn sequences_that_begin_alike_say_bit_for_bit_what_they_say_alone() {
    for name in ALL {
        let decoder = Golden::new(name).decoder();
        let sequences = sequences();
        let together = read(&decoder, &sequences);
        for (i, sequence) in sequences.iter().enumerate() {
            let alone = read(&decoder, std::slice::from_ref(sequence));
            for nth in 0..sequence.places.len() {
                assert_eq!(together[&(i, nth)], alone[&(0, nth)], "{name}, {i}, {nth}");
            }
        }
    }
}

/// Gradients of a loss that weighs every number of every place differently; it hears what `said` has, each place once.
/// `first` is the number of the first of the sequences.
fn slopes(
    decoder: &Decoder,
    trained: Trained,
    first: usize,
    sequences: &[Sequence],
    said: Option<&Said>,
) -> Vec<Gradient> {
    let mut heard = 0;
    let mut loss = |outputs: &aar_models::Outputs<'_>,
                    _,
                    gradient: &mut aar_models::train::LossGradient<'_>| {
        for (index, place) in outputs.places.iter().enumerate() {
            let key = (first + place.sequence, place.nth);
            if let Some(said) = said {
                assert_eq!(outputs.logits(index), said[&key].0, "{key:?}");
                assert_eq!(outputs.hidden(index), said[&key].1, "{key:?}");
            }
            let wave = |i: usize| ((key.0 * 31 + key.1 * 7 + i * i) as f32).sin() / 8.0;
            let fill = |numbers: &mut [f32], width: usize| {
                let row = numbers[index * width..][..width].iter_mut();
                row.enumerate().for_each(|(i, g)| *g = wave(i));
            };
            fill(gradient.logits, outputs.vocabulary);
            fill(gradient.hidden, outputs.width);
            heard += 1;
        }
        Ok(0.0)
    };
    let (_, found) = gradients(decoder, trained, sequences, false, &mut loss).expect("gradients");
    assert_eq!(
        heard,
        sequences.iter().map(|s| s.places.len()).sum::<usize>()
    );
    found
}

#[test]
fn gradients_under_a_common_beginning_are_the_sum_of_those_of_each_sequence_alone() {
    for name in ALL {
        let golden = Golden::new(name);
        let (plain, adapted) = (golden.decoder(), golden.adapted());
        let sequences = sequences();
        let said = read(&plain, &sequences);
        for (decoder, trained, said) in [
            (&plain, Trained::Everything, Some(&said)),
            (&plain, Trained::LastBlocks(1), Some(&said)),
            (&adapted, Trained::Adapters, None),
        ] {
            // Not side by side as they are given.
            let mut order: Vec<usize> = (0..sequences.len()).collect();
            order.sort_by_key(|i| i * 7 % sequences.len());
            let mixed: Vec<Sequence> = order.iter().map(|&i| sequences[i].clone()).collect();
            let said: Option<Said> = said.map(|said| {
                let back = said.iter().map(|(&(i, nth), numbers)| {
                    let at = order.iter().position(|&o| o == i).expect("is there");
                    ((at, nth), numbers.clone())
                });
                back.collect()
            });
            let shared = slopes(decoder, trained, 0, &mixed, said.as_ref());
            let mut sums: Vec<Vec<f64>> = shared.iter().map(|g| vec![0.0; g.data.len()]).collect();
            for (i, sequence) in mixed.iter().enumerate() {
                let alone = std::slice::from_ref(sequence);
                let alone = slopes(decoder, trained, i, alone, said.as_ref());
                for (sum, gradient) in sums.iter_mut().zip(alone) {
                    let both = sum.iter_mut().zip(gradient.data);
                    both.for_each(|(sum, g)| *sum += f64::from(g));
                }
            }
            for (gradient, want) in shared.iter().zip(sums) {
                let size = want.iter().map(|v| v * v).sum::<f64>().sqrt();
                let off = gradient.data.iter().zip(&want);
                let off = off.map(|(&g, w)| (f64::from(g) - w).powi(2)).sum::<f64>();
                assert!(
                    off.sqrt() <= 1e-5 * size,
                    "{name}, {trained:?}, {}: off by {:e} of the norm",
                    gradient.name,
                    off.sqrt() / size
                );
            }
        }
    }
}

fn plan(trained: Trained) -> Plan {
    Plan {
        trained,
        epochs: 3,
        batch: 5,
        pack_tokens: 250,
        optimiser: AdamW {
            rate: 5e-3,
            ..AdamW::default()
        },
        schedule: Schedule {
            fall: Fall::Linear,
            warmup: 0.2,
        },
        clip: Some(1.0),
        seed: 1,
        recompute: false,
        memory: None,
    }
}

/// Trains; stops after step `stop` if one is given.
fn run(
    golden: &Golden,
    plan: &Plan,
    keep: Option<&Keep<'_>>,
    stop: Option<u64>,
) -> (Run, Vec<Vec<f32>>) {
    let mut decoder = match plan.trained {
        Trained::Adapters => golden.adapted(),
        _ => golden.decoder(),
    };
    let sequences = sequences();
    let targets: Vec<Vec<Target>> = sequences
        .iter()
        .enumerate()
        .map(|(i, s)| (0..s.places.len()).map(move |n| Target::token((5 + i * 3 + n) as u32)))
        .map(Iterator::collect)
        .collect();
    let mut loss = cross_entropy(&targets);
    let run = train(
        &mut decoder,
        &sequences,
        plan,
        &mut loss,
        keep,
        &mut |p| match stop {
            Some(step) if p.step == step => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        },
    );
    let weights = decoder.weights().map(|w| w.2.to_vec()).collect();
    (run.expect("trains"), weights)
}

#[test]
fn under_common_beginnings_threads_recomputing_kept_states_and_stops_change_no_bit() {
    let golden = Golden::new("qwen3");
    for trained in [
        Trained::Everything,
        Trained::Adapters,
        Trained::LastBlocks(1),
    ] {
        let base = plan(trained);
        let want = run(&golden, &base, None, None);
        assert!(want.0.curve.last().expect("steps").loss < want.0.curve[0].loss);
        for threads in [1, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let got = pool
                .expect("threads")
                .install(|| run(&golden, &base, None, None));
            assert!(got == want, "{trained:?} on {threads} threads");
        }
        let mut other = base.clone();
        other.recompute = true;
        assert!(
            run(&golden, &other, None, None) == want,
            "{trained:?} recomputed"
        );
        other.recompute = false;
        let needed = base.memory(&golden.decoder(), &sequences());
        if needed.states > 0 {
            other.memory = Some(needed.total() - 1);
            assert!(run(&golden, &other, None, None) == want, "states not kept");
        }
        let dir = tempfile::tempdir().expect("scratch directory");
        let keep = Keep {
            path: &dir.path().join("run.safetensors"),
            every: 2,
        };
        run(&golden, &base, Some(&keep), Some(4));
        assert!(
            run(&golden, &base, Some(&keep), None) == want,
            "{trained:?} gone on"
        );
    }
}

#[test]
fn a_common_beginning_is_not_paid_for_twice() {
    let decoder = Golden::new("llama").decoder();
    let plan = Plan {
        batch: 4,
        pack_tokens: 4096,
        ..plan(Trained::Everything)
    };
    let alike = family(1, 120, &[10, 10, 10, 10]);
    let apart: Vec<Sequence> = (1..5).flat_map(|seed| family(seed, 120, &[10])).collect();
    let (alike, apart) = (plan.memory(&decoder, &alike), plan.memory(&decoder, &apart));
    assert!(
        alike.activations * 5 < apart.activations * 2,
        "{alike:?} for {apart:?}"
    );
}
