//! What a call costs: a dated table of models, and money in whole micro-dollars.

use super::conversation::{ToolChoice, Usage};
use super::error::SetupError;
use super::http::Wire;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// The table that ships.
const SHIPPED: &str = include_str!("prices.toml");
/// The dearest price that is believed, in dollars per million tokens; more is a slip of the pen.
const DEAREST: f64 = 10_000.0;
/// Bytes of a request for each token that is reckoned with. Text and code have three to four bytes a token, JSON with its
/// quotes and escapes about three, dense data such as hexadecimal digits about two.
const BYTES_PER_TOKEN: u64 = 2;
/// What a provider adds to a request: the tools' own instructions, a few marks for each message.
const ADDED_TOKENS: u64 = 2_000;

/// An amount in micro-dollars (10⁻⁶ US dollars). Whole numbers, so that sums come out the same in any order.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Money(pub u64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From dollars, rounded to the nearest micro-dollar; `None` for what is no amount of money.
    #[must_use]
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        let micros = (dollars * 1e6).round();
        // 2⁵³: beyond it a float no longer holds every whole number.
        (0.0..=9_007_199_254_740_992.0)
            .contains(&micros)
            .then_some(Self(micros as u64))
    }

    /// In dollars, for people.
    #[must_use]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// What is left of it after `spent`; nothing if more was spent.
    #[must_use]
    pub fn minus(self, spent: Self) -> Self {
        Self(self.0.saturating_sub(spent.0))
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Prices by kind of token, in micro-dollars per million tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Read at the full price.
    pub input: Money,
    /// Written.
    pub output: Money,
    /// Read and put into the cache.
    pub cache_write: Money,
    /// Read from the cache.
    pub cache_read: Money,
}

impl Rates {
    /// What `usage` costs, rounded up to a micro-dollar.
    fn cost(&self, usage: &Usage) -> Money {
        let kinds = [
            (usage.input, self.input),
            (usage.output, self.output),
            (usage.cache_write, self.cache_write),
            (usage.cache_read, self.cache_read),
        ];
        let total: u128 = kinds
            .iter()
            .map(|&(tokens, rate)| u128::from(tokens) * u128::from(rate.0))
            .sum();
        Money(u64::try_from(total.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}

/// Other prices for requests with long prompts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongPrompts {
    /// They hold for prompts of more tokens than this.
    pub above: u64,
    /// For the whole request.
    pub rates: Rates,
}

/// What a model costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The usual prices.
    pub rates: Rates,
    /// Prices for long prompts, where they differ.
    pub long: Option<LongPrompts>,
}

impl Price {
    /// Free of charge: a model on one's own machine.
    pub const FREE: Self = Self {
        rates: Rates {
            input: Money::ZERO,
            output: Money::ZERO,
            cache_write: Money::ZERO,
            cache_read: Money::ZERO,
        },
        long: None,
    };

    fn rates(&self, prompt: u64) -> &Rates {
        match &self.long {
            Some(long) if prompt > long.above => &long.rates,
            _ => &self.rates,
        }
    }
}

/// How a model thinks, and so what a request must say about it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thinking {
    /// Nothing is said about it.
    #[default]
    None,
    /// As much as a question needs; asked for.
    Adaptive,
    /// As much as a question needs, always. Tools cannot be forced.
    Always,
    /// Takes tools only with thinking switched off (OpenAI's newer models in chat completions).
    OffWithTools,
}

/// What is known of a model.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Its name at the provider.
    pub name: String,
    /// The format that it is asked in.
    pub wire: Wire,
    /// Tokens of prompt and reply together.
    pub context_window: u64,
    /// Tokens of a reply, at most.
    pub max_output: u64,
    /// How it thinks.
    pub thinking: Thinking,
    /// Can a request force a tool?
    pub forced_tools: bool,
    /// What it costs.
    pub price: Price,
    /// Where the figures come from.
    pub source: String,
    /// The day on which they were read, as `2026-11-21`; empty for one's own.
    pub read: String,
}

impl Card {
    /// A model that no table knows, with the price that its user gives.
    #[must_use]
    pub fn custom(
        name: &str,
        wire: Wire,
        context_window: u64,
        max_output: u64,
        price: Price,
    ) -> Self {
        Self {
            name: name.to_owned(),
            wire,
            context_window,
            max_output,
            thinking: Thinking::None,
            forced_tools: true,
            price,
            source: "given by the user".into(),
            read: String::new(),
        }
    }

    /// What a call cost.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Money {
        self.price.rates(usage.prompt()).cost(usage)
    }

    /// What a call can cost at most, before it is sent: for reserving money that is settled by [`Card::cost`] afterwards.
    /// `request_bytes` is the size of the request's JSON. Two bytes are reckoned for a token, the dearest kind of input
    /// for all of it, and the whole allowed output. No call can use more prompt than the context window, so that bounds it
    /// too; in between, text with fewer than two bytes a token would cost more than this says.
    #[must_use]
    pub fn upper_bound(&self, request_bytes: u64, max_tokens: u64) -> Money {
        let prompt = (request_bytes / BYTES_PER_TOKEN)
            .saturating_add(ADDED_TOKENS)
            .min(self.context_window);
        let rates = self.price.rates(prompt);
        let usage = if rates.cache_write > rates.input {
            Usage {
                cache_write: prompt,
                output: max_tokens,
                ..Usage::default()
            }
        } else {
            Usage {
                input: prompt,
                output: max_tokens,
                ..Usage::default()
            }
        };
        rates.cost(&usage)
    }

    /// Can a request force this choice of tools?
    #[must_use]
    pub fn takes(&self, choice: &ToolChoice) -> bool {
        match choice {
            ToolChoice::Auto | ToolChoice::None => true,
            ToolChoice::Any | ToolChoice::Tool(_) => {
                self.forced_tools && self.thinking != Thinking::Always
            }
        }
    }
}

/// Models by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriceTable {
    default_model: String,
    cards: BTreeMap<String, Card>,
}

impl PriceTable {
    /// The table that ships with the program; `prices.toml` names the source and the day of each figure.
    ///
    /// # Errors
    /// [`SetupError::Prices`]; a test keeps this from happening.
    pub fn shipped() -> Result<Self, SetupError> {
        Self::parse(SHIPPED, "the shipped prices.toml")
    }

    /// Reads a table in the form of the shipped one; `file` is for errors.
    ///
    /// # Errors
    /// [`SetupError::Prices`] with what is wrong and where.
    pub fn parse(text: &str, file: &str) -> Result<Self, SetupError> {
        let refuse = |why: String| SetupError::Prices {
            file: file.to_owned(),
            why,
        };
        let table: TableFile = toml::from_str(text).map_err(|error| refuse(error.to_string()))?;
        let mut cards = BTreeMap::new();
        for model in table.model {
            let card = model.card().map_err(refuse)?;
            if let Some(twice) = cards.insert(card.name.clone(), card) {
                return Err(refuse(format!("model {} is there twice", twice.name)));
            }
        }
        Ok(Self {
            default_model: table.default_model.unwrap_or_default(),
            cards,
        })
    }

    /// This table with the models of `own` added or replaced.
    #[must_use]
    pub fn with(mut self, own: Self) -> Self {
        if !own.default_model.is_empty() {
            self.default_model = own.default_model;
        }
        self.cards.extend(own.cards);
        self
    }

    /// The model that is used where none is named.
    ///
    /// # Errors
    /// [`SetupError::UnknownModel`] if the table names none.
    pub fn default_card(&self) -> Result<&Card, SetupError> {
        self.card(&self.default_model)
    }

    /// A model's card. A dated version (`NAME-20261007`, `NAME-2026-10-07`) has the card of its name.
    ///
    /// # Errors
    /// [`SetupError::UnknownModel`]: what cannot be priced is not run.
    pub fn card(&self, model: &str) -> Result<&Card, SetupError> {
        let found = self.cards.get(model).or_else(|| {
            let digits = |c: char| c.is_ascii_digit() || c == '-';
            let base = model.trim_end_matches(digits);
            let stamp = &model[base.len()..];
            // A version such as `-5-5` looks like part of a stamp; so try each way to cut off eight digits.
            stamp.match_indices('-').find_map(|(at, _)| {
                let date: String = stamp[at..].chars().filter(|c| *c != '-').collect();
                let name = &model[..base.len() + at];
                (date.len() == 8).then(|| self.cards.get(name)).flatten()
            })
        });
        found.ok_or_else(|| SetupError::UnknownModel {
            model: model.to_owned(),
            known: self.cards.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// All cards, by name.
    pub fn cards(&self) -> impl Iterator<Item = &Card> {
        self.cards.values()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableFile {
    default_model: Option<String>,
    #[serde(default)]
    model: Vec<ModelEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelEntry {
    name: String,
    wire: Wire,
    context_window: u64,
    max_output: u64,
    #[serde(default)]
    thinking: Thinking,
    forced_tools: Option<bool>,
    price: PriceEntry,
    long: Option<LongEntry>,
    source: String,
    read: Option<toml::value::Datetime>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceEntry {
    input: f64,
    output: f64,
    cache_write: Option<f64>,
    cache_read: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongEntry {
    above: u64,
    input: f64,
    output: f64,
    cache_write: Option<f64>,
    cache_read: Option<f64>,
}

impl ModelEntry {
    fn card(self) -> Result<Card, String> {
        let Self { name, .. } = self;
        if name.is_empty() {
            return Err("a model has an empty name".into());
        }
        if self.max_output == 0 || self.max_output > self.context_window {
            return Err(format!(
                "model {name}: max_output is {}, must be between 1 and context_window, which is {}",
                self.max_output, self.context_window
            ));
        }
        let rates = self.price.rates(&name)?;
        let long = match self.long {
            None => None,
            Some(long) => Some(LongPrompts {
                above: long.above,
                rates: PriceEntry {
                    input: long.input,
                    output: long.output,
                    cache_write: long.cache_write,
                    cache_read: long.cache_read,
                }
                .rates(&name)?,
            }),
        };
        Ok(Card {
            wire: self.wire,
            context_window: self.context_window,
            max_output: self.max_output,
            thinking: self.thinking,
            forced_tools: self.forced_tools.unwrap_or(true),
            price: Price { rates, long },
            source: self.source,
            read: self.read.map(|day| day.to_string()).unwrap_or_default(),
            name,
        })
    }
}

impl PriceEntry {
    /// Without a price of their own, cached tokens cost what others do: never less than what will be billed.
    fn rates(&self, model: &str) -> Result<Rates, String> {
        let rate = |kind: &str, dollars: f64| {
            (0.0..=DEAREST)
                .contains(&dollars)
                .then(|| Money::from_dollars(dollars))
                .flatten()
                .ok_or_else(|| {
                    format!(
                        "model {model}: the price of {kind} is {dollars}, must be 0 to {DEAREST} dollars per million tokens"
                    )
                })
        };
        Ok(Rates {
            input: rate("input", self.input)?,
            output: rate("output", self.output)?,
            cache_write: rate("cache_write", self.cache_write.unwrap_or(self.input))?,
            cache_read: rate("cache_read", self.cache_read.unwrap_or(self.input))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> PriceTable {
        PriceTable::shipped().unwrap()
    }

    #[test]
    fn the_shipped_table_is_whole_and_says_where_it_comes_from() {
        let table = shipped();
        assert!(table.default_card().is_ok());
        for card in table.cards() {
            assert!(card.source.starts_with("https://"), "{}", card.name);
            assert_eq!(card.read.len(), 10, "{}", card.name);
            let rates = card.price.rates;
            assert!(rates.cache_read < rates.input && rates.input < rates.output);
        }
    }

    #[test]
    fn a_call_costs_what_the_price_list_says() {
        let table = shipped();
        let opus = table.card("claude-opus-5-5").unwrap();
        let usage = Usage {
            input: 1_000,
            output: 2_000,
            cache_write: 10_000,
            cache_read: 100_000,
        };
        // 0.004 + 0.04 + 0.05 + 0.02 dollars.
        assert_eq!(opus.cost(&usage), Money(114_000));
        assert_eq!(opus.cost(&usage).to_string(), "$0.114000");
        let one = Usage {
            cache_read: 1,
            ..Usage::default()
        };
        assert_eq!(opus.cost(&one), Money(1), "rounded up, never to nothing");
        let absurd = Usage {
            output: u64::MAX,
            ..Usage::default()
        };
        assert_eq!(opus.cost(&absurd), Money(u64::MAX), "no overflow");
    }

    #[test]
    fn long_prompts_have_their_own_price() {
        let table = shipped();
        let haiku = table.card("claude-haiku-5-5").unwrap();
        let prompt = |tokens| Usage {
            cache_read: tokens,
            ..Usage::default()
        };
        assert_eq!(haiku.cost(&prompt(100_000)), Money(1_000));
        assert_eq!(haiku.cost(&prompt(100_001)), Money(5_001));
    }

    #[test]
    fn a_bound_is_above_what_ordinary_text_costs_and_below_a_full_window() {
        let table = shipped();
        let opus = table.card("claude-opus-5-5").unwrap();
        let bytes = 30_000;
        let usage = Usage {
            cache_write: bytes / 3,
            output: 4_000,
            ..Usage::default()
        };
        let bound = opus.upper_bound(bytes, 4_000);
        assert!(bound > opus.cost(&usage));
        // 17,000 tokens at 5 dollars and 4,000 at 20 dollars a million.
        assert_eq!(bound, Money(165_000));
        let full = opus.upper_bound(u64::MAX, 4_000);
        assert_eq!(full, Money(5_080_000));
    }

    #[test]
    fn what_has_no_price_is_refused() {
        let table = shipped();
        let error = table.card("claude-opus-99").unwrap_err().to_string();
        assert!(error.contains("claude-opus-99") && error.contains("claude-opus-5-5"));
        assert!(table.card("").is_err());
        for dated in ["claude-haiku-4-5-20251001", "claude-opus-5-20260724"] {
            assert!(dated.starts_with(&table.card(dated).unwrap().name));
        }
        assert_eq!(
            table.card("gpt-5.6-sol-2026-07-09").unwrap().name,
            "gpt-5.6-sol"
        );
        assert!(table.card("claude-opus-5-5-2026").is_err());
    }

    #[test]
    fn a_table_of_ones_own_goes_first_and_is_checked() {
        let text = |price: &str| {
            format!(
                "[[model]]\nname = \"claude-opus-5-5\"\nwire = \"anthropic\"\ncontext_window = 1000\nmax_output = 10\nprice = {price}\nsource = \"me\"\n"
            )
        };
        let own = PriceTable::parse(&text("{ input = 1, output = 2 }"), "own.toml").unwrap();
        let table = shipped().with(own);
        let card = table.default_card().unwrap();
        assert_eq!(
            (card.context_window, card.price.rates.cache_read),
            (1000, Money(1_000_000))
        );
        for (price, part) in [
            ("{ input = -1, output = 2 }", "price of input is -1"),
            ("{ input = nan, output = 2 }", "price of input is NaN"),
            ("{ input = 1, output = 1e9 }", "price of output"),
            ("{ input = 1, output = 2, batch = 3 }", "batch"),
        ] {
            let error = PriceTable::parse(&text(price), "own.toml")
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("own.toml") && error.contains(part),
                "{error}"
            );
        }
        let twice = text("{ input = 1, output = 2 }").repeat(2);
        assert!(PriceTable::parse(&twice, "own.toml").is_err());
    }
}
