//! Logits and states.

use aar_models::{Decoder, Sequence};

use super::golden::{ALL, Golden, assert_close};

/// All logits and final states of some sequences, one after the other.
fn read(decoder: &Decoder, sequences: &[Sequence]) -> (Vec<f32>, Vec<f32>) {
    let (mut logits, mut hidden) = (Vec::new(), Vec::new());
    decoder
        .read(sequences, &mut |outputs| {
            logits.extend_from_slice(outputs.logits);
            hidden.extend_from_slice(outputs.hidden);
        })
        .expect("the sequences are read");
    (logits, hidden)
}

fn everywhere(tokens: &[u32]) -> Sequence {
    Sequence {
        tokens: tokens.to_vec(),
        places: (0..tokens.len()).collect(),
    }
}

#[test]
fn logits_and_states_are_those_of_transformers() {
    for name in ALL {
        let golden = Golden::new(name);
        let decoder = golden.decoder();
        let last = decoder.config().layers;
        for row in [0, 2] {
            let sequence = everywhere(&golden.told.rows[row].tokens);
            let (logits, hidden) = read(&decoder, &[sequence]);
            let want = &golden.tensors[&format!("logits.{row}")];
            assert_close(name, &logits, want, 2e-5);
            let want = &golden.tensors[&format!("states.{row}.{last}")];
            assert_close(name, &hidden, want, 2e-5);
        }
    }
}

#[test]
fn rows_packed_together_say_bit_for_bit_what_they_say_alone() {
    for name in ALL {
        let golden = Golden::new(name);
        let decoder = golden.decoder();
        let sequences = golden.sequences();
        // Enough rows for several packs.
        let many: Vec<Sequence> = sequences.iter().cycle().take(300).cloned().collect();
        let together = read(&decoder, &many);
        let (mut logits, mut hidden) = (Vec::new(), Vec::new());
        for sequence in &many {
            let alone = read(&decoder, std::slice::from_ref(sequence));
            logits.extend(alone.0);
            hidden.extend(alone.1);
        }
        assert_eq!(together, (logits, hidden), "{name}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let golden = Golden::new("qwen3");
    let decoder = golden.decoder();
    let sequences: Vec<Sequence> = golden.sequences().into_iter().cycle().take(60).collect();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads")
            .install(|| read(&decoder, &sequences))
    };
    let one = with(1);
    for threads in [2, 3, 8] {
        assert_eq!(with(threads), one, "{threads} threads");
    }
}

#[test]
fn label_probabilities_are_a_softmax_over_the_labels() {
    let golden = Golden::new("llama");
    let sequence = Sequence::at_end(golden.told.rows[0].tokens.clone());
    golden
        .decoder()
        .read(&[sequence], &mut |outputs| {
            let p = outputs.among(0, &[10, 20]);
            let odds = outputs.logits(0)[20] - outputs.logits(0)[10];
            assert!((p[0] + p[1] - 1.0).abs() < 1e-12);
            assert!(((p[1] / p[0]).ln() - f64::from(odds)).abs() < 1e-5);
            assert!(outputs.among(0, &[]).is_empty());
        })
        .expect("reads");
}
