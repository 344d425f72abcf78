//! The same way with something in it. Whatever it is, sites and Rucio end up as they do without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use harness::{Broker, Rucio};

use crate::World;
use crate::between::{Between, When};
use crate::carried::{Along, States, both_ways};
use crate::process::until;
use crate::proof::shown;
use crate::relay::{self, Relay};
use crate::rucio::ACCOUNT;
use crate::scene::{OFTEN, Reach, Scene, Way};
use crate::state::same;

/// A port of the loopback at which no broker is.
const NOBODY: u16 = 1;

/// What is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing: what the others are compared with.
    None,
    /// No message arrives.
    EventsLost,
    /// Each message comes twice, and in another order.
    EventsShuffled,
    /// Tokens expire at every moment.
    TokensExpire,
    /// The server is stopped, and started again once it has been asked in vain.
    ServerRestarted,
    /// Every third request is answered with 503, 500 or 429.
    ServerAnswersBadly,
    /// `kill -9` of the daemon at A, and then at B, at one of its requests in each step.
    SitesKilled,
}

impl Trouble {
    /// All that there is, the one without any first.
    pub(crate) const ALL: &'static [(&'static str, Self)] = &[
        ("nothing", Self::None),
        ("events lost", Self::EventsLost),
        ("events doubled and shuffled", Self::EventsShuffled),
        ("tokens expire", Self::TokensExpire),
        ("server restarted", Self::ServerRestarted),
        ("server answers 503, 500, 429", Self::ServerAnswersBadly),
        ("sites killed", Self::SitesKilled),
    ];

    /// Whether it keeps nobody waiting for long.
    pub(crate) fn is_quick(self) -> bool {
        match self {
            Self::None | Self::EventsShuffled | Self::TokensExpire | Self::SitesKilled => true,
            Self::EventsLost | Self::ServerRestarted | Self::ServerAnswersBadly => false,
        }
    }
}

/// A way with trouble in it.
struct Troubled {
    trouble: Trouble,
    name: String,
    server: Arc<Rucio>,
    /// The ways of A and of B to the server.
    between: [Between; 2],
    /// Requests that were answered in the server's place.
    disturbed: Arc<AtomicUsize>,
    requests: usize,
}

impl Along for Troubled {
    fn begin(&mut self, scene: &mut Scene) {
        match self.trouble {
            Trouble::ServerRestarted => {
                self.server.stop_server().unwrap();
                self.requests = self.asked();
            }
            Trouble::SitesKilled => {
                let [a, b] = &self.between;
                a.kill_process(scene.a.id(), 3, When::After);
                b.kill_process(scene.b.id(), 2, When::Before);
            }
            Trouble::None
            | Trouble::EventsLost
            | Trouble::EventsShuffled
            | Trouble::TokensExpire
            | Trouble::ServerAnswersBadly => {}
        }
    }

    fn ordered(&mut self) {
        if self.trouble == Trouble::ServerRestarted {
            until("somebody asks in vain", || self.asked() > self.requests + 1);
            self.server.restart_server().unwrap();
        }
    }

    fn end(&mut self, step: &'static str, outcome: &'static str) {
        if self.trouble != Trouble::None {
            shown(&format!("{}: {step}", self.name), outcome);
        }
    }
}

impl Troubled {
    fn new(server: &Arc<Rucio>, name: String, trouble: Trouble) -> Self {
        let disturbed = Arc::new(AtomicUsize::new(0));
        let between = [(); 2].map(|()| Between::new(server.port()));
        if trouble == Trouble::ServerAnswersBadly {
            for way in &between {
                let count = Arc::clone(&disturbed);
                let mut asked = 0_usize;
                way.answer_instead(move |_| {
                    asked += 1;
                    let answer = bad_answer(asked)?;
                    count.fetch_add(1, Ordering::Relaxed);
                    Some(answer)
                });
            }
        }
        Self {
            trouble,
            name,
            server: Arc::clone(server),
            between,
            disturbed,
            requests: 0,
        }
    }

    fn asked(&self) -> usize {
        self.between.iter().map(|way| way.asked().len()).sum()
    }

    fn reach(&self) -> Reach {
        let straight = Reach::straight(&self.server);
        let urls = self.between.each_ref().map(Between::url);
        let is_troubled = self.trouble != Trouble::None;
        let reach = Reach {
            urls,
            is_troubled,
            ..straight
        };
        match self.trouble {
            Trouble::EventsLost => Reach {
                broker: (NOBODY, Broker::DESTINATION.to_owned()),
                schedule: OFTEN,
                ..reach
            },
            Trouble::EventsShuffled => Reach {
                broker: (reach.broker.0, relay::DESTINATION.to_owned()),
                ..reach
            },
            Trouble::SitesKilled => Reach {
                schedule: OFTEN,
                ..reach
            },
            Trouble::None
            | Trouble::TokensExpire
            | Trouble::ServerRestarted
            | Trouble::ServerAnswersBadly => reach,
        }
    }
}

fn bad_answer(asked: usize) -> Option<&'static str> {
    match asked % 9 {
        2 => Some(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        5 => Some(
            "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        8 => Some(
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        _ => None,
    }
}

/// Expires all tokens of the sites' account, again and again, until it is stopped.
struct Expiry {
    stopping: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Expiry {
    fn start(server: &Arc<Rucio>) -> Self {
        let (server, stopping) = (Arc::clone(server), Arc::new(AtomicBool::new(false)));
        let stop = Arc::clone(&stopping);
        let thread = std::thread::spawn(move || {
            let sql = format!(
                "with expired as (update tokens set expired_at = now() - interval '1 day' \
                 where account = '{ACCOUNT}' and expired_at > now() at time zone 'utc' returning 1) \
                 select count(*) from expired"
            );
            let mut expired: u64 = 0;
            while !stop.load(Ordering::Relaxed) {
                let count = server.sql(&sql).unwrap().concat().concat();
                expired += count.parse::<u64>().unwrap();
            }
            expired
        });
        Self { stopping, thread }
    }

    fn stop(self) -> u64 {
        self.stopping.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Goes a way with trouble in it, and compares how it ends.
pub(crate) fn go(
    world: &World,
    way: Way,
    (name, trouble): (&str, Trouble),
    expected: Option<&States>,
) -> States {
    let server = &world.server;
    let mut troubled = Troubled::new(server, format!("{}: {name}", way.name), trouble);
    // Rucio's names of scopes have at most 25 characters.
    let initials: String = (way.name.split(' '))
        .filter_map(|word| word.chars().next())
        .collect();
    let short = format!("{initials} T{}", trouble as u8);
    let relay =
        (trouble == Trouble::EventsShuffled).then(|| Relay::start(server.broker().unwrap()));
    let expiry = (trouble == Trouble::TokensExpire).then(|| Expiry::start(server));
    let mut scene = Scene::new(world, &short, way, &troubled.reach());
    let run = format!("u/e2e/{}", short.replace(' ', "-").to_lowercase());
    let states = both_ways(server, &mut scene, &run, &mut troubled);
    if let Some(relay) = relay {
        assert!(relay.stop() > 0, "nothing was told");
    }
    if let Some(expiry) = expiry {
        assert!(expiry.stop() > 1, "no token was in use");
    }
    if trouble == Trouble::ServerAnswersBadly {
        assert!(troubled.disturbed.load(Ordering::Relaxed) > 8);
    }
    if trouble == Trouble::SitesKilled {
        let starts = (scene.a.starts, scene.b.starts);
        assert!(starts.0 > 3 && starts.1 > 2, "{starts:?}");
    }
    scene.stop();
    if let Some(expected) = expected {
        for ((when, found), (_, expected)) in states.0.iter().zip(&expected.0) {
            same(&format!("{name}: {when}"), found, expected);
        }
        shown(
            &format!("{}: {name}: how it ends", way.name),
            "records, files and all of Rucio's tables as without it",
        );
    }
    states
}
