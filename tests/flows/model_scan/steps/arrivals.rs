//! Runs arrive: files and manifests, in any order, whole and in part.

use std::fs;

use runsync_manifest::content::Content;

use crate::model::{Claim, Coming, Model, Run, Standing};
use crate::scene::bytes;
use crate::support::{Manifest, entry, write};
use crate::world::World;

fn manifest(world: &World, coming: &Coming) -> Manifest {
    let entries = (1_u32..).zip(&coming.paths).map(|(at, path)| {
        let number = coming.first + at;
        entry(number.into(), at.into(), 0, path, &bytes(path))
    });
    let origin = world.site.repository;
    Manifest::new(origin, &coming.run, "1-1", Content::Additions)
        .with_entries(entries.collect::<Vec<_>>())
}

impl World {
    /// Files of a run that nobody has told of.
    pub(super) fn files_come(&mut self) -> String {
        if self.announced.is_empty() || self.chance(3) {
            self.runs += 1;
            let run = format!("u/new-{}", self.runs);
            let paths = ["1", "2", "caf\u{e9}"].map(|name| format!("{run}/{name}"));
            self.announced.push(Coming {
                run,
                first: 1_000 + self.runs * 10,
                paths: paths.to_vec(),
                torn: false,
            });
        }
        let coming = self.announced.last().unwrap().clone();
        let paths = coming.paths.into_iter().filter(|_| self.rng.bool());
        let paths: Vec<String> = paths.collect();
        for path in &paths {
            self.put(path, &bytes(path));
        }
        self.tally.count("arrivals: files before their manifest");
        format!("files come: {paths:?}")
    }

    /// The manifest of a run comes, whole or so far.
    pub(crate) fn manifest_comes(&mut self) -> String {
        let torn = self.model.coming.iter().position(|coming| coming.torn);
        let (mut coming, is_whole) = if let Some(at) = torn {
            (self.model.coming.remove(at), true)
        } else if let Some(coming) = self.announced.pop() {
            (coming, !self.chance(3))
        } else {
            return self.files_come();
        };
        let manifest = manifest(self, &coming);
        let path = self.site.place(&manifest);
        if !is_whole {
            let whole = fs::read(&path).unwrap();
            write(&path, &whole[..whole.len() / 2]);
        }
        coming.torn = !is_whole;
        let told = format!("manifest of {}: whole: {is_whole}", coming.run);
        let case = if is_whole { "whole" } else { "torn" };
        self.tally.count(format!("arrivals: manifest, {case}"));
        self.model.coming.push(coming);
        told
    }

    /// Registers what has come.
    pub(crate) fn work(&mut self) -> String {
        self.open().work();
        let now = self.now();
        self.model.sweep(now);
        let coming = std::mem::take(&mut self.model.coming).into_iter();
        let (torn, whole): (Vec<_>, Vec<_>) = coming.partition(|coming| coming.torn);
        self.model.coming = torn;
        for coming in whole {
            self.tally.count("arrivals: registered");
            register(&mut self.model, &coming);
        }
        "work".to_owned()
    }

    pub(crate) fn confirm(&mut self) -> String {
        self.open().confirm();
        let before = self.model.recorded().count();
        self.model.confirm();
        let more = self.model.recorded().count() - before;
        self.tally.add("arrivals: confirmed", more as u64);
        "confirm".to_owned()
    }
}

fn register(model: &mut Model, coming: &Coming) {
    model.runs.insert(coming.run.clone(), Run { wanted: true });
    for (at, path) in (1..).zip(&coming.paths) {
        let claim = Claim {
            number: u128::from(coming.first) + at,
            run: coming.run.clone(),
            standing: Standing::Awaited,
        };
        model.claims.insert(path.clone(), claim);
    }
}
