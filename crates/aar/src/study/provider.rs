//! The model that a study's language-model researchers ask: found, priced and tried before anything begins.

use aar_core::id::Seed;
use aar_core::study::LlmSettings;
use aar_researcher::llm::{
    Card, Client, Endpoint, Key, Message, Money, Patience, PriceTable, Request, ToolChoice,
};
use anyhow::{Context, Result, anyhow};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A model at a provider, with the key to it.
pub(crate) struct Provider {
    pub(crate) endpoint: Endpoint,
    pub(crate) card: Card,
}

/// The model that `settings` name and its price; paths in them are relative to `base`.
pub(crate) fn card(settings: &LlmSettings, base: &Path) -> Result<Card> {
    let mut table = PriceTable::shipped()?;
    if let Some(prices) = &settings.prices {
        let file = base.join(prices);
        let text =
            fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        table = table.with(PriceTable::parse(&text, &file.display().to_string())?);
    }
    let card = match &settings.model {
        Some(model) => table.card(model),
        None => table.default_card(),
    };
    Ok(card.context("field llm.model")?.clone())
}

impl Provider {
    /// Finds the model, its price and the key.
    pub(crate) fn find(settings: &LlmSettings, base: &Path) -> Result<Self> {
        let card = card(settings, base)?;
        let url = settings.base_url.as_deref();
        let key = match (&settings.key_file, &settings.key_env) {
            (Some(file), _) => {
                let file = base.join(file);
                if Key::is_exposed(&file) {
                    crate::commands::tell(&format!(
                        "warning: others can read the key in {}; chmod 600 it",
                        file.display()
                    ));
                }
                Some(Key::from_file(&file)?)
            }
            (None, Some(variable)) => Some(Key::from_env(variable)?),
            // A server of one's own may need none; a provider does.
            (None, None) if url.is_some() => Key::from_env(card.wire.key_variable()).ok(),
            (None, None) => Some(Key::from_env(card.wire.key_variable())?),
        };
        let endpoint = Endpoint::new(card.wire, url.unwrap_or(card.wire.home()), key)?;
        Ok(Self { endpoint, card })
    }

    /// A client of the model, which asks for what its caller has set money aside for and no more.
    pub(crate) fn client(&self, seed: Seed) -> Client {
        let client = Client::new(self.endpoint.clone(), self.card.clone(), seed);
        client.with_patience(Patience {
            again_if_begun: false,
            ..Patience::default()
        })
    }

    /// Asks the model for a word, so that a wrong key, an unknown model or an endpoint that is down is
    /// known before the study begins.
    pub(crate) fn try_out(&self) -> Result<Money> {
        let mut client = self.client(Seed(0)).with_patience(Patience {
            retries: 2,
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(120),
            again_if_begun: false,
            ..Patience::default()
        });
        let messages = [Message::user("Say: ready.")];
        let request = Request {
            system: "",
            tools: &[],
            messages: &messages,
            max_tokens: 2_000,
            tool_choice: ToolChoice::Auto,
        };
        let bound = client.upper_bound(&request);
        let reply = client
            .ask(&request, &mut |_| {}, &AtomicBool::new(false))
            .map_err(|failed| anyhow!("{}", failed.error))
            .with_context(|| format!("trying out model {}", self.card.name))?;
        Ok(reply.cost(&self.card, bound))
    }
}
