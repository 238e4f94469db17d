//! Runs: ten steps against PyTorch; stopping, going on, memory, and what is refused.

use std::ops::ControlFlow;
use std::path::Path;

use aar_models::train::{
    AdamW, Fall, Keep, Plan, Progress, Run, Schedule, TrainError, Trained, cross_entropy, train,
};
use aar_models::{Decoder, Sequence};

use super::golden::{ALL, Golden, Steps, assert_close};

/// The reference's ten steps: all rows in each. Packs of 24 tokens, so gradients of several are added up.
fn plan(trained: Trained) -> Plan {
    Plan {
        trained,
        epochs: 10,
        batch: 6,
        pack_tokens: 24,
        optimiser: AdamW {
            rate: 5e-3,
            decay: 0.1,
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

fn go_on(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn run(golden: &Golden, decoder: &mut Decoder, plan: &Plan) -> Run {
    let targets = golden.targets();
    let mut loss = cross_entropy(&targets);
    train(
        decoder,
        &golden.sequences(),
        plan,
        &mut loss,
        None,
        &mut go_on,
    )
    .expect("trains")
}

fn assert_steps(name: &str, run: &Run, want: &Steps) {
    assert!(run.finished);
    assert_eq!(run.curve.len(), want.losses.len());
    for (step, record) in run.curve.iter().enumerate() {
        let close = |got: f64, want: f64, tolerance: f64| {
            (got - want).abs() < tolerance * want.abs().max(1e-9)
        };
        assert!(close(record.rate, want.rates[step], 1e-12) || want.rates[step] == 0.0);
        assert!(
            close(record.loss, want.losses[step], 1e-4),
            "{name} {step}: {record:?}"
        );
        assert!(
            close(record.norm, want.norms[step], 1e-3),
            "{name} {step}: {record:?}"
        );
    }
}

fn weights(decoder: &Decoder) -> Vec<(String, Vec<f32>)> {
    decoder
        .weights()
        .map(|(name, _, numbers)| (name.to_owned(), numbers.to_vec()))
        .collect()
}

#[test]
fn ten_steps_of_adapters_are_those_of_pytorch() {
    for name in ALL {
        let golden = Golden::new(name);
        let mut decoder = golden.adapted();
        let run = run(&golden, &mut decoder, &plan(Trained::Adapters));
        assert_steps(name, &run, &golden.told.lora_steps);
        let mut compared = 0;
        for (tensor, got) in weights(&decoder) {
            if let Some(want) = golden.tensors.get(&format!("trained.{tensor}")) {
                assert_close(&tensor, &got, want, 2e-3);
                compared += 1;
            }
        }
        assert_eq!(compared, 2 * 7 * 2, "{name}");
    }
}

#[test]
fn ten_steps_of_all_weights_are_those_of_pytorch() {
    for name in ALL {
        let golden = Golden::new(name);
        let mut decoder = golden.decoder();
        let run = run(&golden, &mut decoder, &plan(Trained::Everything));
        assert_steps(name, &run, &golden.told.full_steps);
        for (tensor, got) in weights(&decoder) {
            let [_, norm] = golden.told.full_after[&tensor];
            let found = got
                .iter()
                .map(|&v| f64::from(v).powi(2))
                .sum::<f64>()
                .sqrt();
            assert!(
                (found - norm).abs() < 1e-4 * norm,
                "{name} {tensor}: {found} for {norm}"
            );
        }
    }
}

#[test]
fn threads_packs_and_recomputing_change_nothing_that_matters() {
    let golden = Golden::new("qwen3");
    let with = |plan: &Plan, threads: usize| {
        let mut decoder = golden.decoder();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let run = pool
            .expect("threads")
            .install(|| run(&golden, &mut decoder, plan));
        (run, weights(&decoder))
    };
    let base = plan(Trained::Everything);
    let one = with(&base, 1);
    for threads in [2, 5] {
        assert_eq!(with(&base, threads), one, "{threads} threads");
    }
    let again = Plan {
        recompute: true,
        ..base.clone()
    };
    assert_eq!(with(&again, 2), one, "recomputed");
    // Other packs add up in another order.
    let whole = Plan {
        pack_tokens: 1000,
        ..base
    };
    for (a, b) in with(&whole, 2).0.curve.iter().zip(&one.0.curve) {
        assert!((a.loss - b.loss).abs() < 1e-4 * b.loss, "{a:?} for {b:?}");
    }
}

/// Small batches, so that orders and unfinished epochs matter.
fn small(trained: Trained) -> Plan {
    Plan {
        batch: 4,
        epochs: 3,
        schedule: Schedule {
            fall: Fall::Cosine,
            warmup: 0.1,
        },
        ..plan(trained)
    }
}

#[test]
fn a_stopped_run_goes_on_bit_for_bit() {
    for (name, trained) in [
        ("llama", Trained::Adapters),
        ("llama_tied", Trained::Everything),
        ("qwen3", Trained::LastBlocks(1)),
    ] {
        let golden = Golden::new(name);
        let fresh = || match trained {
            Trained::Adapters => golden.adapted(),
            _ => golden.decoder(),
        };
        let (sequences, targets) = (golden.sequences(), golden.targets());
        let plan = small(trained);
        let mut whole = fresh();
        let want = run(&golden, &mut whole, &plan);
        assert_eq!(want.curve.len(), 6);

        let dir = tempfile::tempdir().expect("scratch directory");
        let keep = Keep {
            path: &dir.path().join("run.safetensors"),
            every: 2,
        };
        for stop in [1, 4, 5] {
            let mut loss = cross_entropy(&targets);
            let mut until = |progress: &Progress| {
                if progress.step == stop {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            let part = train(
                &mut fresh(),
                &sequences,
                &plan,
                &mut loss,
                Some(&keep),
                &mut until,
            );
            let part = part.expect("trains");
            assert_eq!((part.finished, part.curve.len() as u64), (false, stop));
        }
        let mut decoder = fresh();
        let mut loss = cross_entropy(&targets);
        let mut heard = Vec::new();
        let mut listen = |progress: &Progress| {
            heard.push((progress.step, progress.steps));
            ControlFlow::Continue(())
        };
        let got = train(
            &mut decoder,
            &sequences,
            &plan,
            &mut loss,
            Some(&keep),
            &mut listen,
        );
        assert_eq!(got.expect("goes on"), want, "{name}");
        assert_eq!(heard, [(6, 6)]);
        assert_eq!(weights(&decoder), weights(&whole), "{name}");

        // A finished run is not run again.
        let mut decoder = fresh();
        let mut never = |_: &Progress| -> ControlFlow<()> { panic!("a step was made") };
        let got = train(
            &mut decoder,
            &sequences,
            &plan,
            &mut loss,
            Some(&keep),
            &mut never,
        );
        assert_eq!(got.expect("is done"), want);
        assert_eq!(weights(&decoder), weights(&whole));
    }
}

fn attempt(golden: &Golden, plan: &Plan, path: &Path) -> Result<Run, TrainError> {
    let targets = golden.targets();
    let mut loss = cross_entropy(&targets);
    let keep = Keep { path, every: 1 };
    let sequences = golden.sequences();
    train(
        &mut golden.decoder(),
        &sequences,
        plan,
        &mut loss,
        Some(&keep),
        &mut go_on,
    )
}

#[test]
fn damaged_and_foreign_checkpoints_are_refused() {
    let golden = Golden::new("llama");
    let plan = small(Trained::LastBlocks(1));
    let dir = tempfile::tempdir().expect("scratch directory");
    let path = dir.path().join("run.safetensors");
    attempt(&golden, &plan, &path).expect("trains");
    let other = Plan {
        seed: 2,
        ..plan.clone()
    };
    let error = attempt(&golden, &other, &path).expect_err("another plan");
    assert!(matches!(error, TrainError::Foreign { .. }), "{error}");
    let error = attempt(&Golden::new("qwen2"), &plan, &path).expect_err("another model");
    assert!(matches!(error, TrainError::Foreign { .. }), "{error}");
    let bytes = std::fs::read(&path).expect("checkpoint");
    for length in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).expect("write");
        let error = attempt(&golden, &plan, &path)
            .expect_err("cut off")
            .to_string();
        assert!(error.contains("run.safetensors"), "{error}");
    }
    std::fs::copy(golden.dir.join("model.safetensors"), &path).expect("copy");
    let error = attempt(&golden, &plan, &path)
        .expect_err("weights")
        .to_string();
    assert!(error.contains("not a checkpoint of a run"), "{error}");
}

#[test]
fn a_loss_that_is_not_a_number_stops_the_run_at_the_last_good_state() {
    let golden = Golden::new("llama");
    let plan = small(Trained::Adapters);
    let (sequences, targets) = (golden.sequences(), golden.targets());
    for (poison_gradient, what) in [(false, "loss"), (true, "gradient")] {
        let dir = tempfile::tempdir().expect("scratch directory");
        let keep = Keep {
            path: &dir.path().join("run.safetensors"),
            every: 1,
        };
        let mut decoder = golden.adapted();
        let mut inner = cross_entropy(&targets);
        let error = train(
            &mut decoder,
            &sequences,
            &plan,
            &mut |outputs, share, gradient| {
                let value = inner(outputs, share, gradient)?;
                if share.step < 3 {
                    return Ok(value);
                }
                if poison_gradient {
                    gradient.logits[0] = f32::NAN;
                    return Ok(value);
                }
                Ok(f64::NAN)
            },
            Some(&keep),
            &mut go_on,
        )
        .expect_err("must stop");
        let said = error.to_string();
        assert!(said.contains("step 4") && said.contains(what), "{said}");
        assert!(
            said.contains("run.safetensors has the last good state"),
            "{said}"
        );

        // The file holds what three good steps give.
        let mut good = golden.adapted();
        let mut loss = cross_entropy(&targets);
        let mut three = |p: &Progress| match p.step {
            3 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        train(&mut good, &sequences, &plan, &mut loss, None, &mut three).expect("trains");
        assert_eq!(weights(&decoder), weights(&good));
        let mut again = golden.adapted();
        let mut stop = |_: &Progress| ControlFlow::Break(());
        let run = train(
            &mut again,
            &sequences,
            &plan,
            &mut loss,
            Some(&keep),
            &mut stop,
        );
        assert_eq!(run.expect("goes on").curve.len(), 4);
    }
}

#[test]
fn what_a_loss_says_is_passed_on() {
    let golden = Golden::new("llama");
    let error = train(
        &mut golden.adapted(),
        &golden.sequences(),
        &plan(Trained::Adapters),
        &mut |_, _, _| Err("no label for row 3".into()),
        None,
        &mut go_on,
    );
    let said = error.expect_err("must stop").to_string();
    assert!(
        said.contains("step 1") && said.contains("no label for row 3"),
        "{said}"
    );
    let none: Vec<Vec<_>> = vec![Vec::new(); 6];
    let error = train(
        &mut golden.adapted(),
        &golden.sequences(),
        &plan(Trained::Adapters),
        &mut cross_entropy(&none),
        None,
        &mut go_on,
    );
    assert!(
        error
            .expect_err("must stop")
            .to_string()
            .contains("no target")
    );
}

#[test]
fn memory_is_reckoned_before_a_run_and_what_would_fit_is_said() {
    let golden = Golden::new("llama");
    let sequences: Vec<Sequence> = golden.sequences().into_iter().cycle().take(60).collect();
    let decoder = golden.decoder();
    let mut plan = Plan {
        batch: 60,
        pack_tokens: 4000,
        ..plan(Trained::Everything)
    };
    let whole = plan.memory(&decoder, &sequences);
    plan.recompute = true;
    let recomputed = plan.memory(&decoder, &sequences);
    assert!(recomputed.activations < whole.activations);
    plan.recompute = false;
    plan.trained = Trained::LastBlocks(1);
    let last = plan.memory(&decoder, &sequences);
    assert!(last.optimiser < whole.optimiser && last.states > 0);

    plan.trained = Trained::Everything;
    plan.memory = Some((whole.total() + recomputed.total()) / 2);
    let targets = golden.targets();
    let attempt = |plan: &Plan| {
        let mut loss = cross_entropy(&targets);
        let run = train(
            &mut golden.decoder(),
            &sequences,
            plan,
            &mut loss,
            None,
            &mut go_on,
        );
        run.expect_err("too large").to_string()
    };
    assert!(attempt(&plan).contains("would fit"), "{}", attempt(&plan));
    plan.memory = Some(1000);
    assert!(
        attempt(&plan).contains("train adapters or fewer blocks"),
        "{}",
        attempt(&plan)
    );

    // Kept states are given up before a run is refused.
    let base = golden.sequences();
    let mut last = small(Trained::LastBlocks(1));
    let needed = last.memory(&decoder, &base);
    let mut with = |memory| {
        last.memory = memory;
        let mut decoder = golden.decoder();
        let run = run(&golden, &mut decoder, &last);
        (run, weights(&decoder))
    };
    assert_eq!(with(Some(needed.total() - 1)), with(None));
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    let golden = Golden::new("llama");
    let targets = golden.targets();
    let attempt = |decoder: &mut Decoder, change: &dyn Fn(&mut Plan)| {
        let mut plan = plan(Trained::LastBlocks(1));
        change(&mut plan);
        let before = weights(decoder);
        let mut loss = cross_entropy(&targets);
        let result = train(
            decoder,
            &golden.sequences(),
            &plan,
            &mut loss,
            None,
            &mut go_on,
        );
        assert_eq!(weights(decoder), before);
        result.expect_err("must be refused").to_string()
    };
    let mut plain = golden.decoder();
    for (change, wanted) in [
        (
            (|p| p.trained = Trained::Adapters) as fn(&mut Plan),
            "no adapters",
        ),
        (|p| p.trained = Trained::LastBlocks(3), "3 last blocks of 2"),
        (|p| p.trained = Trained::LastBlocks(0), "0 last blocks"),
        (|p| p.epochs = 0, "at least 1"),
        (|p| p.batch = 0, "at least 1"),
        (|p| p.optimiser.rate = f64::NAN, "learning rate"),
        (|p| p.optimiser.beta2 = 1.0, "betas"),
        (|p| p.schedule.warmup = 1.5, "warm-up"),
        (|p| p.clip = Some(0.0), "norm"),
    ] {
        let said = attempt(&mut plain, &change);
        assert!(said.contains(wanted), "{said}");
    }
    let said = attempt(&mut golden.adapted(), &|_| ());
    assert!(said.contains("merge or detach"), "{said}");
}
