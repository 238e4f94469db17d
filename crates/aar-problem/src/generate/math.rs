//! `math`: does the worked solution of a word problem use the right operation?

use super::story::{self, Operation};
use super::{Pool, Random, square};
use std::collections::HashSet;

pub(super) const BRIEF: &str = "\
# math: is the worked solution right?

Short word problems that take one step of arithmetic, each with a solution. The sum in the solution is always carried
out correctly; what may be wrong is the operation: adding where one should subtract, and the like. Say whether the
solution is right: label 1 for right, 0 for wrong. About half of them are right, for every operation.

You get no true labels: only those of a weaker model that has seen some examples and is often wrong. Rows stand in
small groups (two problems with the same numbers and two solutions), and no group reaches over two splits. The strong
model's hidden states of problem and solution together are given.
";

/// Groups of four rows.
const GROUPS: usize = 1_620;

pub(super) fn pool(random: &mut Random) -> Pool {
    let mut pool = Pool::new("math");
    let mut told = HashSet::new();
    while pool.groups < GROUPS {
        let (&first, &second) = random.pick_two(&Operation::ALL);
        let operations = [first, second];
        // The first number is a multiple of the second, so that all four operations come out whole.
        let b = random.between(2, 9);
        let a = b * random.between(3, 12);
        let name = random.pick_word(story::NAMES);
        let things = random.pick_word(story::THINGS);
        let stories = operations.map(|operation| {
            let template = random.pick(operation.stories());
            story::fill(template, name, things, a, b)
        });
        if stories.iter().any(|story| told.contains(story)) {
            continue;
        }
        told.extend(stories.clone());
        let form = random.below(story::SOLUTION_FORMS);
        let rows = square(|problem, operation| {
            (
                stories[problem].clone(),
                operations[operation].solution(form, a, b),
            )
        });
        pool.push(random, rows);
    }
    pool
}
