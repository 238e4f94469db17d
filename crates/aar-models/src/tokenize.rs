//! Tokenizers: SmolLM2's built from GGUF metadata, MiniLM's from its `tokenizer.json`.
//!
//! Special tokens spelled out in a text are text: what a stranger writes cannot set a token that
//! the model was taught to obey.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{Tokenizer, TruncationParams};

use crate::error::ModelError;
use crate::gguf::Gguf;

/// A model's tokenizer, with the path it came from for messages.
pub(crate) struct TextTokenizer {
    path: PathBuf,
    inner: Tokenizer,
    /// Whether [CLS] and [SEP] are set around a text.
    special: bool,
}

impl TextTokenizer {
    /// The byte-level BPE that a GGUF file carries, with `smollm`'s way of cutting a text before
    /// merging: every digit by itself, then words, numbers and punctuation as in GPT-2.
    ///
    /// # Errors
    /// If the file names another tokenizer, or its vocabulary or merges are unusable.
    pub(crate) fn smollm(file: &Gguf) -> Result<Self, ModelError> {
        let path = file.path();
        for (key, wanted) in [
            ("tokenizer.ggml.model", "gpt2"),
            ("tokenizer.ggml.pre", "smollm"),
        ] {
            let found = file.text(key)?;
            if found != wanted {
                let what = format!("`{key}` is `{found}`; only `{wanted}` is supported");
                return Err(ModelError::format(path, what));
            }
        }
        let tokens = file.texts("tokenizer.ggml.tokens")?;
        let merges = file.texts("tokenizer.ggml.merges")?;
        let merges = merges
            .iter()
            .enumerate()
            .map(|(i, merge)| match merge.split_once(' ') {
                Some((a, b)) => Ok((a.to_owned(), b.to_owned())),
                None => Err(ModelError::tokenizer(
                    path,
                    format!("merge {i} is not two tokens"),
                )),
            });
        let merges = merges.collect::<Result<Vec<_>, _>>()?;
        let vocabulary = tokens
            .iter()
            .zip(0..)
            .map(|(t, id)| ((*t).to_owned(), id))
            .collect();
        let fail = |e| ModelError::tokenizer(path, e);
        let bpe = BPE::builder().vocab_and_merges::<Vocab>(vocabulary, merges);
        let mut inner = Tokenizer::new(bpe.build().map_err(fail)?);
        inner.with_pre_tokenizer(Some(Sequence::new(vec![
            PreTokenizerWrapper::Digits(Digits::new(true)),
            PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
        ])));
        Ok(Self {
            path: path.to_owned(),
            inner,
            special: false,
        })
    }

    /// BERT's WordPiece by a `tokenizer.json`, with [CLS] and [SEP] set around a text and the text
    /// cut so that it has `limit` tokens in all. The file's own padding and cutting are not used:
    /// sentence-transformers overrides them too.
    ///
    /// # Errors
    /// If the file cannot be read or describes another kind of tokenizer.
    pub(crate) fn bert(path: &Path, limit: usize) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path).map_err(|source| ModelError::Io {
            path: path.to_owned(),
            source,
        })?;
        let file: BertFile =
            serde_json::from_str(&text).map_err(|e| ModelError::format(path, e.to_string()))?;
        let (model, normalizer) = (file.model, file.normalizer);
        let kinds = [&*model.kind, &normalizer.kind, &file.pre_tokenizer.kind];
        if kinds != ["WordPiece", "BertNormalizer", "BertPreTokenizer"] {
            let what = format!("made of {kinds:?}; only BERT's WordPiece is supported");
            return Err(ModelError::format(path, what));
        }
        let mark = |token: &str| match model.vocab.get(token) {
            Some(&id) => Ok((token.to_owned(), id)),
            None => Err(ModelError::tokenizer(
                path,
                format!("the vocabulary lacks {token}"),
            )),
        };
        let frame = BertProcessing::new(mark("[SEP]")?, mark("[CLS]")?);
        let fail = |e| ModelError::tokenizer(path, e);
        let pieces = WordPiece::builder()
            .vocab(model.vocab.into_iter().collect::<Vocab>())
            .unk_token(model.unk_token)
            .continuing_subword_prefix(model.continuing_subword_prefix)
            .max_input_chars_per_word(model.max_input_chars_per_word);
        let mut inner = Tokenizer::new(pieces.build().map_err(fail)?);
        let normalizer = BertNormalizer::new(
            normalizer.clean_text,
            normalizer.handle_chinese_chars,
            normalizer.strip_accents,
            normalizer.lowercase,
        );
        inner.with_normalizer(Some(normalizer)).map_err(fail)?;
        inner.with_pre_tokenizer(Some(BertPreTokenizer));
        inner.with_post_processor(Some(frame));
        let truncation = TruncationParams {
            max_length: limit,
            ..TruncationParams::default()
        };
        inner.with_truncation(Some(truncation)).map_err(fail)?;
        Ok(Self {
            path: path.to_owned(),
            inner,
            special: true,
        })
    }

    /// Token ids of a text.
    ///
    /// # Errors
    /// If the tokenizer's vocabulary lacks a symbol of the text.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let encoding = self
            .inner
            .encode_fast(text, self.special)
            .map_err(|e| self.refuse(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// An error about this tokenizer.
    pub(crate) fn refuse(&self, what: String) -> ModelError {
        ModelError::tokenizer(&self.path, what)
    }
}

/// What is read of a `tokenizer.json`. The crate's own reader panics on some damaged files.
#[derive(Deserialize)]
struct BertFile {
    model: BertModel,
    normalizer: BertNormal,
    pre_tokenizer: Kind,
}

#[derive(Deserialize)]
struct BertModel {
    /// Older files leave it out.
    #[serde(rename = "type", default = "word_piece")]
    kind: String,
    vocab: HashMap<String, u32>,
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
}

#[derive(Deserialize)]
struct BertNormal {
    #[serde(rename = "type")]
    kind: String,
    clean_text: bool,
    handle_chinese_chars: bool,
    strip_accents: Option<bool>,
    lowercase: bool,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

fn word_piece() -> String {
    "WordPiece".to_owned()
}
