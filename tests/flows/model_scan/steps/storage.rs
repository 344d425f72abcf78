//! What happens to files behind everybody's back.

use std::fs;

use crate::model::Standing;
use crate::scene::bytes;
use crate::support::{artifact, rename};
use crate::world::World;

/// Where nobody's files come to lie, two of them spelled almost as artifacts are, and one being written.
const STRAYS: [&str; 8] = [
    "u/more/stray",
    "u/More/22",
    "u/test/run/C.fits",
    "u/test/run/a/x",
    "u/stray/1",
    "u/stray/2",
    "z/other.part",
    "z/stray",
];

impl World {
    fn claimed(&self) -> Vec<String> {
        self.model.claims.keys().cloned().collect()
    }

    pub(super) fn lose_one(&mut self) -> String {
        let all: Vec<String> = self.model.files.keys().cloned().collect();
        let Some(path) = self.one_of(&all) else {
            return "nothing to lose".to_owned();
        };
        self.lose(&path);
        self.tally.count("storage: lost");
        format!("lose {path}")
    }

    pub(super) fn spoil(&mut self) -> String {
        let all: Vec<String> = self.model.files.keys().cloned().collect();
        let Some(path) = self.one_of(&all) else {
            return "nothing to spoil".to_owned();
        };
        let size = if self.rng.bool() {
            50
        } else {
            self.rng.usize(1..60)
        };
        let wrong = artifact(1_000 + self.rng.u64(0..1_000), size);
        self.put(&path, &wrong);
        let how = if size == 50 {
            "same size"
        } else {
            "other size"
        };
        self.tally.count(format!("storage: spoiled, {how}"));
        format!("spoil {path}: {size} bytes")
    }

    pub(super) fn bring_right(&mut self) -> String {
        let wrong = self.claimed().into_iter();
        let wrong: Vec<String> = wrong.filter(|path| !self.model.is_right(path)).collect();
        // Now and then one that is right is replaced by the same bytes.
        let of = if self.chance(4) {
            self.claimed()
        } else {
            wrong
        };
        let Some(path) = self.one_of(&of) else {
            return "nothing to bring".to_owned();
        };
        self.put(&path, &bytes(&path));
        self.tally.count("storage: brought");
        format!("bring {path}")
    }

    pub(super) fn touch_one(&mut self) -> String {
        let all: Vec<String> = self.model.files.keys().cloned().collect();
        let Some(path) = self.one_of(&all) else {
            return "nothing to touch".to_owned();
        };
        self.touch(&path);
        self.tally.count("storage: touched");
        format!("touch {path}")
    }

    /// A disk forgets what it was given, or thinks of it again.
    pub(super) fn rot_one(&mut self) -> String {
        let fits = |path: &String| {
            let file = self.model.files.get(path);
            file.is_some_and(|file| file.bytes.len() == bytes(path).len())
        };
        let all: Vec<String> = self.claimed().into_iter().filter(fits).collect();
        let wrong = all.iter().filter(|path| !self.model.is_right(path));
        let wrong: Vec<String> = wrong.cloned().collect();
        let of = if self.chance(3) && !wrong.is_empty() {
            wrong
        } else {
            all
        };
        let Some(path) = self.one_of(&of) else {
            return "nothing to rot".to_owned();
        };
        if self.model.is_right(&path) {
            let wrong = artifact(1_000 + self.rng.u64(0..1_000), bytes(&path).len());
            self.rot(&path, &wrong);
            self.tally.count("storage: rotten");
            return format!("rot {path}");
        }
        self.rot(&path, &bytes(&path));
        self.tally.count("storage: right again in its place");
        format!("right again in its place: {path}")
    }

    /// Somebody has moved a file elsewhere, and left a link, which is not followed.
    pub(super) fn link_one(&mut self) -> String {
        let claimed = self.claimed().into_iter();
        let there: Vec<String> = claimed
            .filter(|path| self.model.files.contains_key(path))
            .collect();
        let Some(path) = self.one_of(&there) else {
            return "nothing to link".to_owned();
        };
        self.lose(&path);
        let link = self.site.root().join(&path);
        std::os::unix::fs::symlink("/nowhere", link).unwrap();
        self.model.see(&self.site.root(), &path);
        self.tally.count("storage: linked");
        format!("a link in the place of {path}")
    }

    pub(super) fn stray(&mut self) -> String {
        let at = self.rng.usize(0..STRAYS.len());
        let path = STRAYS[at];
        let size = self.rng.usize(1..60);
        let seed = self.rng.u64(0..1_000);
        self.put(path, &artifact(seed, size));
        self.tally.count("storage: strayed");
        format!("stray {path}")
    }

    /// A client that cares little for case and accents writes a name anew.
    pub(super) fn respell(&mut self) -> String {
        let (case, accent) = (
            |path: &str| {
                path.replace("c.fits", "C.fits")
                    .replace("more/22", "More/22")
            },
            |path: &str| path.replace('\u{e9}', "e\u{301}"),
        );
        let anew = |path: &String| {
            let other = accent(&case(path));
            let is_free = self.model.is_free(&other);
            (other != *path && is_free).then(|| (path.clone(), other))
        };
        let recorded = |path: &&String| self.model.standing(path) == Some(Standing::Recorded);
        let files = self.model.files.keys().filter(recorded);
        let found: Vec<(String, String)> = files.filter_map(anew).collect();
        if found.is_empty() {
            return "nothing to respell".to_owned();
        }
        let (path, other) = found[self.rng.usize(0..found.len())].clone();
        let root = self.site.root();
        let to = root.join(&other);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        rename(&root.join(&path), &to);
        self.model.see(&root, &path);
        self.model.see(&root, &other);
        self.tally.count("storage: respelled");
        format!("respell {path} as {other}")
    }
}
