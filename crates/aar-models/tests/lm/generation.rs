//! Generated tokens: against transformers, and the cache against whole forward passes.

use aar_models::{Decoder, End, Sample, Sampling, Sequence};

use super::golden::{ALL, Golden};

fn never(_: &[u32]) -> bool {
    false
}

fn generate(decoder: &Decoder, prompts: &[Vec<u32>], sampling: &Sampling) -> Vec<Sample> {
    decoder
        .generate(prompts, sampling, &never, &mut |_| ())
        .expect("generates")
}

fn drawn() -> Sampling {
    Sampling {
        temperature: 0.8,
        top_k: 30,
        top_p: 0.9,
        seed: 4,
        samples: 3,
        most: 10,
        batch: 64,
    }
}

fn prompts(golden: &Golden) -> Vec<Vec<u32>> {
    golden.told.rows.iter().map(|r| r.tokens.clone()).collect()
}

#[test]
fn greedy_tokens_are_those_of_transformers_and_peft() {
    for name in ALL {
        let golden = Golden::new(name);
        let rows: Vec<Vec<u32>> = golden
            .told
            .generated
            .iter()
            .map(|g| golden.told.rows[g.row].tokens.clone())
            .collect();
        let got = generate(&golden.adapted(), &rows, &Sampling::greedy(12));
        for (sample, want) in got.iter().zip(&golden.told.generated) {
            assert_eq!(sample.tokens, want.tokens, "{name}");
        }
    }
}

#[test]
fn probabilities_to_draw_from_are_those_of_transformers() {
    for name in ALL {
        let golden = Golden::new(name);
        let logits = &golden.tensors["logits.0"];
        let width = golden.decoder().config().vocabulary;
        let last = &logits[logits.len() - width..];
        for want in &golden.told.warped {
            let sampling = Sampling {
                temperature: want.temperature,
                top_k: want.top_k,
                top_p: want.top_p,
                ..drawn()
            };
            let mut got = vec![0.0; width];
            for (token, p) in sampling.probabilities(last) {
                got[token as usize] = p;
            }
            for (token, (a, b)) in got.iter().zip(&want.p).enumerate() {
                assert!((a - b).abs() < 1e-6, "{name}, token {token}: {a} for {b}");
            }
        }
    }
}

/// Every token's probability along a sample is what a forward pass over the whole text says.
#[test]
fn the_cache_says_what_a_whole_forward_pass_says() {
    for name in ALL {
        let golden = Golden::new(name);
        let decoder = golden.adapted();
        let prompts = prompts(&golden);
        for sample in generate(&decoder, &prompts, &drawn()) {
            let prompt = &prompts[sample.prompt];
            let mut tokens = prompt.clone();
            tokens.extend(&sample.tokens);
            let places = prompt.len() - 1..tokens.len() - 1;
            let sequence = Sequence {
                tokens,
                places: places.collect(),
            };
            decoder
                .read(&[sequence], &mut |outputs| {
                    let all: Vec<u32> = (0..outputs.vocabulary as u32).collect();
                    for (i, (&token, &log_p)) in sample.tokens.iter().zip(&sample.log_p).enumerate()
                    {
                        let want = outputs.among(i, &all)[token as usize].ln();
                        assert!(
                            (f64::from(log_p) - want).abs() < 1e-4,
                            "{name} {i}: {log_p} for {want}"
                        );
                    }
                })
                .expect("reads");
        }
    }
}

#[test]
fn a_sample_depends_on_seed_and_numbers_alone() {
    for name in ["llama_tied", "qwen3"] {
        let golden = Golden::new(name);
        let decoder = golden.decoder();
        let prompts = prompts(&golden);
        let all = generate(&decoder, &prompts, &drawn());
        assert_eq!(all.len(), 18);
        for batch in [1, 2, 4, 5] {
            let few = Sampling { batch, ..drawn() };
            assert_eq!(generate(&decoder, &prompts, &few), all, "{batch} at a time");
        }
        let fewer = generate(&decoder, &prompts[..2], &drawn());
        assert_eq!(fewer, all[..6]);
        let other = Sampling { seed: 5, ..drawn() };
        assert_ne!(generate(&decoder, &prompts, &other), all);
        // Samples of a prompt differ from each other.
        assert!(all.chunks(3).any(|of| of[0].tokens != of[1].tokens));
    }
}

#[test]
fn draws_have_the_probabilities_that_they_should() {
    let golden = Golden::new("llama");
    let decoder = golden.decoder();
    let prompt = golden.told.rows[1].tokens.clone();
    let sampling = Sampling {
        samples: 4000,
        batch: 4000,
        most: 1,
        ..drawn()
    };
    let mut expected = Vec::new();
    decoder
        .read(&[Sequence::at_end(prompt.clone())], &mut |outputs| {
            expected = sampling.probabilities(outputs.logits(0));
        })
        .expect("reads");
    let samples = generate(&decoder, &[prompt], &sampling);
    for (token, p) in &expected {
        let count = samples.iter().filter(|s| s.tokens == [*token]).count();
        let spread = (4000.0 * p * (1.0 - p)).sqrt();
        assert!(
            (count as f64 - 4000.0 * p).abs() < 5.0 * spread + 1.0,
            "{token}: {count}, p {p}"
        );
    }
    let drawn = |s: &Sample| expected.iter().any(|(token, _)| s.tokens == [*token]);
    assert!(samples.iter().all(drawn));
}

#[test]
fn samples_end_at_end_tokens_at_the_callers_word_and_at_the_context() {
    let golden = Golden::new("qwen2");
    let decoder = golden.decoder();
    let prompts = prompts(&golden);
    let long = Sampling {
        most: 60,
        ..drawn()
    };
    for sample in generate(&decoder, &prompts, &long) {
        let ends = sample.tokens.iter().filter(|&&t| t == 2).count();
        match sample.end {
            End::Token => assert_eq!((ends, sample.tokens.last()), (1, Some(&2))),
            _ => assert_eq!((ends, sample.tokens.len()), (0, 60)),
        }
    }
    let mut heard = Vec::new();
    let third = |tokens: &[u32]| tokens.len() == 3;
    let samples = decoder.generate(&prompts, &long, &third, &mut |done| heard.push(done));
    for sample in samples.expect("generates") {
        assert!(sample.tokens.len() <= 3);
        assert!(sample.end == End::Token || sample.end == End::Stopped);
    }
    assert!(heard.is_sorted() && heard.last() == Some(&18));

    // The context has 256 tokens: the last token drawn is not read any more.
    let full = vec![vec![5; 254], vec![5; 256]];
    let sampling = Sampling {
        samples: 1,
        ..Sampling::greedy(50)
    };
    for sample in generate(&decoder, &full, &sampling) {
        let length = full[sample.prompt].len() + sample.tokens.len();
        assert!(
            length <= 257 && (sample.end == End::Token || length == 257),
            "{length}"
        );
    }
}

#[test]
fn impossible_requests_are_refused() {
    let decoder = Golden::new("llama").decoder();
    let attempt = |prompts: &[Vec<u32>], sampling: &Sampling| {
        let result = decoder.generate(prompts, sampling, &never, &mut |_| ());
        result.expect_err("must be refused").to_string()
    };
    let good = vec![vec![1, 2]];
    for (sampling, wanted) in [
        (
            Sampling {
                temperature: -1.0,
                ..drawn()
            },
            "temperature",
        ),
        (
            Sampling {
                temperature: f64::NAN,
                ..drawn()
            },
            "temperature",
        ),
        (
            Sampling {
                top_p: 0.0,
                ..drawn()
            },
            "top_p",
        ),
        (
            Sampling {
                top_p: 1.5,
                ..drawn()
            },
            "top_p",
        ),
        (
            Sampling {
                samples: 0,
                ..drawn()
            },
            "at least 1",
        ),
        (
            Sampling {
                batch: 0,
                ..drawn()
            },
            "at least 1",
        ),
        (Sampling { most: 0, ..drawn() }, "at least 1"),
    ] {
        let said = attempt(&good, &sampling);
        assert!(said.contains(wanted), "{said}");
    }
    assert!(attempt(&[vec![1], vec![]], &drawn()).contains("sequence 1"));
    assert!(attempt(&[vec![1; 300]], &drawn()).contains("300 tokens"));
    assert!(generate(&decoder, &[], &drawn()).is_empty());
}
