//! The part of the ledger's suite that is about hints and messages that could not be read.

use jiff::Timestamp;

use super::conformance::{Open, Site, at, tenure};
use crate::ledger::LedgerError;
use crate::ledger::record::{Hint, HintKind, NewHint, NewPoison};

const ALL: usize = usize::MAX;

fn hint(kind: HintKind, name: &str, heard: i64) -> NewHint {
    NewHint {
        kind,
        rse: (kind != HintKind::Settled).then(|| "SITE_B".parse().unwrap()),
        scope: "cms".to_owned(),
        name: name.to_owned(),
        detail: (kind == HintKind::PerFile).then(|| format!("{{\"heard\":{heard}}}")),
        heard_at: at(heard),
    }
}

fn names(hints: &[Hint]) -> Vec<&str> {
    hints.iter().map(|hint| hint.name.as_str()).collect()
}

fn ids(hints: &[Hint]) -> Vec<u64> {
    hints.iter().map(|hint| hint.id).collect()
}

pub(crate) fn hints_are_kept_until_they_are_done(open: &Open) {
    use HintKind::{Arrived, PerFile, Settled};
    let mut site = Site::new(open);
    let heard = [
        hint(Arrived, "b", 2),
        hint(Arrived, "a", 1),
        hint(PerFile, "a", 3),
        hint(Settled, "a", 4),
    ];
    assert_eq!(site.ledger().note_hints(&[]).unwrap(), 0);
    assert_eq!(site.ledger().note_hints(&heard).unwrap(), 4);
    site.reopen();
    let ledger = site.ledger();
    let due = ledger.hints_due(Arrived, at(2), ALL).unwrap();
    assert_eq!(names(&due), ["a", "b"], "what is due longest comes first");
    assert_eq!(ledger.hints_due(Arrived, at(1), ALL).unwrap(), due[..1]);
    assert_eq!(ledger.hints_due(Arrived, at(2), 1).unwrap(), due[..1]);
    for kept in ledger.hints_after(None, 0, ALL).unwrap() {
        let as_heard = NewHint {
            kind: kept.kind,
            rse: kept.rse,
            scope: kept.scope,
            name: kept.name,
            detail: kept.detail,
            heard_at: kept.heard_at,
        };
        assert!(heard.contains(&as_heard), "{as_heard:?}");
        assert_eq!((kept.tries, kept.due), (0, kept.heard_at));
    }
    ledger.hints_done(&ids(&due)).unwrap();
    ledger.hints_done(&[u64::MAX, 0]).unwrap();
    assert_eq!(ledger.hints_due(Arrived, at(9), ALL).unwrap(), []);
    let left = ledger.hints_after(None, 0, ALL).unwrap();
    assert_eq!(left.len(), 2, "{left:?}");
}

pub(crate) fn a_hint_heard_again_is_one_and_outlives_who_is_done_with_the_first(open: &Open) {
    use HintKind::PerFile;
    let site = Site::new(open);
    let ledger = site.ledger();
    ledger.note_hints(&[hint(PerFile, "a", 1)]).unwrap();
    let first = ledger.hints_due(PerFile, at(1), ALL).unwrap();
    ledger.hints_later(&ids(&first), at(100)).unwrap();
    let again = [hint(PerFile, "a", 2), hint(PerFile, "b", 2)];
    assert_eq!(ledger.note_hints(&again).unwrap(), 1, "only one is new");
    ledger.hints_done(&ids(&first)).unwrap();
    ledger.hints_later(&ids(&first), at(100)).unwrap();
    let second = ledger.hints_due(PerFile, at(2), ALL).unwrap();
    assert_eq!(names(&second), ["a", "b"]);
    assert!(second[0].id > first[0].id);
    assert_eq!(second[0].detail.as_deref(), Some("{\"heard\":2}"));
    assert_eq!((second[0].tries, second[0].due), (0, at(2)));
    // Twice in one message is once, too.
    let twice = [hint(PerFile, "c", 3), hint(PerFile, "c", 3)];
    assert_eq!(ledger.note_hints(&twice).unwrap(), 1);
    assert_eq!(ledger.hints_after(None, 0, ALL).unwrap().len(), 3);
}

pub(crate) fn hints_that_are_put_off_come_back_when_they_are_due(open: &Open) {
    use HintKind::Deleted;
    let site = Site::new(open);
    let ledger = site.ledger();
    assert_eq!(ledger.next_hint_due(Deleted).unwrap(), None);
    ledger
        .note_hints(&[hint(Deleted, "a", 1), hint(Deleted, "b", 2)])
        .unwrap();
    let due = ledger.hints_due(Deleted, at(2), ALL).unwrap();
    ledger.hints_later(&[due[0].id], at(50)).unwrap();
    assert_eq!(ledger.next_hint_due(Deleted).unwrap(), Some(at(2)));
    assert_eq!(
        names(&ledger.hints_due(Deleted, at(49), ALL).unwrap()),
        ["b"]
    );
    let back = ledger.hints_due(Deleted, at(50), ALL).unwrap();
    assert_eq!(names(&back), ["b", "a"]);
    assert_eq!((back[1].tries, back[1].id), (1, due[0].id));
}

pub(crate) fn pages_of_hints_follow_each_other(open: &Open) {
    let site = Site::new(open);
    let ledger = site.ledger();
    let mut heard = Vec::new();
    for number in 0..7 {
        let kind = HintKind::ALL[number % 2];
        let at = 9 - i64::try_from(number).unwrap();
        heard.push(hint(kind, &number.to_string(), at));
    }
    ledger.note_hints(&heard).unwrap();
    for (kind, expected) in [
        (None, vec!["0", "1", "2", "3", "4", "5", "6"]),
        (Some(HintKind::ALL[1]), vec!["1", "3", "5"]),
    ] {
        let mut paged: Vec<Hint> = Vec::new();
        loop {
            let after = paged.last().map_or(0, |hint| hint.id);
            let page = ledger.hints_after(kind, after, 2).unwrap();
            let is_last = page.len() < 2;
            paged.extend(page);
            if is_last {
                break;
            }
        }
        assert_eq!(names(&paged), expected);
    }
}

pub(crate) fn hints_are_counted_by_kind(open: &Open) {
    let site = Site::new(open);
    let ledger = site.ledger();
    let counts = || -> Vec<u64> {
        let counts = ledger.hint_counts().unwrap();
        assert!(counts.iter().map(|(kind, _)| *kind).eq(HintKind::ALL));
        counts.into_iter().map(|(_, count)| count).collect()
    };
    assert_eq!(counts(), [0, 0, 0, 0]);
    let heard = [
        hint(HintKind::Deleted, "a", 1),
        hint(HintKind::Settled, "a", 1),
        hint(HintKind::Deleted, "b", 1),
    ];
    ledger.note_hints(&heard).unwrap();
    ledger.note_hints(&heard[..1]).unwrap();
    assert_eq!(counts(), [0, 2, 1, 0]);
    let deleted = ledger.hints_due(HintKind::Deleted, at(1), 1).unwrap();
    ledger.hints_done(&ids(&deleted)).unwrap();
    ledger.hints_done(&ids(&deleted)).unwrap();
    assert_eq!(counts(), [0, 1, 1, 0]);
}

pub(crate) fn hints_that_are_given_up_are_counted_as_lost(open: &Open) {
    let mut site = Site::new(open);
    let ledger = site.ledger();
    let heard = ["a", "b", "c"].map(|name| hint(HintKind::Arrived, name, 1));
    ledger.note_hints(&heard).unwrap();
    let due = ledger.hints_due(HintKind::Arrived, at(1), ALL).unwrap();
    ledger.note_hints(&heard[2..]).unwrap();
    assert_eq!(ledger.hints_lost().unwrap(), 0);
    ledger.give_up_hints(&ids(&due[1..])).unwrap();
    ledger.give_up_hints(&ids(&due[1..])).unwrap();
    assert_eq!(ledger.hints_lost().unwrap(), 1, "`c` was heard again");
    ledger.lose_hints(10).unwrap();
    site.reopen();
    let ledger = site.ledger();
    assert_eq!(ledger.hints_lost().unwrap(), 11);
    let left = ledger.hints_after(None, 0, ALL).unwrap();
    assert_eq!(names(&left), ["a", "c"]);
    assert_eq!(ledger.hint_counts().unwrap()[0].1, 2);
}

fn message(number: u8) -> NewPoison {
    NewPoison {
        source: "hermes".to_owned(),
        at: at(i64::from(number)),
        reason: format!("it is no JSON: {number}"),
        size: u64::from(number) + 100,
        body: vec![0xFF, 0, number],
    }
}

pub(crate) fn the_newest_messages_that_could_not_be_read_are_kept(open: &Open) {
    let mut site = Site::new(open);
    let messages: Vec<NewPoison> = (0..5).map(message).collect();
    site.ledger().note_poison(&[], 0).unwrap();
    site.ledger().note_poison(&messages[..4], 3).unwrap();
    site.ledger().note_poison(&messages[4..], 3).unwrap();
    site.reopen();
    let ledger = site.ledger();
    let kept = ledger.poison_before(None, ALL).unwrap();
    let shown: Vec<_> = kept.iter().map(|kept| &kept.message).collect();
    assert_eq!(shown, [&messages[4], &messages[3], &messages[2]]);
    assert_eq!(ledger.poison_before(None, 2).unwrap(), kept[..2]);
    let rest = ledger.poison_before(Some(kept[1].id), ALL).unwrap();
    assert_eq!(rest, kept[2..]);
    assert_eq!(ledger.poison(kept[1].id).unwrap().as_ref(), Some(&kept[1]));
    assert_eq!(ledger.forget_poison(Some(kept[1].id)).unwrap(), 1);
    assert_eq!(ledger.forget_poison(Some(kept[1].id)).unwrap(), 0);
    assert_eq!(ledger.forget_poison(Some(u64::MAX)).unwrap(), 0);
    assert_eq!(ledger.poison(kept[1].id).unwrap(), None);
    assert_eq!(ledger.poison(u64::MAX).unwrap(), None);
    assert_eq!(ledger.forget_poison(None).unwrap(), 2);
    assert_eq!(ledger.poison_before(None, ALL).unwrap(), []);
}

pub(crate) fn an_old_fence_keeps_no_hint(open: &Open) {
    let site = Site::new(open);
    let old = site.ledger();
    let heard = [hint(HintKind::Arrived, "a", 1)];
    old.note_hints(&heard).unwrap();
    let new = open(site.folder.path(), &tenure(2)).unwrap();
    new.note_poison(&[message(1)], 9).unwrap();
    let kept = new.hints_after(None, 0, ALL).unwrap();
    let late = Timestamp::MAX;
    for (method, refused) in [
        ("note_hints", old.note_hints(&heard).map(drop)),
        ("hints_done", old.hints_done(&ids(&kept))),
        ("hints_later", old.hints_later(&ids(&kept), late)),
        ("give_up_hints", old.give_up_hints(&ids(&kept))),
        ("lose_hints", old.lose_hints(1)),
        ("note_poison", old.note_poison(&[message(2)], 9)),
        ("forget_poison", old.forget_poison(None).map(drop)),
    ] {
        let fenced = refused.as_ref().is_err_and(LedgerError::is_fenced);
        assert!(fenced, "{method}: {refused:?}");
    }
    assert_eq!(new.hints_after(None, 0, ALL).unwrap(), kept);
    assert_eq!(new.hints_lost().unwrap(), 0);
    assert_eq!(new.poison_before(None, ALL).unwrap().len(), 1);
}
