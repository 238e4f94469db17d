//! The word problems of `math`: stories for each operation, and how their solutions are written.

/// What a one-step problem asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// In how many ways [`Operation::solution`] can write a solution.
pub(super) const SOLUTION_FORMS: usize = 4;

impl Operation {
    pub(super) const ALL: [Self; 4] = [Self::Add, Self::Subtract, Self::Multiply, Self::Divide];

    /// Stories whose answer is this operation on `{a}` and `{b}`, in this order.
    pub(super) fn stories(self) -> &'static [&'static str] {
        match self {
            Self::Add => &ADD,
            Self::Subtract => &SUBTRACT,
            Self::Multiply => &MULTIPLY,
            Self::Divide => &DIVIDE,
        }
    }

    fn result(self, a: u32, b: u32) -> u32 {
        match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
        }
    }

    /// The operation carried out, in one of several wordings. All name it in words: MiniLM makes nothing of bare signs.
    pub(super) fn solution(self, form: usize, a: u32, b: u32) -> String {
        let result = self.result(a, b);
        let (verb, gerund, rest) = match self {
            Self::Add => ("add", "Adding", format!("{b} to {a}")),
            Self::Subtract => ("subtract", "Subtracting", format!("{b} from {a}")),
            Self::Multiply => ("multiply", "Multiplying", format!("{a} by {b}")),
            Self::Divide => ("divide", "Dividing", format!("{a} by {b}")),
        };
        match form {
            0 => format!("We {verb} {rest} and get {result}."),
            1 => format!("{gerund} {rest} gives {result}."),
            2 => format!("We should {verb} {rest}, so it is {result}."),
            _ => format!("To find out, {verb} {rest}: {result}."),
        }
    }
}

/// The story with its blanks filled in.
pub(super) fn fill(template: &str, name: &str, things: &str, a: u32, b: u32) -> String {
    template
        .replace("{n}", name)
        .replace("{t}", things)
        .replace("{a}", &a.to_string())
        .replace("{b}", &b.to_string())
}

pub(super) const NAMES: &str = "Ada Ben Clara David Emma Felix Grace Henry Ida Jack Kate Leo Mary Noah Olga Paul Rosa \
    Simon Tina Victor Wendy Adam Bella Carl Diana Eric Fiona George Helen Ivan Julia Karl";

pub(super) const THINGS: &str = "pens apples books coins cards eggs stones shells stamps cups plates bottles balls candles \
    flowers keys lamps boxes bags shirts hats toys nuts lemons oranges potatoes photos ropes \
    bricks buttons chairs tickets";

const ADD: [&str; 16] = [
    "{n} has {a} {t} and buys {b} more. How many {t} does {n} have now?",
    "{n} found {a} {t} before lunch and {b} after it. How many {t} is that in all?",
    "There were {a} {t} on a table and {n} put {b} beside them. How many are there now?",
    "{n} owned {a} {t} and got {b} from a friend. How many {t} does {n} own now?",
    "One crate holds {a} {t} and another holds {b}. How many {t} do both hold?",
    "{n} counted {a} red {t} and {b} blue ones. How many {t} were counted?",
    "{n} sold {a} {t} on Monday and {b} on Tuesday. How many {t} were sold in two days?",
    "A shop had {a} {t} when {b} new ones arrived. How many {t} does it have then?",
    "Last week {n} carried {a} {t}, this week {b}. What is the total?",
    "{n} has {b} {t} more than Sam, who has {a}. How many {t} does {n} have?",
    "After losing {b} {t}, {n} still had {a}. How many {t} were there at first?",
    "{n} ordered {a} {t} and later {b} extra ones. How many {t} will come?",
    "{n} used {b} {t}, which left {a}. How many {t} did {n} start with?",
    "A room held {a} {t} until {n} brought in {b} others. How many {t} does it hold now?",
    "{n} and Sam put their {t} together, {a} from {n} and {b} from Sam. How many is that?",
    "Sam has {b} {t} fewer than {n}. If Sam has {a}, how many {t} does {n} have?",
];

const SUBTRACT: [&str; 16] = [
    "{n} had {a} {t} and gave away {b}. How many {t} are left?",
    "{n} needs {a} {t} and already has {b}. How many {t} are still missing?",
    "Of {a} {t} in a shop, {b} were damaged. How many {t} were not?",
    "{n} has {a} {t}; Sam has {b} fewer. How many {t} does Sam have?",
    "{n} has {a} {t} and Sam has {b}. How many more {t} does {n} have?",
    "After {n} bought {b} {t}, there were {a} in all. How many {t} were there before?",
    "{n} lost {b} of {a} {t}. How many {t} does {n} still have?",
    "There were {a} {t} on a table before {n} took {b} away. How many remain?",
    "{n} must carry {a} {t} and has carried {b}. How many {t} remain to be carried?",
    "A crate holds {a} {t}, of which {b} are red. How many {t} are not red?",
    "{n} started with {a} {t} and used {b} of them. How many {t} remain unused?",
    "Together {n} and Sam own {a} {t}. If {b} are Sam's, how many {t} are {n}'s?",
    "{n} sold {b} {t} from a stock of {a}. How many {t} stayed unsold?",
    "With {b} more {t}, {n} would have {a}. How many {t} does {n} have?",
    "{n} ordered {a} {t} but {b} never arrived. How many {t} arrived?",
    "{n} has {b} {t} more than Sam. If {n} has {a}, how many {t} does Sam have?",
];

const MULTIPLY: [&str; 16] = [
    "{n} fills {b} crates with {a} {t} each. How many {t} is that?",
    "Each of {b} friends brings {n} {a} {t}. How many {t} does {n} receive?",
    "{n} finds {a} {t} every day. How many {t} are found in {b} days?",
    "{n} lays out {b} rows with {a} {t} in each. How many {t} are there?",
    "{n} has {b} times as many {t} as Sam, who has {a}. How many {t} does {n} have?",
    "{n} shared {t} among {b} friends and each got {a}. How many {t} were there?",
    "One packet contains {a} {t}. How many {t} are in {b} packets?",
    "{n} pays {b} dollars for each of {a} {t}. How many dollars is that?",
    "A shop sells {a} {t} an hour. How many {t} does it sell in {b} hours?",
    "{n} split {t} into {b} equal heaps of {a}. How many {t} were split?",
    "Each of {a} {t} weighs {b} pounds. How many pounds do they weigh together?",
    "{n} visits {b} shops and buys {a} {t} in each. How many {t} are bought?",
    "{n} can carry {a} {t} at once. How many {t} can {n} carry in {b} trips?",
    "Every shelf in a house holds {a} {t}. How many {t} do {b} shelves hold?",
    "Sam has {a} {t}, which is one part in {b} of what {n} has. How many {t} has {n}?",
    "{b} workers each make {a} {t}. How many {t} do they make together?",
];

const DIVIDE: [&str; 16] = [
    "{n} shares {a} {t} equally among {b} friends. How many {t} does each get?",
    "{n} packs {a} {t} into {b} equal crates. How many {t} are in a crate?",
    "{n} sets {a} {t} in rows of {b}. How many rows are there?",
    "{n} paid {a} dollars for {b} {t}. How many dollars did one cost?",
    "{n} has {a} {t}, {b} times as many as Sam. How many {t} does Sam have?",
    "{n} finds {b} {t} every day. After how many days are there {a}?",
    "A packet contains {b} {t}. How many packets hold {a} {t}?",
    "In {b} hours a shop sells {a} {t}. How many {t} is that per hour?",
    "{n} splits {a} {t} into {b} equal heaps. How many {t} are in a heap?",
    "{n} can carry {b} {t} at once. How many trips do {a} {t} take?",
    "{b} shelves hold {a} {t}, all the same number. How many {t} are on one shelf?",
    "{b} workers together make {a} {t}, each the same number. How many does one make?",
    "{n} gives every guest {b} {t} and hands out {a}. How many guests are there?",
    "{b} {t} weigh {a} pounds together. How many pounds does one weigh?",
    "{n} used {a} {t} over {b} weeks, equally many each week. How many per week?",
    "{n} wants to hand {a} {t} to {b} teams fairly. How many {t} does a team get?",
];
