//! Reads hints, and sorts out which datasets of which runs may be adopted.

use std::ops::ControlFlow;

use runsync_config::adopt::Adopt;
use tracing::debug;

use super::desk::Desk;
use super::dimensions::Taking;
use super::error::AdoptError;
use super::flow::{Adopting, Place};
use super::gather::{Gathered, Groups, Stated};
use super::message::{self, What};
use super::place;
use super::set_aside::Why;
use crate::adopted;
use crate::telemetry::adopting::{self, Fate};

impl Adopting {
    /// Reads every hint; files of dimension records are taken at once.
    pub(super) fn sort(
        &self,
        config: &Adopt,
        desk: &mut Desk<'_>,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Groups, AdoptError> {
        let mut groups = Groups::new();
        for (index, hint) in desk.hints.iter().enumerate() {
            let mut places = self.places.iter().enumerate();
            let at = places.find(|(_, place)| hint.rse.as_ref() == Some(&place.rse));
            let Some((number, place)) = at else {
                debug!(
                    scope = hint.scope,
                    name = hint.name,
                    "file is of an RSE that is not adopted"
                );
                desk.has_arrived(index);
                continue;
            };
            let message = match message::read(hint.detail.as_deref().unwrap_or_default()) {
                Ok(message) => message,
                Err(error) => {
                    desk.set_aside(index, &place.rse, &Why::of(&error), &error.to_string());
                    continue;
                }
            };
            if let What::NeedsButler(what) = message.what {
                desk.set_aside(index, &place.rse, &Why::needs(what), what.as_str());
                continue;
            }
            let path = match place::path_in(place.flow.root(), &message.url) {
                Ok(path) => path,
                Err(error) => {
                    let reason = crate::error_chain::error_chain(&error);
                    desk.set_aside(index, &place.rse, &Why::Elsewhere, &reason);
                    continue;
                }
            };
            let stated = Stated::of(&message);
            match message.what {
                What::Product(product) => {
                    let one = Gathered {
                        index,
                        path,
                        message: stated,
                        product: *product,
                    };
                    if may_take(config, place, &one, desk) {
                        let key = (number, one.product.run.clone());
                        groups.entry(key).or_default().push(one);
                    }
                }
                What::Dimensions => {
                    let taking = self.take_dimensions(place, &path, stated, progress)?;
                    self.settle_dimensions(config, place, index, taking, (desk, progress))?;
                }
                What::NeedsButler(_) => {}
            }
        }
        Ok(groups)
    }

    fn settle_dimensions(
        &self,
        config: &Adopt,
        place: &Place,
        index: usize,
        taking: Taking,
        (desk, progress): (&mut Desk<'_>, &mut dyn FnMut() -> ControlFlow<()>),
    ) -> Result<(), AdoptError> {
        match taking {
            Taking::Taken(None) => adopting::message(&place.rse, Fate::Known),
            Taking::Taken(Some(path)) => {
                self.register(place, path)?;
                adopting::message(&place.rse, Fate::Adopted);
                if let Some(run) = place.dimensions_run() {
                    self.compact(config, place, &run, progress)?;
                }
            }
            Taking::NotYet(why) if desk.age(index) < config.dimension_patience => {
                debug!(rse = %place.rse, why, "file of dimension records is waited for");
                desk.put_off(index);
            }
            Taking::NotYet(why) | Taking::Wrong(why) => {
                desk.set_aside(index, &place.rse, &Why::Broken, &why);
            }
        }
        Ok(())
    }
}

/// Whether a dataset's run, and its place, may be adopted.
fn may_take(config: &Adopt, place: &Place, one: &Gathered, desk: &mut Desk<'_>) -> bool {
    let run = &one.product.run;
    if !config.takes_run(run) || run.as_str() == adopted::DIMENSIONS_RUN {
        let reason = format!("run `{run}` is not adopted here");
        desk.set_aside(one.index, &place.rse, &Why::Foreign, &reason);
        return false;
    }
    let trust = place.flow.site().trust();
    if let Some(prefix) = trust.foreign_prefix(run, one.path.as_str()) {
        let path = &one.path;
        let reason = format!("`{path}` lies below `{prefix}`, where run `{run}` is not");
        desk.set_aside(one.index, &place.rse, &Why::Foreign, &reason);
        return false;
    }
    true
}
