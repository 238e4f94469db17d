//! What of a request goes into the transcript: what did not stand in an earlier one.
//!
//! An agent sends its whole conversation with every call. Written down each time, a day's transcript would be
//! gigabytes of repetition.

use serde_json::Value;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

/// Conversations that are remembered: an agent's own and those of its helpers.
const CONVERSATIONS: usize = 16;
/// Instructions and lists of tools that are remembered.
const STANDING: usize = 64;
/// Items of one conversation that are remembered.
const ITEMS: usize = 20_000;

/// What was written down before.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Its keys are nobody's to know: who could choose what collides could hide a message.
    hasher: RandomState,
    /// A hash for each item.
    conversations: VecDeque<Vec<u64>>,
    standing: VecDeque<u64>,
}

impl Before {
    /// Takes out of a request what stands in earlier ones; how many items of its conversation that were.
    pub(super) fn cut(&mut self, request: &mut Value) -> usize {
        // Where a cache is to be written moves with every call, and says nothing.
        without_cache_control(request, 0);
        for field in ["system", "instructions", "tools"] {
            let Some(value) = request.get_mut(field) else {
                continue;
            };
            let hash = self.hasher.hash_one(value.to_string());
            if self.standing.contains(&hash) {
                *value = Value::from("as before");
            } else {
                remember(&mut self.standing, hash, STANDING);
            }
        }
        let field = if request.get("messages").is_some() {
            "messages"
        } else {
            "input"
        };
        let Some(items) = request.get_mut(field).and_then(Value::as_array_mut) else {
            return 0;
        };
        let hash = |item: &Value| self.hasher.hash_one(item.to_string());
        let hashes: Vec<u64> = items.iter().take(ITEMS).map(hash).collect();
        let shared = |earlier: &Vec<u64>| {
            let pairs = earlier.iter().zip(&hashes);
            pairs.take_while(|(one, other)| one == other).count()
        };
        let best = (0..self.conversations.len()).max_by_key(|&at| shared(&self.conversations[at]));
        let known = best.map_or(0, |at| shared(&self.conversations[at]));
        if let Some(at) = best.filter(|_| known > 0) {
            self.conversations.remove(at);
        }
        remember(&mut self.conversations, hashes, CONVERSATIONS);
        items.drain(..known);
        known
    }
}

fn remember<T>(list: &mut VecDeque<T>, item: T, most: usize) {
    if list.len() == most {
        list.pop_front();
    }
    list.push_back(item);
}

fn without_cache_control(value: &mut Value, depth: usize) {
    match value {
        Value::Array(list) if depth < 8 => list
            .iter_mut()
            .for_each(|item| without_cache_control(item, depth + 1)),
        Value::Object(object) if depth < 8 => {
            let usual = serde_json::json!({"type": "ephemeral"});
            if object.get("cache_control") == Some(&usual) {
                object.remove("cache_control");
            }
            for field in ["messages", "system", "tools", "content"] {
                if let Some(inner) = object.get_mut(field) {
                    without_cache_control(inner, depth + 1);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_stood_before_is_not_written_again() {
        let mut before = Before::default();
        let mut first = json!({"system": "be good", "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}]});
        assert_eq!(before.cut(&mut first), 0);
        assert_eq!(first["system"], "be good");
        let mut aside =
            json!({"system": "name this", "messages": [{"role": "user", "content": "title?"}]});
        assert_eq!(before.cut(&mut aside), 0);
        let mut second = json!({"system": "be good", "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": [{"type": "text", "text": "c", "cache_control": {"type": "ephemeral"}}]}]});
        assert_eq!(before.cut(&mut second), 1);
        assert_eq!(second["system"], "as before");
        assert_eq!(second["messages"].as_array().unwrap().len(), 2);
        let mut hidden = json!({"messages": [{"role": "assistant", "content": [
            {"type": "tool_use", "input": {"cache_control": "what was sent"}}]}]});
        before.cut(&mut hidden);
        assert!(hidden.to_string().contains("what was sent"));
        let mut third =
            json!({"input": [{"role": "user", "content": "x"}], "instructions": "other"});
        assert_eq!(before.cut(&mut third), 0);
        let again = json!({"input": [{"role": "user", "content": "x"}], "instructions": "other"});
        assert_eq!(before.cut(&mut again.clone()), 1);
    }
}
