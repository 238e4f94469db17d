//! `aar doctor` on the machine that runs the tests, which must be able to isolate methods.

use crate::program::aar;

#[test]
fn doctor_names_every_rung_and_finds_this_machine_good() {
    let answer = aar(&["doctor"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let rungs = [
        "namespaces",
        "disk",
        "system calls",
        "nested namespaces off",
        "Landlock",
        "memory in total",
        "processes",
        "CPU time",
    ];
    for rung in rungs {
        let is_named = |line: &&str| line.get(5..).is_some_and(|rest| rest.starts_with(rung));
        let named = answer.stdout.lines().filter(is_named).count();
        assert_eq!(named, 1, "{rung}:\n{}", answer.stdout);
    }
    assert!(answer.stdout.ends_with("methods can be isolated here\n"));
}
