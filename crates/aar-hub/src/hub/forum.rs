//! The forum: findings, comments, votes.

use super::{Hub, Writer};
use crate::api::{
    CommentView, EvaluationView, FindingView, MAX_LIST, MAX_QUERY, MAX_TEXT, MAX_TITLE, NewFinding,
    RunState, Thread,
};
use crate::db::read;
use crate::error::{HubError, Result};
use aar_core::event::Event;
use aar_core::finding::FindingKind;
use aar_core::id::{CommentId, EvaluationId, FindingId, Name};

/// No researcher posts more findings, or more comments, or votes more often, changes included.
const MAX_POSTS: u64 = 2_000;

impl Hub {
    /// Posts a finding. The figure shown beside a result is the hub's own answer, whatever the
    /// text says.
    ///
    /// # Errors
    /// If a field is not acceptable, or the evaluation is not the researcher's own finished one.
    pub fn share_finding(&self, researcher: &Name, new: &NewFinding) -> Result<FindingView> {
        check_text("title", &new.title, MAX_TITLE)?;
        if new.title.contains('\n') {
            return Err(HubError::invalid("field title: expected one line"));
        }
        check_text("text", &new.text, MAX_TEXT)?;
        let mut snapshot = new.snapshot;
        if let Some(snapshot) = snapshot {
            self.visible_snapshot(snapshot)?;
        }
        match new.evaluation {
            Some(id) => {
                let evaluation = self.own_answer(researcher, id)?;
                if snapshot.is_some_and(|snapshot| snapshot != evaluation.snapshot) {
                    let scored = evaluation.snapshot;
                    let why = format!("evaluation {id} scored the snapshot {scored}, not this one");
                    return Err(HubError::Invalid(why));
                }
                snapshot = Some(evaluation.snapshot);
            }
            None if new.kind == FindingKind::Result => {
                let why = "field evaluation: a result must name your own finished evaluation";
                return Err(HubError::invalid(why));
            }
            None => {}
        }
        let text = self.store.put(new.text.as_bytes())?;
        let mut writer = self.write()?;
        check_posts(&writer, "findings", researcher)?;
        let finding = FindingId(read::next_id(&writer.db, "findings")?);
        let posted = Event::FindingPosted {
            finding,
            researcher: researcher.clone(),
            kind: new.kind,
            title: new.title.clone(),
            text,
            snapshot,
            evaluation: new.evaluation,
        };
        let mut events = vec![posted];
        let said = format!("{}\n{}", new.title, new.text);
        events.extend(self.post_openings(&writer, researcher, &said)?);
        self.commit(&mut writer, &events)?;
        drop(writer);
        self.finding(finding)
    }

    /// Comments on a finding.
    ///
    /// # Errors
    /// If there is no such finding, or the text is not acceptable.
    pub fn comment(
        &self,
        researcher: &Name,
        finding: FindingId,
        said: &str,
    ) -> Result<CommentView> {
        check_text("text", said, MAX_TEXT)?;
        self.finding(finding)?;
        let text = self.store.put(said.as_bytes())?;
        let mut writer = self.write()?;
        check_posts(&writer, "comments", researcher)?;
        let comment = CommentId(read::next_id(&writer.db, "comments")?);
        let posted = Event::CommentPosted {
            comment,
            finding,
            researcher: researcher.clone(),
            text,
        };
        let mut events = vec![posted];
        events.extend(self.post_openings(&writer, researcher, said)?);
        self.commit(&mut writer, &events)?;
        read::comment(&writer.db, comment)?
            .ok_or_else(|| HubError::record(format!("comment {comment} vanished")))
    }

    /// Votes for or against another's finding. Each researcher has one vote; the last one counts.
    ///
    /// # Errors
    /// If there is no such finding, it is the researcher's own, or it has voted too often.
    pub fn vote(&self, researcher: &Name, finding: FindingId, up: bool) -> Result<FindingView> {
        if self.finding(finding)?.researcher == *researcher {
            let why = "a finding cannot be voted on by its author".to_owned();
            return Err(HubError::Conflict(why));
        }
        let mut writer = self.write()?;
        if read::vote(&writer.db, finding, researcher)? != Some(up) {
            check_limit("votes", read::votes_cast(&writer.db, researcher)?)?;
            let cast = Event::VoteCast {
                finding,
                researcher: researcher.clone(),
                up,
            };
            self.commit(&mut writer, &[cast])?;
        }
        drop(writer);
        self.finding(finding)
    }

    /// One finding.
    ///
    /// # Errors
    /// If there is none.
    pub fn finding(&self, id: FindingId) -> Result<FindingView> {
        read::finding(&*self.read()?, id)?
            .ok_or_else(|| HubError::not_found(format!("finding {id}")))
    }

    /// A finding with its comments.
    ///
    /// # Errors
    /// If there is none.
    pub fn thread(&self, id: FindingId) -> Result<Thread> {
        let finding = self.finding(id)?;
        let comments = read::comments(&*self.read()?, id)?;
        Ok(Thread { finding, comments })
    }

    /// The findings after number `since`, oldest first, at most [`MAX_LIST`].
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn findings_since(&self, since: FindingId, limit: u64) -> Result<Vec<FindingView>> {
        read::findings_since(&*self.read()?, since, limit.min(MAX_LIST))
    }

    /// The findings that hold every word of `query`, best match first, at most [`MAX_LIST`].
    ///
    /// # Errors
    /// If the query is empty or too long.
    pub fn search_findings(&self, query: &str, limit: u64) -> Result<Vec<FindingView>> {
        let length = query.chars().count();
        if length > MAX_QUERY {
            return Err(HubError::invalid(format!(
                "field q: has {length} characters, at most {MAX_QUERY}"
            )));
        }
        let expression = quoted(query);
        if expression.is_empty() {
            return Err(HubError::invalid("field q: expected one word or more"));
        }
        read::findings_matching(&*self.read()?, &expression, limit.min(MAX_LIST))
    }

    fn own_answer(&self, researcher: &Name, id: EvaluationId) -> Result<EvaluationView> {
        let evaluation = self.evaluation(id)?;
        // Whoever had a colleague's method scored first does not own its result.
        let author = read::author(&*self.read()?, evaluation.snapshot)?;
        if evaluation.researcher != *researcher && author.as_ref() != Some(researcher) {
            let why = format!("evaluation {id} is {}'s, not yours", evaluation.researcher);
            return Err(HubError::Invalid(why));
        }
        if evaluation.state != RunState::Good {
            return Err(HubError::invalid(format!("evaluation {id} has no answer")));
        }
        Ok(evaluation)
    }
}

fn check_posts(writer: &Writer, table: &str, researcher: &Name) -> Result<()> {
    check_limit(table, read::count_of(&writer.db, table, researcher)?)
}

fn check_limit(of: &str, so_far: u64) -> Result<()> {
    if so_far >= MAX_POSTS {
        let (found, limit) = (so_far + 1, MAX_POSTS);
        let what = format!("the number of your {of}");
        return Err(HubError::TooLarge { what, found, limit });
    }
    Ok(())
}

/// Each word as an FTS5 string, in which nothing but a quote is special; all must be found.
fn quoted(query: &str) -> String {
    let has_letters = |word: &&str| word.chars().any(char::is_alphanumeric);
    let quote = |word: &str| format!("\"{}\"", word.replace('"', "\"\""));
    // SQLite ends its strings at NUL.
    let words = query
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(has_letters);
    words.map(quote).collect::<Vec<_>>().join(" ")
}

fn check_text(field: &str, text: &str, limit: usize) -> Result<()> {
    let length = text.chars().count();
    if length > limit {
        let (found, limit) = (length as u64, limit as u64);
        return Err(HubError::TooLarge {
            what: format!("field {field}"),
            found,
            limit,
        });
    }
    if text.trim().is_empty() {
        return Err(HubError::invalid(format!(
            "field {field}: expected some text"
        )));
    }
    if text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
    {
        return Err(HubError::invalid(format!(
            "field {field}: holds control characters"
        )));
    }
    Ok(())
}
