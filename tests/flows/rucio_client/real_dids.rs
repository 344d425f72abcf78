//! Rucio datasets, rules, RSEs and quotas at a real server.

use std::sync::Mutex;

use runsync::rucio::replicas::Look;
use runsync::rucio::rules::NewRule;
use runsync::rucio::{Did, DidKind, Exception};

use crate::front::Reply;
use crate::real::{GUEST, Real, Site, did, file, first, raw, rse};
use crate::told::{Case, fails};

pub(crate) fn cases(real: &Real) -> Vec<Case<'_>> {
    vec![
        ("a Rucio dataset that exists", Box::new(|| made_twice(real))),
        (
            "a name that something else has",
            Box::new(|| other_kind(real)),
        ),
        ("attached twice", Box::new(|| attached_twice(real))),
        (
            "a file that is missing is attached",
            Box::new(|| attach_missing(real)),
        ),
        (
            "attached to a Rucio dataset that is missing",
            Box::new(|| attach_to_missing(real)),
        ),
        (
            "attached to a closed Rucio dataset",
            Box::new(|| attach_to_closed(real)),
        ),
        (
            "detached from a closed Rucio dataset",
            Box::new(|| detached(real)),
        ),
        ("closed twice", Box::new(|| closed_twice(real))),
        (
            "closed, and the answer is lost",
            Box::new(|| close_lost(real)),
        ),
        ("what is missing", Box::new(|| missing(real))),
        ("an empty Rucio dataset", Box::new(|| empty(real))),
        ("a rule that exists", Box::new(|| rule_twice(real))),
        ("a rule whose answer is lost", Box::new(|| rule_lost(real))),
        ("a rule without quota", Box::new(|| no_quota(real))),
        ("a rule where no RSE is meant", Box::new(|| no_rse(real))),
        (
            "a rule for what is missing",
            Box::new(|| rule_of_missing(real)),
        ),
        ("expressions", Box::new(|| expressions(real))),
        ("RSEs and how they are reached", Box::new(|| rses(real))),
        ("quotas", Box::new(|| quotas(real))),
        (
            "more than a call takes, attached in one",
            Box::new(|| too_many(real)),
        ),
    ]
}

/// A Rucio dataset with one file.
pub(crate) fn filled(site: &Site, name: &str) -> Did {
    let (run, child) = (did(name), file(&format!("{name}/file")));
    site.rucio.make(&run, DidKind::Dataset).unwrap();
    let child = [child];
    site.rucio
        .add_replicas(&rse("SITE_A"), &child, Look::After)
        .unwrap();
    site.rucio.attach(&run, &[&child[0].did]).unwrap();
    run
}

fn made_twice(real: &Real) -> String {
    let site = real.site();
    assert!(site.rucio.make(&did("made"), DidKind::Dataset).unwrap());
    assert!(!site.rucio.make(&did("made"), DidKind::Dataset).unwrap());
    assert!(
        site.rucio
            .make(&did("/made/container"), DidKind::Container)
            .unwrap()
    );
    assert_eq!(site.front.count("POST /dids"), 3);
    "found to be there".to_owned()
}

fn other_kind(real: &Real) -> String {
    let site = real.site();
    site.rucio.make(&did("kind"), DidKind::Dataset).unwrap();
    let what = fails(site.rucio.make(&did("kind"), DidKind::Container));
    assert_eq!(what, "Refused 409 DataIdentifierAlreadyExists");
    what
}

fn attached_twice(real: &Real) -> String {
    let site = real.site();
    let run = filled(&site, "attached");
    let child = did("attached/file");
    site.rucio.attach(&run, &[&child]).unwrap();
    assert_eq!(site.rucio.contents(&run).unwrap().count(), 1);
    assert_eq!(site.front.count("POST /dids/attachments"), 2);
    // Containers too.
    let container = did("attached-container");
    site.rucio.make(&container, DidKind::Container).unwrap();
    for _ in 0..2 {
        site.rucio.attach(&container, &[&run]).unwrap();
    }
    let contents: Vec<_> = site
        .rucio
        .contents(&container)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!((contents.len(), contents[0].kind), (1, DidKind::Dataset));
    "attached once, to a Rucio dataset and to a container".to_owned()
}

fn attach_missing(real: &Real) -> String {
    let site = real.site();
    let run = filled(&site, "attach-missing");
    let what = fails(site.rucio.attach(&run, &[&did("nowhere")]));
    assert_eq!(what, "Refused 404 DataIdentifierNotFound");
    assert_eq!(site.front.count("POST /dids/attachments"), 2);
    format!("{what}; 1 call")
}

fn attach_to_missing(real: &Real) -> String {
    let site = real.site();
    filled(&site, "attach-to");
    let what = fails(site.rucio.attach(&did("no-run"), &[&did("attach-to/file")]));
    assert_eq!(what, "Refused 404 DataIdentifierNotFound");
    what
}

fn attach_to_closed(real: &Real) -> String {
    let site = real.site();
    let run = filled(&site, "attach-closed");
    site.rucio.close(&run).unwrap();
    let error = site
        .rucio
        .attach(&run, &[&did("attach-missing/file")])
        .unwrap_err();
    assert!(error.is(&Exception::UnsupportedOperation));
    assert_eq!(site.rucio.contents(&run).unwrap().count(), 1);
    assert_eq!(site.front.count("POST /dids/attachments"), 2);
    format!("{}; 1 call", crate::told::outcome(&error))
}

fn detached(real: &Real) -> String {
    let site = real.site();
    let run = filled(&site, "detach/closed");
    site.rucio.close(&run).unwrap();
    let child = did("detach/closed/file");
    assert!(site.rucio.detach(&run, &child).unwrap());
    assert_eq!(site.rucio.contents(&run).unwrap().count(), 0);
    assert!(!site.rucio.detach(&run, &child).unwrap());
    assert_eq!(site.front.count("DELETE /dids/hsc/detach%2Fclosed/dids"), 2);
    "detached; not attached the second time".to_owned()
}

fn closed_twice(real: &Real) -> String {
    let site = real.site();
    let run = filled(&site, "closed");
    for _ in 0..2 {
        site.rucio.close(&run).unwrap();
        assert_eq!(site.rucio.did(&run).unwrap().unwrap().open, Some(false));
    }
    assert_eq!(site.front.count("PUT /dids/hsc/closed/status"), 1);
    "closed; asked for once".to_owned()
}

fn close_lost(real: &Real) -> String {
    let once = Mutex::new(true);
    let site = real.site_with("", move |request, _| {
        if request.method == "PUT" && first(&once) {
            Reply::PassAndCut
        } else {
            Reply::Pass
        }
    });
    let run = filled(&site, "close-lost");
    site.rucio.close(&run).unwrap();
    assert_eq!(site.front.count("PUT /dids/hsc/close-lost/status"), 1);
    "found to be closed; asked for once".to_owned()
}

fn missing(real: &Real) -> String {
    let site = real.site();
    assert_eq!(site.rucio.did(&did("nothing")).unwrap(), None);
    assert_eq!(site.rucio.did_counted(&did("nothing")).unwrap(), None);
    let refusals = [
        fails(site.rucio.contents(&did("nothing"))),
        fails(site.rucio.rules_of(&did("nothing"))),
        fails(site.rucio.close(&did("nothing"))),
    ];
    assert_eq!(refusals, ["Refused 404 DataIdentifierNotFound"; 3]);
    format!("none; {}", refusals[0])
}

fn empty(real: &Real) -> String {
    let site = real.site();
    let run = did("empty");
    site.rucio.make(&run, DidKind::Dataset).unwrap();
    assert_eq!(site.rucio.contents(&run).unwrap().count(), 0);
    assert_eq!(site.rucio.rules_of(&run).unwrap().count(), 0);
    let counted = site.rucio.did_counted(&run).unwrap().unwrap();
    assert_eq!((counted.open, counted.length.unwrap_or(0)), (Some(true), 0));
    site.rucio.attach(&run, &[]).unwrap();
    assert_eq!(site.front.count("POST /dids/attachments"), 0);
    "0 lines of contents, 0 of rules".to_owned()
}

pub(crate) fn rule(name: &str, expression: &str) -> NewRule {
    NewRule {
        did: did(name),
        rse_expression: expression.to_owned(),
        copies: 1,
        lifetime: Some(std::time::Duration::from_secs(86_400)),
        activity: None,
        notify: "N",
        comment: "a test",
    }
}

fn rule_twice(real: &Real) -> String {
    let site = real.site();
    let run = filled(&site, "rule");
    assert!(site.rucio.add_rule(&rule("rule", "SITE_A")).unwrap());
    assert!(!site.rucio.add_rule(&rule("rule", "SITE_A")).unwrap());
    let rules: Vec<_> = site
        .rucio
        .rules_of(&run)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let [rule] = rules.as_slice() else {
        panic!("{rules:?}");
    };
    assert_eq!(
        (rule.rse_expression.as_str(), rule.state.as_str()),
        ("SITE_A", "OK")
    );
    assert!(rule.expires_at.is_some());
    assert_eq!(site.front.count("POST /rules/"), 2);
    "found to be there; one rule".to_owned()
}

fn rule_lost(real: &Real) -> String {
    let once = Mutex::new(true);
    let site = real.site_with("", move |request, _| {
        if request.name() == "POST /rules/" && first(&once) {
            Reply::PassAndCut
        } else {
            Reply::Pass
        }
    });
    let run = filled(&site, "rule-lost");
    assert!(!site.rucio.add_rule(&rule("rule-lost", "SITE_A")).unwrap());
    assert_eq!(site.rucio.rules_of(&run).unwrap().count(), 1);
    assert_eq!(site.front.count("POST /rules/"), 2);
    "found to be there; one rule".to_owned()
}

/// An account with the attribute `admin` needs none; another one does.
fn no_quota(real: &Real) -> String {
    let site = real.as_account(GUEST, "guest", "guests-word");
    let run = Did::new(&"guests".parse().unwrap(), "no-quota");
    site.rucio.make(&run, DidKind::Dataset).unwrap();
    let mut rule = rule("no-quota", "SITE_A");
    rule.did = run;
    assert_eq!(site.rucio.quota(&rse("SITE_A")).unwrap(), None);
    let what = fails(site.rucio.add_rule(&rule));
    assert!(what.ends_with("InsufficientAccountLimit"), "{what}");
    assert_eq!(
        (site.front.count("POST /rules/"), site.front.logins()),
        (1, 1)
    );
    format!("{what}; 1 call")
}

fn no_rse(real: &Real) -> String {
    let site = real.site();
    filled(&site, "no-rse");
    let what = fails(site.rucio.add_rule(&rule("no-rse", "tier=9")));
    assert!(what.ends_with("InvalidRSEExpression"), "{what}");
    assert_eq!(site.front.count("POST /rules/"), 1);
    format!("{what}; 1 call")
}

fn rule_of_missing(real: &Real) -> String {
    let site = real.site();
    let what = fails(site.rucio.add_rule(&rule("no-run", "SITE_A")));
    assert!(what.ends_with("DataIdentifierNotFound"), "{what}");
    format!("{what}; {} call", site.front.count("POST /rules/"))
}

fn expressions(real: &Real) -> String {
    let site = real.site();
    assert_eq!(
        site.rucio.rses("SITE_B|SITE_A").unwrap(),
        [rse("SITE_A"), rse("SITE_B")]
    );
    assert_eq!(site.rucio.rses("tier=9").unwrap(), []);
    let what = fails(site.rucio.rses("SITE_A|||("));
    assert!(what.ends_with("InvalidRSEExpression"), "{what}");
    format!("two RSEs; none; {what}")
}

fn rses(real: &Real) -> String {
    let site = real.site();
    let body = serde_json::json!({
        "hostname": "dav.example.org", "port": 443, "prefix": "/store/", "impl": "rucio.rse.protocols.gfal.Default",
        "domains": {"lan": {"read": 2, "write": 2, "delete": 2}, "wan": {"read": 2, "write": 2, "delete": 2}},
        "extended_attributes": {"web_service_path": "/x", "list": [1, null]},
    });
    real.server
        .must("POST", "/rses/ANY/protocols/davs", Some(&body))
        .unwrap();
    let any = site.rucio.rse(&rse("ANY")).unwrap().unwrap();
    let davs = any
        .protocols
        .iter()
        .find(|protocol| protocol.scheme == "davs")
        .unwrap();
    assert_eq!(davs.pfn_prefix(), "davs://dav.example.org:443/store/");
    let local = any
        .protocols
        .iter()
        .find(|protocol| protocol.scheme == "file")
        .unwrap();
    assert_eq!(local.port, 0);
    let a = site.rucio.rse(&rse("SITE_A")).unwrap().unwrap();
    assert!(a.deterministic && !a.volatile && a.availability_write);
    // What the server itself makes of a name begins with what we say.
    let pfns = site
        .rucio
        .pfns(&rse("SITE_A"), &[did("x"), did("/y")])
        .unwrap();
    let prefix = a.protocols[0].pfn_prefix();
    assert!(
        pfns.len() == 2 && pfns.values().all(|pfn| pfn.starts_with(&prefix)),
        "{prefix} {pfns:?}"
    );
    "ports, extended attributes and prefixes are read".to_owned()
}

fn quotas(real: &Real) -> String {
    let site = real.site();
    let unlimited = site.rucio.quota(&rse("SITE_A")).unwrap().unwrap();
    assert_eq!((unlimited.limit, unlimited.left()), (None, None));
    let limited = site.rucio.quota(&rse("SITE_B")).unwrap().unwrap();
    assert_eq!(
        (limited.limit, limited.used, limited.left()),
        (Some(1_000_000), 0, Some(1_000_000))
    );
    assert_eq!(site.rucio.quota(&rse("ANY")).unwrap(), None);
    assert_eq!(site.rucio.quota(&rse("NOWHERE")).unwrap(), None);
    real.server.set_limit("runsync", "ANY", Some(0)).unwrap();
    assert_eq!(
        site.rucio.quota(&rse("ANY")).unwrap().unwrap().left(),
        Some(0)
    );
    "without a limit, with one, with none at all, none set".to_owned()
}

fn too_many(real: &Real) -> String {
    let dids: Vec<_> = (0..1001)
        .map(|number| serde_json::json!({"scope": "hsc", "name": format!("many/{number}")}))
        .collect();
    let run = serde_json::json!({"scope": "hsc", "name": "made", "dids": dids});
    let (status, class) = raw(&real.server, "/dids/attachments", &serde_json::json!([run]));
    assert_eq!((status, class.as_str()), (500, "InvalidObject"));
    format!("{status} {class}, which a site never sends")
}
