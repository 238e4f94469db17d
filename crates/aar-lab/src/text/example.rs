//! From a row to the tokens that a language model is trained on and asked with.

use super::TextError;
use aar_core::problem::ItemKind;
use aar_core::recipe::TextForm;
use aar_core::row::Item;
use aar_models::train::{Among, Target};
use aar_models::{Engine, LanguageModel, Message, Sequence, Turn};

/// What follows a row's fields, and what the model may answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wording {
    /// What the model is to go on from.
    pub cue: &'static str,
    /// What label 0 and label 1 are called, with a leading space where there is one.
    pub labels: [&'static str; 2],
}

impl Wording {
    /// The study's training text.
    #[must_use]
    pub fn label(kind: ItemKind) -> Self {
        Self {
            cue: "Label:",
            labels: match kind {
                ItemKind::Pair => ["A", "B"],
                ItemKind::Claim => ["False", "True"],
            },
        }
    }

    /// A question that a model can answer without any training. The study's form; the words of the
    /// claim are ours. For pairs, true says that A is better, which is label 0.
    #[must_use]
    pub fn zero_shot(kind: ItemKind) -> Self {
        match kind {
            ItemKind::Pair => Self {
                cue: "Claim: Answer A is more helpful than Answer B.\nTrue or False?",
                labels: [" True", " False"],
            },
            ItemKind::Claim => Self {
                cue: "Claim: The answer is correct.\nTrue or False?\n",
                labels: ["False", "True"],
            },
        }
    }

    /// A row as a text, without its label: field lines, then the cue.
    #[must_use]
    pub fn text(&self, item: &Item) -> String {
        let cue = self.cue;
        match item {
            Item::Pair {
                prompt,
                first,
                second,
            } => format!("Question: {prompt}\nAnswer A: {first}\nAnswer B: {second}\n{cue}"),
            Item::Claim { question, choice } => {
                format!("Question: {question}\nAnswer: {choice}\n{cue}")
            }
        }
    }
}

/// A row as tokens, up to where its label begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Prompt {
    /// All of it.
    Whole(Vec<u32>),
    /// Its end was cut off before the cue.
    Cut(Vec<u32>),
    /// Too long for a chat template, which cannot be cut.
    TooLong,
}

impl Prompt {
    /// The tokens, if there are any.
    #[must_use]
    pub fn tokens(&self) -> Option<&[u32]> {
        match self {
            Self::Whole(tokens) | Self::Cut(tokens) => Some(tokens),
            Self::TooLong => None,
        }
    }
}

/// A sequence with what should be said at each of its places.
#[derive(Clone, PartialEq, Debug)]
pub struct Example {
    /// Prompt and label; the places are those before the label's tokens and before the end.
    pub sequence: Sequence,
    /// One target for each place.
    pub targets: Vec<Target>,
}

/// Writes rows in one wording for one model.
#[derive(Debug)]
pub struct Writer<'a, E> {
    model: &'a LanguageModel<E>,
    wording: Wording,
    form: TextForm,
    /// Most tokens of a row, its label and the end token.
    limit: usize,
    labels: [Vec<u32>; 2],
    end: u32,
    cue: Vec<u32>,
}

impl<'a, E: Engine> Writer<'a, E> {
    /// A writer for `model`; a row has at most `max_tokens` tokens and fits the model's context.
    ///
    /// # Errors
    /// If the tokenizer begins both labels with the same token, the model has no end token, or a
    /// chat form is asked of a model without a template.
    pub fn new(
        model: &'a LanguageModel<E>,
        wording: Wording,
        form: TextForm,
        max_tokens: usize,
    ) -> Result<Self, TextError> {
        let frame = model.tokenizer.encode("")?;
        let words = wording.labels;
        let labels = [bare(model, words[0])?, bare(model, words[1])?];
        if labels[0].first() == labels[1].first() || labels.iter().any(Vec::is_empty) {
            let what = format!(
                "begins the labels {:?} and {:?} with the same token, so they cannot be told apart",
                words[0], words[1]
            );
            return Err(TextError::Labels(what));
        }
        let Some(&end) = model.decoder.config().end.first() else {
            let what = "has no end token: config.json names none (eos_token_id)".to_owned();
            return Err(TextError::Labels(what));
        };
        if form == TextForm::Chat && model.chat.is_none() {
            let what = "has no chat template; use the plain form".to_owned();
            return Err(TextError::Labels(what));
        }
        let limit = max_tokens.min(model.decoder.config().context);
        let cue = bare(model, &format!("\n{}", wording.cue))?;
        let longest = labels.iter().map(Vec::len).max().unwrap_or(1);
        if limit <= frame.len() + cue.len() + longest + 1 {
            let what = format!("needs more than {limit} tokens for the cue and the label alone");
            return Err(TextError::Labels(what));
        }
        Ok(Self {
            model,
            wording,
            form,
            limit,
            labels,
            end,
            cue,
        })
    }

    /// Tokens of the longest label and of the end.
    fn reserve(&self) -> usize {
        self.labels.iter().map(Vec::len).max().unwrap_or(1) + 1
    }

    /// The first tokens of both labels: what probabilities are read at.
    #[must_use]
    pub fn label_tokens(&self) -> [u32; 2] {
        [self.labels[0][0], self.labels[1][0]]
    }

    /// Tokens of a text that goes on where a prompt ends.
    ///
    /// # Errors
    /// If the tokenizer cannot work with the text.
    pub fn continuation(&self, text: &str) -> Result<Vec<u32>, TextError> {
        bare(self.model, text)
    }

    /// The token that ends what a model says.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.end
    }

    /// A row's tokens up to where the label begins.
    ///
    /// # Errors
    /// If the tokenizer or the template cannot work with the text.
    pub fn prompt(&self, item: &Item) -> Result<Prompt, TextError> {
        let text = self.wording.text(item);
        let room = self.limit - self.reserve();
        match self.form {
            TextForm::Plain => {
                let mut tokens = self.model.tokenizer.encode(&text)?;
                if tokens.len() <= room {
                    return Ok(Prompt::Whole(tokens));
                }
                tokens.truncate(room - self.cue.len());
                tokens.extend_from_slice(&self.cue);
                Ok(Prompt::Cut(tokens))
            }
            TextForm::Chat => {
                let message = Message {
                    role: "user".to_owned(),
                    content: text,
                };
                // Without a word on thinking, templates write no empty block of thoughts.
                let turn = Turn {
                    prompt: true,
                    thinking: None,
                };
                let tokens = self.model.chat(&[message], turn)?;
                Ok(match tokens.len() <= room {
                    true => Prompt::Whole(tokens),
                    false => Prompt::TooLong,
                })
            }
        }
    }

    /// A prompt with its label: `p` is the probability of label 1, exactly 0 or 1 for a hard one.
    /// A soft label is shared out between both labels' tokens; the likelier one is written.
    ///
    /// # Errors
    /// If the label is soft and the tokenizer has more than one token for one of them.
    pub fn example(&self, prompt: &[u32], p: f64) -> Result<Example, TextError> {
        let written = &self.labels[usize::from(p > 0.5)];
        let mut targets: Vec<Target> = if p == 0.0 || p == 1.0 {
            written.iter().map(|&token| Target::token(token)).collect()
        } else if self.labels.iter().all(|label| label.len() == 1) {
            let [zero, one] = self.label_tokens();
            vec![Target {
                tokens: vec![(zero, (1.0 - p) as f32), (one, p as f32)],
                among: Among::Vocabulary,
            }]
        } else {
            let what = "has several tokens for a label, so soft labels cannot be written; use \
                        weak-hard labels";
            return Err(TextError::Labels(what.to_owned()));
        };
        targets.push(Target::token(self.end));
        let mut tokens = prompt.to_vec();
        tokens.extend_from_slice(written);
        let places = (prompt.len() - 1..tokens.len()).collect();
        Ok(Example {
            sequence: Sequence { tokens, places },
            targets,
        })
    }
}

/// Tokens of a text within another: some tokenizers set a first token before every text.
fn bare<E>(model: &LanguageModel<E>, text: &str) -> Result<Vec<u32>, TextError> {
    let frame = model.tokenizer.encode("")?;
    let tokens = model.tokenizer.encode(text)?;
    Ok(tokens
        .strip_prefix(frame.as_slice())
        .unwrap_or(&tokens)
        .to_vec())
}
