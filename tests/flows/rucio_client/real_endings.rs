//! Rules that end, what is left to the reaper, and replicas that are declared, at a real server.

use std::sync::Mutex;

use runsync::clock::{Clock as _, SystemClock};
use runsync::rucio::declare::Suspect;
use runsync::rucio::permissions::Act;
use runsync::rucio::replicas::{Anywhere, Look};
use runsync::rucio::rules::Rule;
use runsync::rucio::{Did, DidKind};
use serde_json::json;

use crate::front::Reply;
use crate::real::{GUEST, Real, Site, did, file, first, rse};
use crate::real_dids::{filled, rule};
use crate::told::{Case, fails};

pub(crate) fn cases(real: &Real) -> Vec<Case<'_>> {
    vec![
        ("a rule is ended", Box::new(|| ended(real))),
        ("a rule is ended twice", Box::new(|| ended_twice(real))),
        (
            "a rule is ended, and the answer is lost",
            Box::new(|| end_lost(real)),
        ),
        (
            "a rule is ended, and the server is overloaded",
            Box::new(|| end_overloaded(real)),
        ),
        (
            "a rule that is not there is ended",
            Box::new(|| end_missing(real)),
        ),
        (
            "another account's rule is ended",
            Box::new(|| end_of_another(real)),
        ),
        ("rules over a file", Box::new(|| over(real))),
        (
            "replicas at an RSE closed for reading",
            Box::new(|| closed(real)),
        ),
        (
            "a replica that a rule locks is buried",
            Box::new(|| bury_locked(real)),
        ),
        (
            "a replica that no rule locks is buried",
            Box::new(|| bury_free(real)),
        ),
        (
            "replicas are declared bad without permission",
            Box::new(|| may_not_declare(real)),
        ),
        (
            "an unknown replica is declared suspicious",
            Box::new(|| suspicious(real)),
        ),
    ]
}

fn only_rule(site: &Site, run: &Did) -> Rule {
    let rules: Vec<_> = site.rucio.rules_of(run).unwrap().collect();
    let [Ok(rule)] = rules.as_slice() else {
        panic!("{rules:?}");
    };
    rule.clone()
}

fn with_rule(site: &Site, name: &str) -> (Did, Rule) {
    let run = filled(site, name);
    site.rucio.add_rule(&rule(name, "SITE_A")).unwrap();
    let rule = only_rule(site, &run);
    assert!(!rule.is_ending(SystemClock.now()));
    (run, rule)
}

/// It is still listed, as one that ends, until the judge-cleaner has been there.
fn is_told(site: &Site, run: &Did) -> String {
    let rule = only_rule(site, run);
    assert!(rule.is_ending(SystemClock.now()), "{rule:?}");
    assert!(rule.purge_replicas);
    assert!(
        !site
            .rucio
            .add_rule(&crate::real_dids::rule(&run.name, "SITE_A"))
            .unwrap()
    );
    "listed as ending, with a purge, and in the way of a new one".to_owned()
}

fn ended(real: &Real) -> String {
    let site = real.site();
    let (run, rule) = with_rule(&site, "ended");
    assert!(site.rucio.end_rule(&rule.id).unwrap());
    is_told(&site, &run)
}

fn ended_twice(real: &Real) -> String {
    let site = real.site();
    let (run, rule) = with_rule(&site, "ended-twice");
    for _ in 0..2 {
        assert!(site.rucio.end_rule(&rule.id).unwrap());
    }
    is_told(&site, &run)
}

fn end_lost(real: &Real) -> String {
    let once = Mutex::new(true);
    let site = real.site_with("", move |request, _| {
        if request.name().starts_with("PUT /rules/") && first(&once) {
            Reply::PassAndCut
        } else {
            Reply::Pass
        }
    });
    let (run, rule) = with_rule(&site, "end-lost");
    assert!(site.rucio.end_rule(&rule.id).unwrap());
    assert_eq!(site.front.count(&format!("PUT /rules/{}", rule.id)), 2);
    is_told(&site, &run)
}

fn end_overloaded(real: &Real) -> String {
    let once = Mutex::new(true);
    let site = real.site_with("", move |request, _| {
        if request.name().starts_with("PUT /rules/") && first(&once) {
            Reply::new(503, &[], "")
        } else {
            Reply::Pass
        }
    });
    let (run, rule) = with_rule(&site, "end-overloaded");
    assert!(site.rucio.end_rule(&rule.id).unwrap());
    assert_eq!(site.front.count(&format!("PUT /rules/{}", rule.id)), 2);
    is_told(&site, &run)
}

fn end_missing(real: &Real) -> String {
    let site = real.site();
    assert!(
        !site
            .rucio
            .end_rule("00000000000000000000000000000000")
            .unwrap()
    );
    "there is none; no error".to_owned()
}

fn end_of_another(real: &Real) -> String {
    let (run, rule) = with_rule(&real.site(), "end-of-another");
    let guest = real.as_account(GUEST, "guest", "guests-word");
    let what = fails(guest.rucio.end_rule(&rule.id));
    assert!(what.ends_with("AccessDenied"), "{what}");
    assert!(!only_rule(&real.site(), &run).is_ending(SystemClock.now()));
    what
}

fn over(real: &Real) -> String {
    let site = real.site();
    let (_, rule) = with_rule(&site, "over");
    let found: Vec<_> = site.rucio.rules_over(&did("over/file")).unwrap().collect();
    let [Ok(found)] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!((&found.id, found.did()), (&rule.id, did("over")));
    let what = fails(site.rucio.rules_over(&did("over/nothing")));
    format!("the rule, with the Rucio dataset that it is on; {what}")
}

fn closed(real: &Real) -> String {
    let site = real.site();
    filled(&site, "closed-rse");
    let (one, none) = (did("closed-rse/file"), did("closed-rse/nothing"));
    let open = |is_open: bool| {
        let body = json!({"availability_read": is_open});
        real.server
            .must("PUT", "/rses/SITE_A", Some(&body))
            .unwrap();
    };
    open(false);
    let listed = site
        .rucio
        .replicas(&[&one], Some(&rse("SITE_A")))
        .unwrap()
        .count();
    let had = |anywhere| {
        site.rucio
            .had_at(&rse("SITE_A"), &[&one, &none], anywhere)
            .unwrap()
    };
    let found = [Anywhere::No, Anywhere::Yes].map(had);
    open(true);
    let only = std::collections::BTreeSet::from([one]);
    assert_eq!(found, [only.clone(), only]);
    format!("had, by both questions; the usual one lists {listed}")
}

fn bury_locked(real: &Real) -> String {
    let site = real.site();
    with_rule(&site, "bury-locked");
    let file = did("bury-locked/file");
    let came = site.rucio.bury(&rse("SITE_A"), &[&file]);
    let told = match &came {
        Ok(count) => format!("{count} taken"),
        Err(error) => error.to_string(),
    };
    assert!(!matches!(came, Ok(1)), "{told}");
    assert_eq!(tombstone(real, "bury-locked/file"), "");
    "refused; it has no replica tombstone".to_owned()
}

fn bury_free(real: &Real) -> String {
    let site = real.site();
    filled(&site, "bury-free");
    let file = did("bury-free/file");
    for _ in 0..2 {
        assert_eq!(site.rucio.bury(&rse("SITE_A"), &[&file]).unwrap(), 1);
    }
    let tombstone = tombstone(real, "bury-free/file");
    assert!(tombstone.starts_with("1970"), "{tombstone}");
    "it has one, of the year that means at once".to_owned()
}

fn tombstone(real: &Real, name: &str) -> String {
    let sql = format!("select coalesce(tombstone::text, '') from replicas where name = '{name}'");
    real.server.sql(&sql).unwrap().concat().concat()
}

fn suspect(name: &str, pfn: String) -> Suspect {
    let did = did(name);
    Suspect { did, pfn }
}

fn may_not_declare(real: &Real) -> String {
    let site = real.site();
    filled(&site, "may-not");
    let why = site.rucio.denied(Act::DeclareBad(&rse("SITE_A"))).unwrap();
    let one = [suspect("may-not/file", String::new())];
    let what = fails(site.rucio.declare_bad(&rse("SITE_A"), &one, "a test"));
    assert!(what.ends_with("AccessDenied"), "{what}");
    assert!(why.is_some_and(|why| why.contains("can not declare bad replicas")));
    format!("{what}, and so it is said before")
}

fn suspicious(real: &Real) -> String {
    let site = real.site();
    let known = filled(&site, "suspicious");
    site.rucio.make(&known, DidKind::Dataset).unwrap();
    let found = site
        .rucio
        .add_replicas(&rse("SITE_A"), &[file("suspicious-flat")], Look::After);
    drop(found.unwrap());
    let pfn = |name: &str| {
        let pfns = site.rucio.pfns(&rse("SITE_A"), &[did(name)]).unwrap();
        pfns.into_values().next().unwrap()
    };
    let names = ["suspicious-flat", "suspicious-none"];
    let suspects = names.map(|name| suspect(name, pfn(name)));
    let told = site
        .rucio
        .declare_suspicious(&rse("SITE_A"), &suspects, "a test")
        .unwrap();
    assert_eq!(told[0], None);
    let why = told[1].as_deref().unwrap();
    assert!(why.ends_with("Unknown replica"), "{why}");
    "one declared, and of the other it is said why not".to_owned()
}
