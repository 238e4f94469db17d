//! One suite for all engines: what the contract in `src/engine.rs` promises, on every tiny checkpoint, against the golden
//! values of transformers and peft.

use std::ops::ControlFlow;
use std::path::Path;

use aar_models::train::{
    AdamW, Fall, Keep, LossGradient, Plan, Progress, Record, Run, Schedule, Share, TrainError,
    Trained, cross_entropy, train,
};
use aar_models::{Batch, End, Engine, Lora, Outputs, Projection, Sample, Sampling, Sequence};
use safetensors::SafeTensors;

use crate::golden::{Golden, Steps, assert_close};

/// An engine that the suite can be run on.
pub(crate) trait Subject: Engine {
    /// Attaches the adapters of a directory.
    fn load_adapters(&mut self, dir: &Path);
}

/// Runs the suite. Engines that `open` gives need not be opened often: opening may be slow.
pub(crate) fn keeps_the_contract(golden: &Golden, open: &dyn Fn() -> Box<dyn Subject>) {
    let mut subject = open();
    let engine = &mut *subject;
    says_what_transformers_says(golden, engine);
    reads_in_order_however_much_it_is(golden, engine);
    refuses_the_impossible(golden, engine);
    new_adapters_change_nothing_and_follow_their_seed(golden, engine);
    adapters_are_read_and_base_reading_leaves_them_out(golden, engine);
    generates_the_same_greedy_tokens(golden, engine);
    samples_end_for_the_reasons_they_give(golden, engine);
    ten_steps_of_adapters_are_those_of_pytorch(golden, engine);
    a_bad_loss_leaves_the_decoder_as_it_was(golden, engine);
    reading_between_steps_changes_no_step(golden, engine);
    a_stopped_run_goes_on_from_its_file(golden, engine);
    merged_adapters_say_the_same(golden, engine);
    drop(subject);
    ten_steps_of_all_weights_are_those_of_pytorch(golden, &mut *open());
}

/// Logits and states of sequences, end to end.
pub(crate) fn read(engine: &mut dyn Engine, sequences: &[Sequence]) -> (Vec<f32>, Vec<f32>) {
    let (mut logits, mut hidden) = (Vec::new(), Vec::new());
    let mut keep = |outputs: &Outputs<'_>| {
        logits.extend_from_slice(outputs.logits);
        hidden.extend_from_slice(outputs.hidden);
    };
    engine.read(sequences, &mut keep).expect("reads");
    (logits, hidden)
}

fn read_base(engine: &mut dyn Engine, sequences: &[Sequence]) -> Vec<f32> {
    let mut logits = Vec::new();
    let mut keep = |outputs: &Outputs<'_>| logits.extend_from_slice(outputs.logits);
    engine.read_base(sequences, &mut keep).expect("reads");
    logits
}

/// The hard loss by what the engine says.
fn loss(golden: &Golden, engine: &mut dyn Engine) -> f64 {
    let (sequences, targets) = (golden.sequences(), golden.targets());
    let mut loss = cross_entropy(&targets);
    let share = Share {
        step: 0,
        sequences: sequences.len(),
        places: sequences.iter().map(|s| s.places.len()).sum(),
    };
    let mut total = 0.0;
    let mut add = |outputs: &Outputs<'_>| {
        let mut logits = vec![0.0; outputs.logits.len()];
        let mut hidden = vec![0.0; outputs.hidden.len()];
        let mut gradient = LossGradient {
            logits: &mut logits,
            hidden: &mut hidden,
        };
        total += loss(outputs, share, &mut gradient).expect("the loss works");
    };
    engine.read(&sequences, &mut add).expect("reads");
    total
}

fn assert_near(what: &str, got: f64, want: f64, tolerance: f64) {
    let near = (got - want).abs() <= tolerance * want.abs().max(1e-9);
    assert!(near, "{what}: {got} for {want}");
}

fn says_what_transformers_says(golden: &Golden, engine: &mut dyn Subject) {
    for row in [0, 2] {
        let tokens = golden.told.rows[row].tokens.clone();
        let places = (0..tokens.len()).collect();
        let (logits, hidden) = read(engine, &[Sequence { tokens, places }]);
        let want = &golden.tensors[&format!("logits.{row}")];
        assert_close("logits", &logits, want, 2e-5);
        let want = &golden.tensors[&format!("hidden.{row}")];
        assert_close("hidden", &hidden, want, 2e-5);
    }
    assert_near("loss", loss(golden, engine), golden.told.loss, 1e-5);
}

fn reads_in_order_however_much_it_is(golden: &Golden, engine: &mut dyn Subject) {
    let sequences = golden.sequences();
    let many: Vec<Sequence> = sequences.iter().cycle().take(400).cloned().collect();
    let (mut parts, mut places, mut logits) = (0, Vec::new(), Vec::new());
    let mut keep = |outputs: &Outputs<'_>| {
        parts += 1;
        places.extend(
            outputs
                .places
                .iter()
                .map(|p| (p.sequence, p.position, p.nth)),
        );
        logits.extend_from_slice(outputs.logits);
    };
    engine.read(&many, &mut keep).expect("reads");
    assert!(parts > 1);
    let wanted = many.iter().enumerate().flat_map(|(sequence, row)| {
        let places = row.places.iter().enumerate();
        places.map(move |(nth, &position)| (sequence, position, nth))
    });
    assert_eq!(places, wanted.collect::<Vec<_>>());
    let alone: Vec<f32> = sequences
        .iter()
        .flat_map(|one| read(engine, std::slice::from_ref(one)).0)
        .collect();
    for part in logits.chunks_exact(alone.len()) {
        assert_close("packed", part, &alone, 1e-5);
    }
}

fn refuses_the_impossible(golden: &Golden, engine: &mut dyn Subject) {
    let never = |_: &[u32]| false;
    let mut unheard = |_: &Outputs<'_>| panic!("something was read");
    for (tokens, places, wanted) in [
        (vec![], vec![0], "no tokens"),
        (vec![96], vec![0], "token 96"),
        (vec![1; 257], vec![0], "257 tokens"),
        (vec![1, 2], vec![2], "places"),
        (vec![1, 2], vec![], "places"),
    ] {
        let bad = [Sequence::at_end(vec![1]), Sequence { tokens, places }];
        let error = engine.read(&bad, &mut unheard).expect_err("refused");
        assert!(error.to_string().contains(wanted), "{error}");
        assert!(engine.read_base(&bad, &mut unheard).is_err());
    }
    let mut sampling = Sampling::greedy(3);
    assert!(
        engine
            .generate(&[vec![]], &sampling, &never, &mut |_| ())
            .is_err()
    );
    sampling.top_p = 0.0;
    assert!(
        engine
            .generate(&[vec![1]], &sampling, &never, &mut |_| ())
            .is_err()
    );
    let none = Lora { rank: 0, ..lora() };
    assert!(engine.attach(&none, 1).is_err());
    let mut refused = |plan: Plan, wanted: &str| {
        let error = match engine.begin(&plan, &golden.sequences()) {
            Ok(_) => panic!("{plan:?} was begun"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(wanted), "{error}");
    };
    refused(plan(Trained::Adapters), "no adapters");
    refused(plan(Trained::LastBlocks(3)), "3 last blocks of 2");
    let still = Plan {
        epochs: 0,
        ..plan(Trained::Everything)
    };
    refused(still, "at least 1");
}

pub(crate) fn lora() -> Lora {
    Lora {
        rank: 3,
        alpha: 6.0,
        rslora: true,
        targets: vec![Projection::Query, Projection::Value, Projection::Down],
    }
}

fn new_adapters_change_nothing_and_follow_their_seed(golden: &Golden, engine: &mut dyn Subject) {
    let sequences = golden.sequences();
    let plain = read(engine, &sequences).0;
    let mut trained = |seed| {
        engine.attach(&lora(), seed).expect("attaches");
        assert_close("attached", &read(engine, &sequences).0, &plain, 1e-6);
        let plan = Plan {
            epochs: 3,
            ..plan(Trained::Adapters)
        };
        run(golden, engine, &plan).curve
    };
    let one = trained(5);
    assert_curves(&trained(5), &one, 1e-6);
    let other = trained(6);
    assert!((other[2].loss - one[2].loss).abs() > 1e-6 * one[2].loss);
}

fn adapters_are_read_and_base_reading_leaves_them_out(golden: &Golden, engine: &mut dyn Subject) {
    let sequences = golden.sequences();
    engine.load_adapters(&golden.dir.join("adapter"));
    assert_near("loss", loss(golden, engine), golden.told.lora_loss, 1e-5);
    let tokens = golden.told.rows[0].tokens.clone();
    let places = (0..tokens.len()).collect();
    let base = read_base(engine, &[Sequence { tokens, places }]);
    assert_close("base", &base, &golden.tensors["logits.0"], 2e-5);
    // And they are there again.
    assert!(read(engine, &sequences).0 != read_base(engine, &sequences));
    assert_near("loss", loss(golden, engine), golden.told.lora_loss, 1e-5);
}

fn never(_: &[u32]) -> bool {
    false
}

pub(crate) fn generate(
    engine: &mut dyn Engine,
    prompts: &[Vec<u32>],
    sampling: &Sampling,
) -> Vec<Sample> {
    let mut heard = Vec::new();
    let samples = engine
        .generate(prompts, sampling, &never, &mut |done| heard.push(done))
        .expect("generates");
    assert!(heard.is_sorted() && heard.last() == Some(&samples.len()));
    samples
}

fn generates_the_same_greedy_tokens(golden: &Golden, engine: &mut dyn Subject) {
    let wanted = &golden.told.generated;
    let prompts: Vec<Vec<u32>> = wanted
        .iter()
        .map(|g| golden.told.rows[g.row].tokens.clone())
        .collect();
    for batch in [1, 2, 32] {
        let sampling = Sampling {
            batch,
            ..Sampling::greedy(12)
        };
        let got = generate(engine, &prompts, &sampling);
        for (sample, want) in got.iter().zip(wanted) {
            assert_eq!(sample.tokens, want.tokens, "{batch} at a time");
        }
    }
}

pub(crate) fn drawn() -> Sampling {
    Sampling {
        temperature: 0.8,
        top_k: 30,
        top_p: 0.9,
        seed: 4,
        samples: 3,
        most: 20,
        batch: 7,
    }
}

fn samples_end_for_the_reasons_they_give(golden: &Golden, engine: &mut dyn Subject) {
    let prompts: Vec<Vec<u32>> = golden.told.rows.iter().map(|r| r.tokens.clone()).collect();
    let samples = generate(engine, &prompts, &drawn());
    let numbers: Vec<_> = samples.iter().map(|s| (s.prompt, s.nth)).collect();
    let wanted = (0..prompts.len()).flat_map(|p| (0..3).map(move |n| (p, n)));
    assert_eq!(numbers, wanted.collect::<Vec<_>>());
    let ends = &engine.config().end.clone();
    for sample in &samples {
        let found = sample.tokens.iter().filter(|t| ends.contains(t)).count();
        match sample.end {
            End::Token => {
                assert!(found == 1 && ends.contains(&sample.tokens[sample.tokens.len() - 1]))
            }
            End::Length => assert_eq!((found, sample.tokens.len()), (0, 20)),
            End::Stopped => panic!("nobody stopped it"),
        }
        // The cache says what a whole pass says.
        let prompt = &prompts[sample.prompt];
        let tokens = [prompt.as_slice(), &sample.tokens].concat();
        let places = prompt.len() - 1..tokens.len() - 1;
        let sequence = Sequence {
            places: places.collect(),
            tokens,
        };
        let mut compare = |outputs: &Outputs<'_>| {
            let all: Vec<u32> = (0..outputs.vocabulary as u32).collect();
            for (i, (&token, &log_p)) in sample.tokens.iter().zip(&sample.log_p).enumerate() {
                let want = outputs.among(i, &all)[token as usize].ln();
                assert!((f64::from(log_p) - want).abs() < 1e-4, "{log_p} for {want}");
            }
        };
        engine.read(&[sequence], &mut compare).expect("reads");
    }
    assert_eq!(generate(engine, &prompts, &drawn()), samples, "again");
    let other = Sampling { seed: 5, ..drawn() };
    assert_ne!(generate(engine, &prompts, &other), samples);
    let third = |tokens: &[u32]| tokens.len() == 3;
    let stopped = engine.generate(&prompts, &drawn(), &third, &mut |_| ());
    for sample in stopped.expect("generates") {
        let whole = sample.tokens.len() == 3 && sample.end == End::Stopped;
        assert!(whole || sample.end == End::Token, "{sample:?}");
    }
    // The context has 256 tokens: the last token drawn is not read any more.
    let full = [vec![5; 254], vec![5; 256]];
    for sample in generate(engine, &full, &Sampling::greedy(50)) {
        let length = full[sample.prompt].len() + sample.tokens.len();
        assert!(length == 257 || (sample.end == End::Token && length < 257));
    }
    assert!(
        generate(engine, &[vec![1]], &Sampling::greedy(1))[0]
            .tokens
            .len()
            == 1
    );
}

/// The reference's ten steps: all rows in each. Packs of 24 tokens, so gradients of several are added up.
pub(crate) fn plan(trained: Trained) -> Plan {
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

pub(crate) fn run(golden: &Golden, engine: &mut dyn Engine, plan: &Plan) -> Run {
    run_until(golden, engine, plan, None, u64::MAX)
}

fn run_until(
    golden: &Golden,
    engine: &mut dyn Engine,
    plan: &Plan,
    keep: Option<&Keep<'_>>,
    last: u64,
) -> Run {
    let targets = golden.targets();
    let mut loss = cross_entropy(&targets);
    let mut until = |progress: &Progress| match progress.step {
        step if step == last => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let sequences = golden.sequences();
    train(engine, &sequences, plan, &mut loss, keep, &mut until).expect("trains")
}

pub(crate) fn assert_curves(got: &[Record], want: &[Record], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert_near("loss", got.loss, want.loss, tolerance);
        assert_near("norm", got.norm, want.norm, 10.0 * tolerance);
        assert_eq!((got.rate, got.tokens), (want.rate, want.tokens));
    }
}

fn assert_steps(run: &Run, want: &Steps) {
    assert!(run.finished);
    assert_eq!(run.curve.len(), want.losses.len());
    for (step, record) in run.curve.iter().enumerate() {
        assert_near("rate", record.rate, want.rates[step], 1e-12);
        assert_near("loss", record.loss, want.losses[step], 1e-4);
        assert_near("norm", record.norm, want.norms[step], 1e-3);
    }
}

/// Calls `each` with the trained weights in a run's file; returns how many there are.
fn kept(path: &Path, mut each: impl FnMut(&str, Vec<f32>)) -> usize {
    let bytes = std::fs::read(path).expect("the checkpoint is there");
    let file = SafeTensors::deserialize(&bytes).expect("it is whole");
    let mut count = 0;
    for (name, tensor) in file.iter() {
        if let Some(name) = name.strip_prefix("weight.") {
            let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            each(name, tensor.data().chunks_exact(4).map(number).collect());
            count += 1;
        }
    }
    count
}

fn ten_steps_of_adapters_are_those_of_pytorch(golden: &Golden, engine: &mut dyn Subject) {
    for recompute in [false, true] {
        engine.load_adapters(&golden.dir.join("adapter"));
        let dir = tempfile::tempdir().expect("scratch directory");
        let path = &dir.path().join("run.safetensors");
        let plan = Plan {
            recompute,
            ..plan(Trained::Adapters)
        };
        let keep = Keep { path, every: 100 };
        let run = run_until(golden, engine, &plan, Some(&keep), u64::MAX);
        assert_steps(&run, &golden.told.lora_steps);
        let compared = kept(path, |name, got| {
            let want = &golden.tensors[&format!("trained.{name}")];
            assert_close(name, &got, want, 2e-3);
        });
        assert_eq!(compared, 2 * 7 * 2);
    }
}

fn ten_steps_of_all_weights_are_those_of_pytorch(golden: &Golden, engine: &mut dyn Subject) {
    let dir = tempfile::tempdir().expect("scratch directory");
    let path = &dir.path().join("run.safetensors");
    let keep = Keep { path, every: 100 };
    let plan = plan(Trained::Everything);
    let run = run_until(golden, engine, &plan, Some(&keep), u64::MAX);
    assert_steps(&run, &golden.told.full_steps);
    let compared = kept(path, |name, got| {
        let [_, norm] = golden.told.full_after[name];
        let squares: f64 = got.iter().map(|&v| f64::from(v).powi(2)).sum();
        assert_near(name, squares.sqrt(), norm, 1e-4);
    });
    assert_eq!(compared, golden.told.full_after.len());
}

/// Small batches, so that orders and unfinished epochs matter.
pub(crate) fn small(trained: Trained) -> Plan {
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

fn a_bad_loss_leaves_the_decoder_as_it_was(golden: &Golden, engine: &mut dyn Subject) {
    engine.load_adapters(&golden.dir.join("adapter"));
    let (sequences, targets) = (golden.sequences(), golden.targets());
    let before = read(engine, &sequences);
    for (nan_loss, nan_gradient, wanted) in [
        (true, false, "the loss is not finite"),
        (false, true, "the gradient is not finite"),
        (false, false, "I cannot"),
    ] {
        let mut inner = cross_entropy(&targets);
        let mut calls = 0;
        let mut bad = |outputs: &Outputs<'_>, share: Share, gradient: &mut LossGradient<'_>| {
            calls += 1;
            let value = inner(outputs, share, gradient)?;
            if nan_loss {
                return Ok(f64::NAN);
            }
            if nan_gradient {
                gradient.logits[0] = f32::NAN;
                return Ok(value);
            }
            // Not of the first pack: a gradient is there already.
            if calls > 1 {
                return Err("I cannot".into());
            }
            Ok(value)
        };
        let plan = small(Trained::Adapters);
        let error = train(engine, &sequences, &plan, &mut bad, None, &mut go_on);
        let error = error.expect_err("must stop");
        let said = error.to_string();
        assert!(said.contains("step 1") && said.contains(wanted), "{said}");
        let typed = matches!(
            error,
            TrainError::NotFinite { .. } | TrainError::Loss { .. }
        );
        assert!(typed, "{error:?}");
        assert!(read(engine, &sequences) == before);
    }
}

fn reading_between_steps_changes_no_step(golden: &Golden, engine: &mut dyn Subject) {
    let (sequences, targets) = (golden.sequences(), golden.targets());
    let members: Vec<usize> = (0..sequences.len()).collect();
    let mut losses = |between: bool| {
        engine.load_adapters(&golden.dir.join("adapter"));
        let plan = Plan {
            recompute: true,
            ..plan(Trained::Adapters)
        };
        let mut training = engine.begin(&plan, &sequences).expect("begins");
        let mut losses = Vec::new();
        for step in 0..3 {
            let batch = Batch {
                sequences: &sequences,
                members: &members,
                step,
                rate: 5e-3,
            };
            let stepped = training.step(&batch, &mut cross_entropy(&targets));
            losses.push(stepped.expect("steps").loss);
            if between {
                let engine = training.engine();
                read_base(engine, &sequences);
                let prompts = [sequences[0].tokens.clone()];
                generate(engine, &prompts, &Sampling::greedy(3));
                read(engine, &sequences);
            }
        }
        losses
    };
    let plain = losses(false);
    assert!(plain[2] < plain[0]);
    for (got, want) in losses(true).into_iter().zip(plain) {
        assert_near("loss", got, want, 1e-6);
    }
}

fn a_stopped_run_goes_on_from_its_file(golden: &Golden, engine: &mut dyn Subject) {
    let plan = small(Trained::Adapters);
    let dir = tempfile::tempdir().expect("scratch directory");
    let path = &dir.path().join("run.safetensors");
    let keep = Keep { path, every: 2 };
    let mut fresh = |plan: &Plan, keep: Option<&Keep<'_>>, last| {
        engine.load_adapters(&golden.dir.join("adapter"));
        run_until(golden, engine, plan, keep, last)
    };
    let whole = fresh(&plan, None, u64::MAX);
    for stop in [1, 4] {
        let part = fresh(&plan, Some(&keep), stop);
        assert_eq!((part.finished, part.curve.len() as u64), (false, stop));
    }
    let rest = fresh(&plan, Some(&keep), u64::MAX);
    assert!(rest.finished);
    assert_curves(&rest.curve, &whole.curve, 1e-6);

    // Foreign and damaged files change nothing.
    engine.load_adapters(&golden.dir.join("adapter"));
    let (sequences, targets) = (golden.sequences(), golden.targets());
    let before = read(engine, &sequences);
    let mut attempt = |plan: &Plan| {
        let mut loss = cross_entropy(&targets);
        train(engine, &sequences, plan, &mut loss, Some(&keep), &mut go_on).expect_err("refused")
    };
    let other = Plan {
        seed: 2,
        ..plan.clone()
    };
    assert!(matches!(attempt(&other), TrainError::Foreign { .. }));
    let bytes = std::fs::read(path).expect("the checkpoint is there");
    std::fs::write(path, &bytes[..bytes.len() / 2]).expect("writes");
    assert!(attempt(&plan).to_string().contains("run.safetensors"));
    // Whole, with the right note, but of another form.
    let file = SafeTensors::deserialize(&bytes).expect("it is whole");
    let (_, metadata) = SafeTensors::read_metadata(&bytes).expect("it is whole");
    let fewer = file.iter().skip(1);
    safetensors::serialize_to_file(fewer, metadata.metadata().clone(), path).expect("writes");
    assert!(matches!(attempt(&plan), TrainError::Model(_)));
    assert!(read(engine, &sequences) == before);
}

fn merged_adapters_say_the_same(golden: &Golden, engine: &mut dyn Subject) {
    let sequences = golden.sequences();
    engine.load_adapters(&golden.dir.join("adapter"));
    let adapted = read(engine, &sequences).0;
    engine.merge().expect("merges");
    assert_close("merged", &read(engine, &sequences).0, &adapted, 1e-4);
    assert!(read_base(engine, &sequences) == read(engine, &sequences).0);
    // Nothing is left to train.
    assert!(engine.begin(&plan(Trained::Adapters), &sequences).is_err());
}
