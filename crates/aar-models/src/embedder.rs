//! From texts to matrices: tokens, packs, threads, pooling.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use rayon::prelude::*;

use crate::bert::Bert;
use crate::decoder::Decoder;
use crate::error::ModelError;
use crate::gguf::Gguf;
use crate::kernel::MIN_ROWS;
use crate::model::LanguageModel;
use crate::pack::Pack;
use crate::tokenize::Tokenizer;
use crate::weights::{MiniLmFiles, Weights};

/// Tokens that are pushed through the layers together. Enough for matrix products at full speed,
/// few enough for their operands to stay in a core's cache.
const PACK_TOKENS: usize = 512;

/// How the states of a text's tokens become one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The state of the last token.
    Last,
    /// The mean over all tokens.
    Mean,
    /// The mean over all tokens, scaled to length 1.
    UnitMean,
}

/// What is wanted of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tap {
    /// Depth: the residual stream after this many blocks; 0 is the embeddings. A decoder's final
    /// norm, which belongs to its output head, is never applied.
    pub layer: usize,
    /// How tokens become one row.
    pub pooling: Pooling,
}

/// A dense matrix, row after row.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Number of rows: one for each text, in the order given.
    pub rows: usize,
    /// Numbers in a row: the width of the model.
    pub cols: usize,
    /// `rows * cols` numbers.
    pub data: Vec<f32>,
}

impl Matrix {
    /// One row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.cols..][..self.cols]
    }
}

/// A model that turns packs into pooled hidden states.
pub(crate) trait Encoder: Send + Sync {
    /// The model's name, for messages.
    fn name(&self) -> &'static str;
    /// Number of blocks.
    fn layers(&self) -> usize;
    /// Width of the residual stream.
    fn width(&self) -> usize;
    /// Most tokens of one text.
    fn context(&self) -> usize;
    /// Number of tokens known.
    fn vocabulary(&self) -> usize;
    /// For each tap the pooled rows of the pack's texts, dense. Tokens and taps must be in range.
    fn encode(&self, pack: &Pack, taps: &[Tap]) -> Result<Vec<Vec<f32>>, ModelError>;
}

/// Pools the rows of `x` (one for each token) into one row for each text.
pub(crate) fn pool(pack: &Pack, x: &[f32], width: usize, pooling: Pooling) -> Vec<f32> {
    let mut out = Vec::with_capacity(pack.spans().count() * width);
    for span in pack.spans() {
        let rows = &x[span.start * width..span.end * width];
        if pooling == Pooling::Last {
            out.extend_from_slice(&rows[rows.len() - width..]);
            continue;
        }
        let mut mean = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            for (m, &v) in mean.iter_mut().zip(row) {
                *m += v;
            }
        }
        let mut scale = 1.0 / span.len() as f32;
        if pooling == Pooling::UnitMean {
            // The length of the sum serves as well as that of the mean.
            let length = mean
                .iter()
                .map(|&v| f64::from(v).powi(2))
                .sum::<f64>()
                .sqrt();
            scale = (1.0 / length.max(1e-12)) as f32;
        }
        out.extend(mean.iter().map(|m| m * scale));
    }
    out
}

/// A pretrained model with its tokenizer.
///
/// A text's row has the same bits whatever texts are embedded with it, in whatever order and on
/// however many threads. Between processors it can differ by rounding, because the matrix products
/// split long sums by the size of the cache.
pub struct Embedder {
    model: Box<dyn Encoder>,
    tokenizer: Tokenizer,
    threads: usize,
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder")
            .field("model", &self.model.name())
            .finish_non_exhaustive()
    }
}

impl Embedder {
    /// SmolLM2-135M-Instruct: 30 layers, width 576. Texts are tokenised as they are, without a
    /// first token, and special tokens spelled out in them are ordinary text.
    ///
    /// # Errors
    /// If the weights are not found (see [`Weights`]), are not the known ones, or cannot be read.
    pub fn smollm2(weights: &Weights) -> Result<Self, ModelError> {
        let file = Gguf::open(&weights.smollm2()?)?;
        Weights::check_smollm2(file.path(), file.bytes())?;
        Self::from_gguf(file)
    }

    /// all-MiniLM-L6-v2: 6 layers, width 384; texts are cut to 256 tokens, as its makers do. Its
    /// sentence embedding is `Tap { layer: 6, pooling: Pooling::UnitMean }`.
    ///
    /// # Errors
    /// As for [`Embedder::smollm2`].
    pub fn minilm(weights: &Weights) -> Result<Self, ModelError> {
        let files = weights.minilm()?;
        Self::from_bert(&files, Weights::check_minilm)
    }

    /// Any Llama-architecture GGUF file with a `smollm` tokenizer, unchecked: for other sizes of
    /// the family and for tests.
    ///
    /// # Errors
    /// If the file is not of that kind.
    pub fn from_gguf(file: Gguf) -> Result<Self, ModelError> {
        let tokenizer = Tokenizer::smollm(&file)?;
        Ok(Self::new(Box::new(Decoder::from_gguf(file)?), tokenizer))
    }

    /// A language model's decoder with its tokenizer, adapters included.
    pub fn of(model: LanguageModel) -> Self {
        Self::new(Box::new(model.decoder), model.tokenizer)
    }

    /// Any BERT encoder directory (`config.json`, `model.safetensors`, `tokenizer.json`), unchecked.
    ///
    /// # Errors
    /// If a file is missing or does not fit the architecture.
    pub fn from_bert_dir(dir: &Path) -> Result<Self, ModelError> {
        Self::from_bert(&MiniLmFiles::in_dir(dir), |_, _| Ok(()))
    }

    fn from_bert(
        files: &MiniLmFiles,
        check: impl Fn(&Path, &[u8]) -> Result<(), ModelError>,
    ) -> Result<Self, ModelError> {
        let model = Bert::open(&files.config, &files.weights, check)?;
        let tokenizer = Tokenizer::bert(&files.tokenizer, model.context().min(256))?;
        Ok(Self::new(Box::new(model), tokenizer))
    }

    fn new(model: Box<dyn Encoder>, tokenizer: Tokenizer) -> Self {
        Self {
            model,
            tokenizer,
            threads: rayon::current_num_threads(),
        }
    }

    /// Uses this many threads (at least one); by default as many as rayon has.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Number of blocks: the deepest layer of a [`Tap`].
    pub fn layers(&self) -> usize {
        self.model.layers()
    }

    /// Width of the rows.
    pub fn width(&self) -> usize {
        self.model.width()
    }

    /// Token ids of each text, as the model will see them.
    ///
    /// # Errors
    /// If a text has no tokens or more than the model's context holds.
    pub fn tokens(&self, texts: &[String]) -> Result<Vec<Vec<u32>>, ModelError> {
        let limit = self.model.context();
        let encode = |(index, text): (usize, &String)| {
            let tokens = self.tokenizer.encode(text)?;
            let known = self.model.vocabulary();
            if let Some(&id) = tokens.iter().find(|&&id| id as usize >= known) {
                return Err(self.tokenizer.refuse(format!(
                    "token {id} of text {index} is not among the model's {known}"
                )));
            }
            match tokens.len() {
                0 => Err(ModelError::EmptyText { index }),
                tokens if tokens > limit => Err(ModelError::TooLong {
                    index,
                    tokens,
                    limit,
                }),
                _ => Ok(tokens),
            }
        };
        texts.par_iter().enumerate().map(encode).collect()
    }

    /// Hidden states of all texts: for each tap a matrix with a row for each text.
    ///
    /// Work stops at the deepest tap. `progress` hears, on this thread, how many texts are done.
    ///
    /// # Errors
    /// If a tap is deeper than the model, or as for [`Embedder::tokens`].
    pub fn embed(
        &self,
        texts: &[String],
        taps: &[Tap],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Matrix>, ModelError> {
        let layers = self.model.layers();
        if let Some(tap) = taps.iter().find(|t| t.layer > layers) {
            let (model, layer) = (self.model.name(), tap.layer);
            return Err(ModelError::NoSuchLayer {
                model,
                layer,
                layers,
            });
        }
        let tokens = self.tokens(texts)?;
        let packs = plan(&tokens, self.threads);
        let cols = self.model.width();
        let blank = Matrix {
            rows: texts.len(),
            cols,
            data: vec![0.0; texts.len() * cols],
        };
        let mut out = vec![blank; taps.len()];
        let next = AtomicUsize::new(0);
        let (sender, finished) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..self.threads.min(packs.len()) {
                let (sender, next, packs, tokens) = (sender.clone(), &next, &packs, &tokens);
                scope.spawn(move || {
                    while let Some(texts) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let pack = Pack::new(texts.iter().map(|&i| tokens[i].as_slice()));
                        // The receiver is gone only after an error, and then nobody wants more.
                        if sender
                            .send((texts, self.model.encode(&pack, taps)))
                            .is_err()
                        {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            let mut done = 0;
            for (texts, pooled) in finished {
                for (matrix, rows) in out.iter_mut().zip(pooled?) {
                    for (&text, row) in texts.iter().zip(rows.chunks_exact(cols)) {
                        matrix.data[text * cols..][..cols].copy_from_slice(row);
                    }
                }
                done += texts.len();
                progress(done);
            }
            Ok::<(), ModelError>(())
        })?;
        Ok(out)
    }
}

/// Shares texts out into packs, longest first so that the threads finish together.
fn plan(tokens: &[Vec<u32>], threads: usize) -> Vec<Vec<usize>> {
    let total: usize = tokens.iter().map(Vec::len).sum();
    // A few texts are still spread over all threads.
    let most = (total / threads).clamp(MIN_ROWS, PACK_TOKENS);
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(tokens[i].len()));
    let mut packs: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for i in order {
        let len = tokens[i].len();
        match packs.last_mut() {
            Some(pack) if len <= room => {
                pack.push(i);
                room -= len;
            }
            _ => {
                packs.push(vec![i]);
                room = most.saturating_sub(len);
            }
        }
    }
    packs
}
