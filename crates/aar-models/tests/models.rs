//! The readers, tokenizers and forward passes on tiny random models, against the reference.

mod support;

use aar_models::{Embedder, Gguf, ModelError, Pooling, Tap};
use support::{all_taps, cases, compare, fixture, texts};

fn llama() -> Embedder {
    let file = Gguf::open(&fixture("tiny.gguf")).expect("tiny.gguf opens");
    Embedder::from_gguf(file).expect("tiny.gguf is a model")
}

fn bert() -> Embedder {
    Embedder::from_bert_dir(&fixture("tiny_bert")).expect("tiny_bert is a model")
}

fn embed(embedder: &Embedder, texts: &[&str], tap: Tap) -> Result<Vec<f32>, ModelError> {
    let texts: Vec<String> = texts.iter().map(|t| (*t).to_owned()).collect();
    Ok(embedder
        .embed(&texts, &[tap], &mut |_| ())?
        .swap_remove(0)
        .data)
}

#[test]
fn tiny_llama_agrees_with_the_reference() {
    let cases = cases("tiny_llama.json");
    // Long enough that attention is done in more than one block of queries.
    assert!(cases.iter().any(|c| c.ids.len() > 128));
    compare(&llama(), &cases, 1e-5);
}

#[test]
fn tiny_bert_agrees_with_the_reference() {
    let cases = cases("tiny_bert.json");
    // One text is cut at the model's context.
    assert!(cases.iter().any(|c| c.ids.len() == 64));
    compare(&bert(), &cases, 1e-5);
}

#[test]
fn a_row_has_the_same_bits_in_any_company() {
    for (embedder, name) in [(llama(), "tiny_llama.json"), (bert(), "tiny_bert.json")] {
        let cases = cases(name);
        let texts = texts(&cases);
        let many: Vec<String> = (0..150)
            .map(|i| format!("{i} {}", texts[i % 4]))
            .chain(texts.clone())
            .collect();
        for tap in all_taps(&cases) {
            let alone: Vec<_> = texts
                .iter()
                .map(|text| embed(&embedder, &[text], tap).expect("one text is embedded"))
                .collect();
            let mut together = embedder
                .embed(&many, &[tap], &mut |_| ())
                .expect("many are embedded");
            let together = together.swap_remove(0);
            for (i, row) in alone.iter().enumerate() {
                assert_eq!(together.row(150 + i), row, "{tap:?} of {:?}", texts[i]);
            }
        }
    }
}

#[test]
fn neither_threads_nor_other_taps_change_a_bit() {
    let cases = cases("tiny_llama.json");
    let (texts, taps) = (texts(&cases), all_taps(&cases));
    let all = llama()
        .threads(1)
        .embed(&texts, &taps, &mut |_| ())
        .expect("embeds");
    for threads in [2, 7] {
        let other = llama()
            .threads(threads)
            .embed(&texts, &taps, &mut |_| ())
            .expect("embeds");
        assert_eq!(all, other, "{threads} threads");
    }
    // Alone, a tap on last tokens lets the deepest block skip the other rows.
    for (tap, matrix) in taps.iter().zip(&all) {
        let one = llama().embed(&texts, &[*tap], &mut |_| ()).expect("embeds");
        assert_eq!(&one[0], matrix, "{tap:?}");
    }
}

#[test]
fn digits_are_tokens_of_their_own_and_special_tokens_are_text() {
    let vocabulary = |text: &str| {
        llama()
            .tokens(&[text.to_owned()])
            .expect("tokens")
            .remove(0)
            .len()
    };
    // The tiny vocabulary has a merge for `12`, which must not be used.
    assert_eq!(vocabulary("12"), 2);
    assert_eq!(vocabulary("in the"), 2);
    assert_eq!(vocabulary("<|im_end|>"), 10);
}

#[test]
fn progress_counts_up_to_all_texts() {
    let texts: Vec<String> = (0..300).map(|i| format!("text number {i}")).collect();
    let mut heard = Vec::new();
    let tap = Tap {
        layer: 1,
        pooling: Pooling::Mean,
    };
    llama()
        .embed(&texts, &[tap], &mut |done| heard.push(done))
        .expect("embeds");
    assert!(heard.len() > 1 && heard.is_sorted(), "{heard:?}");
    assert_eq!(heard.last(), Some(&300));
}

#[test]
fn nothing_in_gives_nothing_out() {
    let tap = Tap {
        layer: 2,
        pooling: Pooling::Last,
    };
    let none = llama().embed(&[], &[tap], &mut |_| ()).expect("embeds");
    assert_eq!((none[0].rows, none[0].cols, none[0].data.len()), (0, 32, 0));
    assert!(
        llama()
            .embed(&["a".into()], &[], &mut |_| ())
            .expect("embeds")
            .is_empty()
    );
}

#[test]
fn unusable_requests_are_named() {
    let tap = Tap {
        layer: 2,
        pooling: Pooling::Last,
    };
    let empty = embed(&llama(), &["a", ""], tap);
    assert!(
        matches!(empty, Err(ModelError::EmptyText { index: 1 })),
        "{empty:?}"
    );
    let long = embed(&llama(), &[&"x".repeat(257)], tap);
    let expected = matches!(
        long,
        Err(ModelError::TooLong {
            index: 0,
            tokens: 257,
            limit: 256
        })
    );
    assert!(expected, "{long:?}");
    let deep = embed(
        &bert(),
        &["a"],
        Tap {
            layer: 3,
            pooling: Pooling::Mean,
        },
    );
    assert!(
        matches!(
            deep,
            Err(ModelError::NoSuchLayer {
                layer: 3,
                layers: 2,
                ..
            })
        ),
        "{deep:?}"
    );
    // An encoder sets its own tokens around the text, so an empty one has a state.
    assert_eq!(embed(&bert(), &[""], tap).expect("embeds").len(), 24);
}
