//! `config check --online`: do Rucio and the brokers agree with what the configuration says of them?
//!
//! Asks only: nothing is registered, made or changed. Each thing that publishing needs is asked for
//! before the daemon needs it, and what is wrong is told at the key that says it.

use std::sync::Arc;

use runsync_config::problem::{KeyPath, Problem};
use runsync_config::root::Root;
use runsync_config::rucio::{Declare, Login, Rucio as Config, Rule};
use runsync_config::site::Site;
use runsync_manifest::name::RseName;

use crate::cli::failure::Failure;
use crate::clock::SystemClock;
use crate::events::{self, Checked, SourceError};
use crate::publish::place::Placing;
use crate::rucio::permissions::Act;
use crate::rucio::{Did, Patience, Rucio, RucioError};

/// Somebody waits for the answer.
const TRIES: u32 = 2;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<String>,
}

/// Asks Rucio.
pub(super) fn check(site: &Site) -> Found {
    let mut found = check_rucio(site);
    check_sources(site, &mut found);
    found
}

/// Whether each broker can be listened to.
fn check_sources(site: &Site, found: &mut Found) {
    for (index, config) in site.event_sources.iter().enumerate() {
        let key = KeyPath::of("event_source").index(index).key("brokers");
        let checked = match events::open(config, site.events.message_bytes_max) {
            Ok(source) => source.check(),
            Err(error) => vec![Checked {
                broker: config.name.clone(),
                found: Err(error),
            }],
        };
        for Checked {
            broker,
            found: listened,
        } in checked
        {
            match listened {
                Ok(()) => {
                    let name = &config.name;
                    let note = format!("source `{name}` can be listened to at {broker}");
                    found.notes.push(note);
                }
                // Told offline already.
                Err(SourceError::Secret { .. }) => {}
                Err(error) => {
                    let failure = Failure::from(error);
                    let hint = failure.hint_text().map(str::to_owned);
                    found.problems.push(Problem {
                        key: key.clone(),
                        line: None,
                        reason: format!("cannot be used: {}", failure.message()),
                        hint,
                    });
                }
            }
        }
    }
}

fn check_rucio(site: &Site) -> Found {
    let mut found = Found::default();
    let Some(config) = &site.rucio else {
        found
            .notes
            .push("there is no `[rucio]`: nothing was asked online".to_owned());
        return found;
    };
    let mut checking = Checking {
        site,
        config,
        known: Vec::new(),
        needs_quota: true,
        found,
    };
    checking.check_names();
    if checking.found.problems.is_empty() {
        checking.ask();
    }
    checking.found
}

struct Checking<'s> {
    site: &'s Site,
    config: &'s Config,
    /// RSEs of this site that Rucio knows.
    known: Vec<&'s RseName>,
    /// Whether rules of the account need quota.
    needs_quota: bool,
    found: Found,
}

impl<'s> Checking<'s> {
    fn report(&mut self, key: KeyPath, reason: String, hint: Option<String>) {
        self.found.problems.push(Problem {
            key,
            line: None,
            reason,
            hint,
        });
    }

    fn fail(&mut self, key: KeyPath, error: RucioError) {
        let failure = Failure::from(error);
        let hint = failure.hint_text().map(str::to_owned);
        self.report(key, failure.message(), hint);
    }

    /// The roots that are RSEs.
    fn rses(&self) -> Vec<(KeyPath, &'s Root, &'s RseName)> {
        let roots = self.site.roots.iter().enumerate();
        let rses = roots.filter_map(|(index, root)| {
            let key = KeyPath::of("root").index(index).key("rse");
            Some((key, root, root.rse.as_ref()?))
        });
        rses.collect()
    }

    /// Names that the server would refuse: nothing is sent for that.
    fn check_names(&mut self) {
        let schema = crate::rucio::Schema(self.config.schema);
        let key = KeyPath::of("rucio");
        let mut refused = vec![
            (
                key.key("account"),
                schema.check_account(&self.config.account),
            ),
            (
                key.key("scope"),
                schema.check_scope(self.config.scope.as_str()),
            ),
        ];
        for (key, _, rse) in self.rses() {
            refused.push((key, schema.check_rse(rse.as_str())));
        }
        for (key, checked) in refused {
            if let Err(refused) = checked {
                self.fail(key, RucioError::Name(refused));
            }
        }
    }

    fn ask(&mut self) {
        let patience = Patience {
            tries: TRIES,
            failures: u32::MAX,
            ..Patience::default()
        };
        let made = Rucio::with(self.config, patience, Arc::new(SystemClock));
        let rucio = match made {
            Ok(rucio) => rucio,
            Err(error) => return self.fail(KeyPath::of("rucio").key("ca_file"), error),
        };
        match rucio.version() {
            Ok(version) => {
                let (url, account) = (&self.config.url, &self.config.account);
                self.found
                    .notes
                    .push(format!("Rucio {version} at {url}, as account `{account}`"));
            }
            Err(error) => {
                let is_tls = matches!(error, RucioError::Tls { .. });
                let key = if is_tls && self.config.ca_file.is_some() {
                    "ca_file"
                } else {
                    "url"
                };
                return self.fail(KeyPath::of("rucio").key(key), error);
            }
        }
        if self.log_in(&rucio) {
            self.ask_about_rses(&rucio);
            self.ask_about_scope(&rucio);
            self.ask_about_permissions(&rucio);
            self.ask_about_rules(&rucio);
        }
    }

    /// Whether that goes; where it does not, whether it is the account alone.
    fn log_in(&mut self, rucio: &Rucio) -> bool {
        // The token may be refused only when it is used.
        let error = match rucio.log_in().and_then(|()| rucio.scopes()) {
            Ok(_) => return true,
            // Told offline already.
            Err(RucioError::Secret(_)) => return false,
            Err(error) => error,
        };
        let way = match &self.config.login {
            Login::Userpass { .. } => "userpass",
            Login::X509 { .. } => "x509",
            Login::Token { .. } => "token",
        };
        let key = KeyPath::of("rucio");
        let RucioError::Login { reason, .. } = &error else {
            self.fail(key.key(way), error);
            return false;
        };
        if let Ok(Some(account)) = rucio.default_account() {
            let wanted = &self.config.account;
            let reason = format!(
                "cannot be used: the login is good, and is not one of account `{wanted}`: {reason}"
            );
            let hint = format!(
                "name the account `{account}`, or have the identity added to `{wanted}`: `rucio account identity add`"
            );
            self.report(key.key("account"), reason, Some(hint));
            return false;
        }
        let hint = match self.config.login {
            Login::Userpass { .. } => "check `username`, what is in `password_file`, and `account`",
            Login::X509 { .. } => {
                "check the certificate, that it has not expired, and that its subject is an identity of the account"
            }
            Login::Token { .. } => {
                "see that something renews the token, and that its subject is an identity of the account"
            }
        };
        let reason = format!("cannot be used: {error}");
        self.report(key.key(way), reason, Some(hint.to_owned()));
        false
    }

    fn ask_about_rses(&mut self, rucio: &Rucio) {
        for (key, root, rse) in self.rses() {
            match rucio.rse(rse) {
                Ok(None) => {
                    let reason = format!("is unknown to Rucio: there is no RSE `{rse}`");
                    let hint = "name it as Rucio does: `rucio rse list`";
                    self.report(key, reason, Some(hint.to_owned()));
                }
                Ok(Some(known)) => {
                    self.known.push(rse);
                    if !known.availability_write {
                        let note = format!("RSE `{rse}` does not take writes at the moment");
                        self.found.notes.push(note);
                    }
                    // One such as artifacts have, and one such as manifests have.
                    let scope = &self.config.scope;
                    let dids = [
                        "u/check/artifact",
                        "runsync/manifests/check/1-1.manifest.jsonl",
                    ]
                    .map(|name| Did::new(scope, name));
                    let placed = Placing::find(rucio, root, rse)
                        .and_then(|mut placing| placing.probe(rucio, &dids));
                    if let Err(error) = placed {
                        let failure = Failure::from(error);
                        let hint = failure.hint_text().map(str::to_owned);
                        self.report(key, failure.message(), hint);
                    }
                }
                Err(error) => self.fail(key, error),
            }
        }
    }

    fn ask_about_scope(&mut self, rucio: &Rucio) {
        let key = KeyPath::of("rucio").key("scope");
        let scope = &self.config.scope;
        match rucio.scopes() {
            Ok(scopes) if scopes.contains(scope) => {}
            Ok(_) => {
                let reason = format!("is unknown to Rucio: there is no scope `{scope}`");
                let hint = "have it made: `rucio scope add`, by the account that is to own it";
                self.report(key, reason, Some(hint.to_owned()));
            }
            Err(error) => self.fail(key, error),
        }
    }

    fn ask_about_permissions(&mut self, rucio: &Rucio) {
        let (key, scope) = (KeyPath::of("rucio").key("account"), &self.config.scope);
        let mut acts = vec![
            ("make Rucio datasets", Act::AddDids(scope)),
            ("attach to Rucio datasets", Act::Attach(scope)),
            ("add rules", Act::AddRules(scope)),
        ];
        let rses = self.rses();
        acts.extend(
            rses.iter()
                .map(|(_, _, rse)| ("register replicas", Act::AddReplicas(rse))),
        );
        for (what, act) in acts {
            let hint = "ask Rucio's administrators: with the generic policy it needs the attribute `admin`";
            self.ask_about_permission(rucio, (&key, hint), what, act);
        }
        if self.config.sync.declare == Declare::Bad {
            let key = KeyPath::of("rucio").key("sync").key("declare");
            for (_, _, rse) in &rses {
                let what = format!("declare replicas at {rse} bad");
                let hint = "ask Rucio's administrators, or say `declare = \"suspicious\"`: with the generic policy only the account `root` may";
                self.ask_about_permission(rucio, (&key, hint), &what, Act::DeclareBad(rse));
            }
        }
    }

    fn ask_about_permission(
        &mut self,
        rucio: &Rucio,
        (key, hint): (&KeyPath, &str),
        what: &str,
        act: Act<'_>,
    ) {
        match rucio.denied(act) {
            Ok(Some(words)) => {
                let account = &self.config.account;
                let reason = format!("may not {what}: `{account}` is refused: {words}");
                self.report(key.clone(), reason, Some(hint.to_owned()));
            }
            // What is refused for another reason is told at the RSE or the scope.
            Ok(None) | Err(RucioError::Refused { .. }) => {}
            Err(error) => self.fail(key.clone(), error),
        }
    }

    fn ask_about_rules(&mut self, rucio: &Rucio) {
        match rucio.needs_quota() {
            Ok(needs_quota) => self.needs_quota = needs_quota,
            Err(error) => return self.fail(KeyPath::of("rucio").key("account"), error),
        }
        for (key, _, rse) in self.rses() {
            if self.known.contains(&rse) {
                self.ask_about_quota(rucio, &key, 1, std::slice::from_ref(rse));
            }
        }
        if let Some(expression) = &self.config.publish.control_rses {
            let key = KeyPath::of("rucio").key("publish").key("control_rses");
            if let Some(rses) = self.resolve(rucio, &key, expression) {
                let copies = u32::try_from(rses.len()).unwrap_or(u32::MAX);
                self.ask_about_quota(rucio, &key, copies, &rses);
            }
        }
        for (
            index,
            Rule {
                rse_expression,
                copies,
                ..
            },
        ) in self.config.rules.iter().enumerate()
        {
            let rule = KeyPath::of("rucio").key("rule").index(index);
            let key = rule.key("rse_expression");
            let Some(rses) = self.resolve(rucio, &key, rse_expression) else {
                continue;
            };
            if rses.len() < *copies as usize {
                let (there, key) = (rses.len(), rule.key("copies"));
                let reason = format!("is {copies}, and `{rse_expression}` means {there} RSEs");
                self.report(key, reason, Some("lower it, or name more RSEs".to_owned()));
                continue;
            }
            self.ask_about_quota(rucio, &key, *copies, &rses);
        }
    }

    /// The RSEs that an expression means; none where it means none, which is told.
    fn resolve(&mut self, rucio: &Rucio, key: &KeyPath, expression: &str) -> Option<Vec<RseName>> {
        match rucio.rses(expression) {
            Ok(rses) if rses.is_empty() => {
                let reason = format!("means no RSE: `{expression}`");
                let hint = "see `rucio rse list --rses EXPRESSION`";
                self.report(key.clone(), reason, Some(hint.to_owned()));
                None
            }
            Ok(rses) => Some(rses),
            Err(error) => {
                self.fail(key.clone(), error);
                None
            }
        }
    }

    /// Whether the account may hold data at as many of the RSEs as there are to be copies.
    fn ask_about_quota(&mut self, rucio: &Rucio, key: &KeyPath, copies: u32, rses: &[RseName]) {
        let (mut good, mut without) = (0, Vec::new());
        for rse in rses {
            match rucio.quota(rse) {
                Ok(Some(quota)) if quota.left() != Some(0) => good += 1,
                Ok(Some(_)) => without.push(format!("`{rse}` (used up)")),
                Ok(None) => without.push(format!("`{rse}` (none)")),
                Err(error) => return self.fail(key.clone(), error),
            }
        }
        // An RSE that is not there is told already.
        if good < copies as usize && !without.is_empty() {
            let account = &self.config.account;
            if !self.needs_quota {
                let rses = without.join(", ");
                self.found.notes.push(format!(
                    "{key}: no quota at {rses}; account `{account}` needs none as long as it has the attribute `admin`"
                ));
                return;
            }
            let reason = format!(
                "has no quota for account `{account}`: {}",
                without.join(", ")
            );
            let hint = "ask for it: `rucio account limit add`; rules need it even where the data is there already";
            self.report(key.clone(), reason, Some(hint.to_owned()));
        }
    }
}
