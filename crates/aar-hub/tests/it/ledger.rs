//! Tampering with the ledger: nothing in it is free to change.

use crate::support::Lab;
use aar_hub::HubError;
use aar_hub::ledger::{Bookmark, LEDGER_FILE, Ledger, LedgerError, read_verified};
use std::path::PathBuf;

/// A ledger of a few lines, in a directory of its own, so that it can be damaged.
fn small() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let lab = Lab::new();
    lab.join("ada");
    let bytes = std::fs::read(lab.dir.path().join(LEDGER_FILE)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    std::fs::write(&path, &bytes).unwrap();
    (dir, path, bytes)
}

#[test]
fn every_flipped_byte_is_found() {
    let (_dir, path, bytes) = small();
    assert_eq!(read_verified(&path).unwrap().len(), 3);
    for at in 0..bytes.len() {
        let line = 1 + bytes[..at].iter().filter(|&&b| b == b'\n').count() as u64;
        for flip in [0x01, 0x20, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            std::fs::write(&path, &changed).unwrap();
            let fault = read_verified(&path).expect_err("a flip went unseen");
            assert!(fault.line == line || fault.line == line + 1, "{at} {fault}");
            assert!(
                Ledger::open(&path).is_err(),
                "byte {at} ^ {flip} was opened"
            );
        }
    }
}

#[test]
fn inserted_removed_and_moved_things_are_found() {
    let (_dir, path, bytes) = small();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|&b| b == b'\n').collect();
    let (a, b, c) = (lines[0], lines[1], lines[2]);
    let orders = [
        vec![b, c],
        vec![a, c],
        vec![a, c, b],
        vec![b, a, c],
        vec![a, a, b, c],
        vec![a, b, b, c],
        vec![a, b, c, c],
        vec![a, b"\n", b, c],
        vec![b"\n", a, b, c],
        vec![a, b, c, b"\n"],
        vec![a, b, c, b" \n"],
    ];
    for order in orders {
        std::fs::write(&path, order.concat()).unwrap();
        assert!(read_verified(&path).is_err());
        assert!(matches!(
            Ledger::open(&path),
            Err(LedgerError::Fault { .. })
        ));
    }
    for at in 0..bytes.len() {
        let mut longer = bytes.clone();
        longer.insert(at, b' ');
        std::fs::write(&path, &longer).unwrap();
        assert!(read_verified(&path).is_err(), "space at {at}");
        let mut shorter = bytes.clone();
        shorter.remove(at);
        std::fs::write(&path, &shorter).unwrap();
        assert!(read_verified(&path).is_err(), "byte {at} removed");
    }
}

#[test]
fn a_torn_last_line_is_cut_off_and_told() {
    let (_dir, path, bytes) = small();
    let ends: Vec<usize> = bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'\n')
        .map(|(at, _)| at + 1)
        .collect();
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let opened = Ledger::open(&path).unwrap();
        let whole = ends.iter().filter(|end| **end <= length).count();
        let kept = if whole == 0 { 0 } else { ends[whole - 1] };
        assert_eq!(
            (opened.entries.len(), opened.cut),
            (whole, (length - kept) as u64)
        );
        assert_eq!(std::fs::metadata(&path).unwrap().len(), kept as u64);
    }
    // Appending goes on where the cut was.
    std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let mut opened = Ledger::open(&path).unwrap();
    let event = opened.entries[1].event.clone();
    opened.ledger.append(7, &[event.clone(), event]).unwrap();
    let entries = read_verified(&path).unwrap();
    assert_eq!((entries.len(), entries[3].hash), (4, opened.ledger.head()));
}

#[test]
fn a_second_study_does_not_overwrite_the_first() {
    let (_dir, path, bytes) = small();
    assert!(Ledger::create(&path).is_err());
    assert_eq!(std::fs::read(path).unwrap(), bytes);
}

#[test]
fn a_reader_goes_on_where_it_stopped_and_finds_what_was_changed_since() {
    let lab = Lab::new();
    lab.join("ada");
    let path = lab.dir.path().join(LEDGER_FILE);
    let mut place = Bookmark::default();
    let mut seen = lab.hub.events_since(&mut place).unwrap();
    assert_eq!(seen.len(), 3);
    assert!(lab.hub.events_since(&mut place).unwrap().is_empty());
    let until_here = std::fs::metadata(&path).unwrap().len() as usize;
    lab.join("bob");
    // What was read before is not read again.
    let good = std::fs::read(&path).unwrap();
    let mut changed = good.clone();
    changed[until_here - 10] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    let before = place;
    seen.extend(lab.hub.events_since(&mut place).unwrap());
    std::fs::write(&path, &good).unwrap();
    let entries = read_verified(&path).unwrap().into_iter();
    assert_eq!(seen, entries.map(|one| one.event).collect::<Vec<_>>());
    // What is new is verified, to its end, and a reader that was refused stays where it was.
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let mut place = before;
        let refused = lab.hub.events_since(&mut place);
        assert!(
            matches!(refused, Err(HubError::Ledger(LedgerError::Fault { .. }))),
            "{refused:?}"
        );
        assert_eq!(place, before);
    };
    for at in until_here..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        refused(&changed);
        refused(&good[..at]);
    }
}
