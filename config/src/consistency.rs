//! Checks that parts of the file agree with each other.

use std::path::Path;

use humantime::format_duration;
use runsync_manifest::name::{RunPrefix, SiteName};

use crate::adopt::Adopt;
use crate::events::EventSource;
use crate::http::Http;
use crate::jobs::{JobKind, Scheduled};
use crate::peer::Peer;
use crate::problem::{KeyPath, Reason};
use crate::raw::Document;
use crate::registry::RegistryBackend;
use crate::root::{Deleter, Root};
use crate::rucio::Rucio;
use crate::schedule::longest_gap;
use crate::site::Own;

/// Reports every disagreement. `roots` and `peers` are those of the file, `None` where one could
/// not be read.
pub(crate) fn check(
    document: &Document<'_>,
    own: &Own,
    registry: &RegistryBackend,
    roots: &[Option<Root>],
    peers: &[Option<Peer>],
    http: &Http,
) {
    let roots: Vec<_> = numbered("root", roots).collect();
    let peers: Vec<_> = numbered("peer", peers).collect();
    if roots.is_empty() && !document.has("root") {
        let reason = Reason::new("is missing: a site has at least one datastore root");
        let hint = "add `[[root]]` with `name` and `url`";
        document.report(KeyPath::of("root"), reason.hint(hint));
    }
    check_differ(
        document,
        "name",
        roots.iter().map(|(at, root)| (at.key("name"), &root.name)),
    );
    check_differ(
        document,
        "origin",
        peers
            .iter()
            .map(|(at, peer)| (at.key("origin"), &peer.origin)),
    );
    check_sites(document, own.name.as_ref(), &peers);
    check_folders(document, &roots);
    check_deleters(document, &roots);
    check_outside_roots(document, own, registry, &roots, http);
    check_prefixes(document, &own.run_prefixes, &peers);
}

/// Reports where Rucio and the roots do not fit together.
pub(crate) fn check_rucio(document: &Document<'_>, rucio: &Rucio, roots: &[Option<Root>]) {
    let roots: Vec<_> = numbered("root", roots).collect();
    let rses = roots
        .iter()
        .filter_map(|(at, root)| Some((at.key("rse"), root.rse.as_ref()?)));
    check_differ(document, "RSE", rses.clone());
    if rses.count() == 0 && !roots.is_empty() {
        let reason = Reason::new("is of no use: no root is an RSE");
        let hint = "name the `rse` of the `[[root]]` that Rucio knows";
        document.report(KeyPath::of("rucio"), reason.hint(hint));
    }
    let (way, key, file) = rucio.login.secret();
    let path = KeyPath::of("rucio").key(way).key(key);
    check_outside(document, path, file, &roots);
}

/// Files are adopted into the root of their RSE.
pub(crate) fn check_adopt(document: &Document<'_>, adopt: &Adopt, roots: &[Option<Root>]) {
    let key = KeyPath::of("adopt").key("rses");
    let named = adopt.rses.iter().enumerate();
    check_differ(
        document,
        "RSE",
        named
            .clone()
            .map(|(index, rse)| (key.clone().index(index), rse)),
    );
    for (index, rse) in named {
        let of_rse = |root: &&Root| root.rse.as_ref() == Some(rse);
        if roots.iter().flatten().filter(of_rse).count() != 1 {
            let reason = Reason::new(format!("not exactly one root is the RSE `{rse}`"));
            let hint = "name it as the `rse` of the `[[root]]` that its files lie in";
            document.report(key.clone().index(index), reason.hint(hint));
        }
    }
}

/// Reports where sources of messages and the roots do not fit together.
pub(crate) fn check_events(
    document: &Document<'_>,
    sources: &[Option<EventSource>],
    roots: &[Option<Root>],
) {
    let roots: Vec<_> = numbered("root", roots).collect();
    let sources: Vec<_> = numbered("event_source", sources).collect();
    let names = sources
        .iter()
        .map(|(at, source)| (at.key("name"), &source.name));
    check_differ(document, "name", names);
    let is_rse = roots.iter().any(|(_, root)| root.rse.is_some());
    if let Some((at, _)) = sources.first()
        && !is_rse
        && !roots.is_empty()
    {
        let reason = Reason::new("is of no use: no root is an RSE");
        let hint = "name the `rse` of the `[[root]]` that messages are about";
        document.report(at.clone(), reason.hint(hint));
    }
    for (at, source) in &sources {
        if let Some(login) = &source.login {
            check_outside(
                document,
                at.key("password_file"),
                &login.password_file,
                &roots,
            );
        }
    }
}

/// Reports where jobs and roots do not fit together.
pub(crate) fn check_schedules(
    document: &Document<'_>,
    schedules: &[Option<Scheduled>],
    roots: &[Option<Root>],
) {
    let roots: Vec<_> = numbered("root", roots).collect();
    let numbered: Vec<_> = numbered("schedule", schedules).collect();
    let names = numbered.iter().map(|(at, job)| (at.key("name"), &job.name));
    check_differ(document, "name", names);
    for (at, job) in &numbered {
        check_roots_of(document, at, job, &roots);
        if job.job.is_about_rucio() && !document.has("rucio") {
            let reason = Reason::new(format!("is \"{}\", and the site has no Rucio", job.job));
            document.report(
                at.key("job"),
                reason.hint("add `[rucio]`, or take this job away"),
            );
        }
    }
    // A job that cannot be read may be the one.
    if numbered.len() == schedules.len() {
        for (at, root) in &roots {
            check_period(document, &at.key("scan_period"), root, &numbered);
        }
    }
}

/// Reports a root that is to be seen in a time in which no job scans it.
fn check_period(
    document: &Document<'_>,
    at: &KeyPath,
    root: &Root,
    jobs: &[(KeyPath, &Scheduled)],
) {
    let Some(period) = root.scan_period else {
        return;
    };
    let scans = jobs.iter().map(|(_, job)| job);
    let scans = scans.filter(|job| job.job == JobKind::Scan && job.concerns(&root.name));
    let times: Vec<_> = scans.map(|job| &job.at).collect();
    if times.is_empty() {
        let reason = Reason::new("is of no use: no `[[schedule]]` scans this root");
        let hint = "add `[[schedule]]` with `name`, `job = \"scan\"` and `at`";
        document.report(at.clone(), reason.hint(hint));
        return;
    }
    let gap = longest_gap(&times, period);
    if gap > period {
        let (period, gap) = (format_duration(period), format_duration(gap));
        let reason = Reason::new(format!(
            "is {period}, and up to {gap} pass between two times at which this root is scanned"
        ));
        let hint =
            format!("make it at least \"{gap}\", or let a `[[schedule]]` scan the root more often");
        document.report(at.clone(), reason.hint(hint));
    }
}

fn check_roots_of(
    document: &Document<'_>,
    at: &KeyPath,
    job: &Scheduled,
    roots: &[(KeyPath, &Root)],
) {
    for (index, name) in job.roots.iter().enumerate() {
        let key = at.key("roots").index(index);
        let found = roots.iter().find(|(_, root)| root.name == *name);
        match found {
            None => {
                let reason = Reason::new(format!("is `{name}`, and no root is called so"));
                document.report(key, reason.hint("name the `name` of a `[[root]]`"));
            }
            Some((_, root)) if job.job.is_about_rucio() && root.rse.is_none() => {
                let reason = Reason::new(format!("is `{name}`, which is no RSE"));
                document.report(key, reason.hint("name the `rse` that Rucio knows it as"));
            }
            Some(_) => {}
        }
    }
}

fn numbered<'p, T>(
    key: &'static str,
    parts: &'p [Option<T>],
) -> impl Iterator<Item = (KeyPath, &'p T)> {
    let numbered = parts.iter().enumerate();
    numbered.filter_map(move |(index, part)| Some((KeyPath::of(key).index(index), part.as_ref()?)))
}

/// Reports each value that equals an earlier one.
fn check_differ<T: PartialEq + std::fmt::Display>(
    document: &Document<'_>,
    what: &str,
    values: impl Iterator<Item = (KeyPath, T)>,
) {
    let mut seen: Vec<(KeyPath, T)> = Vec::new();
    for (path, value) in values {
        match seen.iter().find(|(_, earlier)| *earlier == value) {
            Some((earlier, _)) => {
                document.report(path, format!("is the {what} `{value}`, as is `{earlier}`"));
            }
            None => seen.push((path, value)),
        }
    }
}

fn check_sites(document: &Document<'_>, own: Option<&SiteName>, peers: &[(KeyPath, &Peer)]) {
    let own = own.map(|name| (KeyPath::of("site").key("name"), name));
    let theirs = peers.iter().map(|(at, peer)| (at.key("site"), &peer.site));
    check_differ(document, "site", own.into_iter().chain(theirs));
}

fn check_folders(document: &Document<'_>, roots: &[(KeyPath, &Root)]) {
    for (index, (at, root)) in roots.iter().enumerate() {
        for (earlier_at, earlier) in roots.iter().take(index) {
            let relation = if root.directory == earlier.directory {
                "is the folder of"
            } else if root.directory.starts_with(&earlier.directory) {
                "lies inside the folder of"
            } else if earlier.directory.starts_with(&root.directory) {
                "holds the folder of"
            } else {
                continue;
            };
            let reason = Reason::new(format!(
                "{relation} root `{}` (`{earlier_at}`)",
                earlier.name
            ));
            let hint = "give each root a folder of its own";
            document.report(at.key("url"), reason.hint(hint));
        }
    }
}

/// Rucio deletes only what it has.
fn check_deleters(document: &Document<'_>, roots: &[(KeyPath, &Root)]) {
    for (at, root) in roots {
        if root.deleter == Deleter::Runsync {
            continue;
        }
        if root.rse.is_none() {
            let reason = Reason::new("is \"rucio\", and the root is no RSE");
            let hint = "name the `rse` that Rucio knows this root as";
            document.report(at.key("deleter"), reason.hint(hint));
        }
        if !document.has("rucio") {
            let reason = Reason::new("is \"rucio\", and the site has no Rucio");
            let hint = "add `[rucio]`, or leave `deleter` out";
            document.report(at.key("deleter"), reason.hint(hint));
        }
    }
}

/// What lies in a root is carried to other sites: no place for keys, nor for our own state.
fn check_outside_roots(
    document: &Document<'_>,
    own: &Own,
    registry: &RegistryBackend,
    roots: &[(KeyPath, &Root)],
    http: &Http,
) {
    let RegistryBackend::Sqlite { file } = registry;
    let site = KeyPath::of("site");
    let mut ours: Vec<(KeyPath, &Path)> = vec![
        (site.key("state_directory"), &own.state_directory),
        (site.key("signing_key_file"), &own.signing_key_file),
        (
            site.key("trusted_keys_directory"),
            &own.trusted_keys_directory,
        ),
        (KeyPath::of("registry").key("file"), file),
        (KeyPath::of("http").key("socket"), &http.socket),
    ];
    if let Some(tls) = &http.tls {
        let key = KeyPath::of("http").key("private_key_file");
        ours.push((key, &tls.private_key_file));
    }
    for (index, token) in http.tokens.iter().enumerate() {
        let key = KeyPath::of("http").key("token").index(index).key("file");
        ours.push((key, &token.file));
    }
    for (path, place) in ours {
        check_outside(document, path, place, roots);
    }
}

fn check_outside(document: &Document<'_>, path: KeyPath, place: &Path, roots: &[(KeyPath, &Root)]) {
    if let Some((_, root)) = roots
        .iter()
        .find(|(_, root)| place.starts_with(&root.directory))
    {
        let (place, name) = (place.display(), &root.name);
        let reason = format!("is {place}, inside the datastore root `{name}`");
        let hint = "what lies in a root may be carried to other sites: choose a folder outside";
        document.report(path, Reason::new(reason).hint(hint));
    }
}

/// A run must have one possible owner.
fn check_prefixes(document: &Document<'_>, own: &[RunPrefix], peers: &[(KeyPath, &Peer)]) {
    let site = KeyPath::of("site");
    let theirs = peers
        .iter()
        .map(|(at, peer)| (at, peer.run_prefixes.as_slice()));
    let owners: Vec<_> = std::iter::once((&site, own)).chain(theirs).collect();
    for (index, (at, prefixes)) in owners.iter().enumerate() {
        for (earlier_at, earlier) in owners.iter().take(index) {
            for (prefix, other) in overlaps(prefixes, earlier) {
                let other_key = earlier_at.key("run_prefixes");
                let reason = format!("holds `{prefix}`, which overlaps `{other}` of `{other_key}`");
                let hint = "a run may have one owner only: choose prefixes that exclude each other";
                document.report(at.key("run_prefixes"), Reason::new(reason).hint(hint));
            }
        }
    }
}

fn overlaps<'p>(
    later: &'p [RunPrefix],
    earlier: &'p [RunPrefix],
) -> impl Iterator<Item = (&'p RunPrefix, &'p RunPrefix)> {
    let pairs = later
        .iter()
        .flat_map(move |prefix| earlier.iter().map(move |other| (prefix, other)));
    pairs.filter(|(prefix, other)| prefix.overlaps(other))
}
