//! Tokenizers: a decoder's from its `tokenizer.json`, SmolLM2's also from GGUF metadata, MiniLM's from its
//! `tokenizer.json`.
//!
//! Special tokens spelled out in a text are text: what a stranger writes cannot set a token that
//! the model was taught to obey.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokenizers::TruncationParams;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::processors::bert::BertProcessing;

use crate::chat::Message;
use crate::error::ModelError;
use crate::gguf::{Gguf, Value};
use crate::safetensors::read_text;

/// A model's tokenizer.
pub struct Tokenizer {
    /// The file it came from, for messages.
    path: PathBuf,
    /// Takes special tokens that are spelled out for text.
    inner: tokenizers::Tokenizer,
    /// Whether the tokens that belong around a text are set there.
    frame: bool,
    /// Special tokens as they are spelled, the longest first.
    marks: Vec<(String, u32)>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Special tokens in messages, hidden from a chat template: the character that stands for the first of them, the next one
/// for the second, and so on.
pub(crate) struct Hidden(u32);

impl Tokenizer {
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
        let mut inner = tokenizers::Tokenizer::new(bpe.build().map_err(fail)?);
        inner.with_pre_tokenizer(Some(Sequence::new(vec![
            PreTokenizerWrapper::Digits(Digits::new(true)),
            PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
        ])));
        inner.with_decoder(Some(ByteLevel::new(false, true, true)));
        // Type 3 is a control token.
        let marks = match file.get("tokenizer.ggml.token_type") {
            Some(Value::List(kinds)) => tokens
                .iter()
                .zip(kinds)
                .zip(0..)
                .filter(|((_, kind), _)| **kind == Value::Int(3))
                .map(|((token, _), id)| ((*token).to_owned(), id))
                .collect(),
            _ => Vec::new(),
        };
        Ok(Self {
            path: path.to_owned(),
            inner,
            frame: false,
            marks: sorted(marks),
        })
    }

    /// A decoder's tokenizer by its `tokenizer.json`. The file's own padding and cutting are not used.
    ///
    /// # Errors
    /// If the file cannot be read or is not a tokenizer.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let text = read_text(path)?;
        // The crate panics on some damaged files.
        let read = catch_unwind(AssertUnwindSafe(|| text.parse::<tokenizers::Tokenizer>()));
        let mut inner = match read {
            Ok(Ok(inner)) => inner,
            Ok(Err(e)) => return Err(ModelError::tokenizer(path, e)),
            Err(_) => return Err(ModelError::tokenizer(path, "damaged")),
        };
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| ModelError::tokenizer(path, e))?;
        inner.set_encode_special_tokens(true);
        let added = inner.get_added_tokens_decoder();
        let marks = added.into_iter().filter(|(_, token)| token.special);
        Ok(Self {
            path: path.to_owned(),
            marks: sorted(marks.map(|(id, token)| (token.content, id)).collect()),
            inner,
            frame: true,
        })
    }

    /// BERT's WordPiece by a `tokenizer.json`, with [CLS] and [SEP] set around a text and the text
    /// cut so that it has `limit` tokens in all. The file's own padding and cutting are not used:
    /// sentence-transformers overrides them too.
    ///
    /// # Errors
    /// If the file cannot be read or describes another kind of tokenizer.
    pub(crate) fn bert(path: &Path, limit: usize) -> Result<Self, ModelError> {
        let file: BertFile = serde_json::from_str(&read_text(path)?)
            .map_err(|e| ModelError::format(path, e.to_string()))?;
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
        let mut inner = tokenizers::Tokenizer::new(pieces.build().map_err(fail)?);
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
            frame: true,
            marks: Vec::new(),
        })
    }

    /// Token ids of a text, with the tokens that belong around one (Llama 3's first token, BERT's frame; most have none).
    /// Special tokens spelled out in it are text.
    ///
    /// # Errors
    /// If the tokenizer cannot work with the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        self.ids(text, self.frame)
    }

    /// The text of tokens, without special ones.
    ///
    /// # Errors
    /// If the tokenizer cannot work with them.
    pub fn decode(&self, ids: &[u32]) -> Result<String, ModelError> {
        let plain: Vec<u32> = ids
            .iter()
            .copied()
            .filter(|id| !self.marks.iter().any(|mark| mark.1 == *id))
            .collect();
        self.inner
            .decode(&plain, false)
            .map_err(|e| self.refuse(e.to_string()))
    }

    /// The id of one token, special or not, as it is spelled in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The greatest token id.
    pub(crate) fn last(&self) -> u32 {
        self.inner.get_vocab(true).into_values().max().unwrap_or(0)
    }

    fn ids(&self, text: &str, frame: bool) -> Result<Vec<u32>, ModelError> {
        let encoding = self
            .inner
            .encode_fast(text, frame)
            .map_err(|e| self.refuse(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Token ids of a text that a chat template wrote: special tokens spelled out in it are meant, but for the hidden ones.
    pub(crate) fn encode_marked(
        &self,
        text: &str,
        hidden: &Hidden,
    ) -> Result<Vec<u32>, ModelError> {
        let mut out = Vec::new();
        let mut from = 0;
        let mut at = 0;
        while let Some(next) = text[at..].chars().next() {
            let rest = &text[at..];
            let concealed = (u32::from(next).wrapping_sub(hidden.0)) as usize;
            let (length, ids) = if let Some((spelled, _)) = self.marks.get(concealed) {
                (next.len_utf8(), self.ids(spelled, false)?)
            } else if let Some((spelled, id)) =
                self.marks.iter().find(|mark| rest.starts_with(&mark.0))
            {
                (spelled.len(), vec![*id])
            } else {
                at += next.len_utf8();
                continue;
            };
            out.extend(self.ids(&text[from..at], false)?);
            out.extend(ids);
            at += length;
            from = at;
        }
        out.extend(self.ids(&text[from..], false)?);
        Ok(out)
    }

    /// Messages in which a character of its own, which occurs in none of them, stands for each special token that is
    /// spelled out.
    pub(crate) fn hide(&self, messages: &[Message]) -> (Vec<Message>, Hidden) {
        // The private-use planes. A text would have to be made to hold a character of every one of these runs, and then
        // the worst is that one of them is read as the spelling of a special token, as text.
        let runs = (0xf_0000..0x10_f000).step_by(0x1000);
        let free = |start: &u32| {
            let run = *start..*start + self.marks.len() as u32;
            let texts = messages
                .iter()
                .flat_map(|m| m.content.chars().chain(m.role.chars()));
            !texts.map(u32::from).any(|c| run.contains(&c))
        };
        let start = runs.clone().find(free).unwrap_or(0xf_0000);
        let stand_in = |nth: u32| char::from_u32(start + nth).unwrap_or('\u{f0000}');
        let clean = |text: &str| {
            let mut text = text.to_owned();
            for ((spelled, _), nth) in self.marks.iter().zip(0..) {
                if text.contains(spelled.as_str()) {
                    text = text.replace(spelled.as_str(), &stand_in(nth).to_string());
                }
            }
            text
        };
        let messages = messages
            .iter()
            .map(|message| Message {
                role: clean(&message.role),
                content: clean(&message.content),
            })
            .collect();
        (messages, Hidden(start))
    }

    /// An error about this tokenizer.
    pub(crate) fn refuse(&self, what: String) -> ModelError {
        ModelError::tokenizer(&self.path, what)
    }
}

/// The longest first, so that a token that begins with another is found.
fn sorted(mut marks: Vec<(String, u32)>) -> Vec<(String, u32)> {
    marks.retain(|mark| !mark.0.is_empty());
    marks.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then(a.cmp(b)));
    marks
}

/// What is read of BERT's `tokenizer.json`. The crate's own reader panics on some damaged files.
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
