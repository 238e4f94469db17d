//! Who is asking: tokens and what they open.

use super::Hub;
use crate::api::{MAX_TEXT, Me, MintedToken, NewToken};
use crate::db::read;
use crate::error::{HubError, Result};
use aar_core::access::Scope;
use aar_core::digest::Digest;
use aar_core::event::Event;
use aar_core::id::Name;
use aar_core::study::ResearcherKind;
use std::fmt;

/// A secret of 256 random bits, written as 64 hexadecimal digits. The hub keeps only its hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The secret itself, to be handed to its holder.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The holder of a valid token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Its name.
    pub name: Name,
    /// What it may do.
    pub scope: Scope,
}

impl Hub {
    /// Lets a researcher take part and gives it its token. One that joined before keeps its
    /// direction, and its earlier token is void.
    ///
    /// # Errors
    /// If the name is reserved, the study is full or closed, or writing fails.
    pub fn join(&self, researcher: &Name, direction: &str) -> Result<Token> {
        self.join_until(researcher, direction, None)
    }

    /// As [`Hub::join`], with a token that opens nothing from `expires_at` on, in milliseconds since
    /// 1970.
    ///
    /// # Errors
    /// As [`Hub::join`].
    pub fn join_until(
        &self,
        researcher: &Name,
        direction: &str,
        expires_at: Option<u64>,
    ) -> Result<Token> {
        if [read::BASELINE, read::PUBLISHED].contains(&researcher.as_str()) {
            return Err(HubError::invalid(format!(
                "the name {researcher} is reserved"
            )));
        }
        let mut writer = self.write()?;
        let joined = read::researchers(&writer.db)?;
        let mut events = Vec::new();
        if joined.iter().all(|(name, _)| name != researcher) {
            if joined.len() >= self.study.researchers {
                let why = format!("the study has its {} researchers already", joined.len());
                return Err(HubError::Conflict(why));
            }
            let direction = direction.to_owned();
            events.push(Event::ResearcherJoined {
                researcher: researcher.clone(),
                direction,
            });
        }
        let token = new_token()?;
        events.push(issued(researcher, Scope::Researcher, &token, expires_at));
        self.commit(&mut writer, &events)?;
        Ok(token)
    }

    /// Makes a researcher's token as its study's owner asks for it.
    ///
    /// # Errors
    /// As [`Hub::join`]; if the direction is too long or the time is none.
    pub fn mint_token(&self, new: &NewToken) -> Result<MintedToken> {
        let length = new.direction.chars().count();
        if length > MAX_TEXT {
            return Err(HubError::TooLarge {
                what: "the direction".to_owned(),
                found: length as u64,
                limit: MAX_TEXT as u64,
            });
        }
        self.check_place(&new.researcher)?;
        let lasts = |minutes: f64| match minutes > 0.0 && minutes <= 1e6 {
            true => Ok(self.now() + (minutes * 60_000.0) as u64),
            false => Err(HubError::invalid(format!(
                "field minutes: found {minutes}, expected more than 0, at most 1e6"
            ))),
        };
        let expires_at = new.minutes.map(lasts).transpose()?;
        let token = self.join_until(&new.researcher, &new.direction, expires_at)?;
        Ok(MintedToken {
            token: token.secret().to_owned(),
            expires_at,
        })
    }

    /// Refuses a name that a built-in researcher has, and one more from outside than there are places
    /// for: those of built-in researchers are theirs, though they may not have joined yet.
    fn check_place(&self, researcher: &Name) -> Result<()> {
        let study = &self.study;
        let is_outside = |index: &usize| study.kind.of(*index) == ResearcherKind::Outside;
        let places = (0..study.researchers).filter(is_outside).count();
        let built_in: Vec<String> = (0..study.researchers)
            .filter(|index| !is_outside(index))
            .map(|index| format!("r{}", index + 1))
            .collect();
        let is_built_in = |name: &Name| built_in.iter().any(|one| one == name.as_str());
        if is_built_in(researcher) {
            let why = format!("{researcher} is the name of a built-in researcher");
            return Err(HubError::Conflict(why));
        }
        let joined = read::researchers(&*self.read()?)?;
        let is_new = joined.iter().all(|(name, _)| name != researcher);
        let taken = joined.iter().filter(|(name, _)| !is_built_in(name)).count();
        if is_new && taken >= places {
            return Err(HubError::Conflict(format!(
                "the study has {places} places for researchers from outside, and {taken} are taken"
            )));
        }
        Ok(())
    }

    /// Gives out a token of another scope than a researcher's; the holder's earlier one is void.
    ///
    /// # Errors
    /// If the scope is a researcher's, the study is closed, or writing fails.
    pub fn issue_token(&self, holder: &Name, scope: Scope) -> Result<Token> {
        if scope == Scope::Researcher {
            return Err(HubError::invalid("a researcher gets its token by joining"));
        }
        let token = new_token()?;
        self.commit(&mut *self.write()?, &[issued(holder, scope, &token, None)])?;
        Ok(token)
    }

    /// Finds out who holds a token.
    ///
    /// # Errors
    /// [`HubError::Unauthorised`] if nobody does, or it has expired.
    pub fn authenticate(&self, token: &str) -> Result<Caller> {
        let hash = Digest::of(token.as_bytes());
        let mut found = None;
        // Every hash is compared in full, so the time taken says nothing about any of them.
        let tokens = read::tokens(&*self.read()?)?;
        for known in tokens {
            if same(hash.as_bytes(), known.hash.as_bytes()) {
                found = Some(known);
            }
        }
        let known = found.ok_or(HubError::Unauthorised)?;
        let now = i64::try_from(self.now()).unwrap_or(i64::MAX);
        if known.expires_at.is_some_and(|end| end <= now) {
            return Err(HubError::Unauthorised);
        }
        let (name, scope) = (known.holder, read::word(known.scope)?);
        if scope == Scope::Honeytoken {
            self.honeytoken_used(&name)?;
            return Err(HubError::Unauthorised);
        }
        Ok(Caller { name, scope })
    }

    /// Tells a caller who it is.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn me(&self, caller: &Caller) -> Result<Me> {
        let researchers = read::researchers(&*self.read()?)?;
        let own = researchers
            .into_iter()
            .find(|(name, _)| *name == caller.name);
        let direction = own.map_or_else(String::new, |(_, direction)| direction);
        Ok(Me {
            name: caller.name.clone(),
            scope: caller.scope,
            direction,
        })
    }
}

fn issued(holder: &Name, scope: Scope, token: &Token, expires_at: Option<u64>) -> Event {
    let token_hash = Digest::of(token.secret().as_bytes());
    Event::TokenIssued {
        holder: holder.clone(),
        scope,
        token_hash,
        expires_at,
    }
}

fn new_token() -> Result<Token> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| HubError::io("drawing a token", std::io::Error::other(error)))?;
    Ok(Token(hex::encode(secret)))
}

fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter()
        .zip(b)
        .fold(0, |difference, (x, y)| difference | (x ^ y))
        == 0
}
