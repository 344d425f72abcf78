//! What publishing would do: shown, and nothing is asked of Rucio.

use std::fmt;
use std::ops::ControlFlow;

use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::name::{RseName, RunName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::PublishError;
use super::flow::Publishing;
use super::names;
use super::rules;
use crate::ledger::record::PublicationState;
use crate::schema::GenerationSchema;

/// What would be registered in Rucio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublicationPlan {
    /// The runs, in the order asked.
    pub runs: Vec<RunPlan>,
    /// The Rucio dataset that gets the manifests.
    pub control: String,
    /// RSE expression of the sites that get them, beside this site's own RSE.
    pub control_rses: Option<String>,
}

/// What would be registered of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunPlan {
    /// The run.
    #[schema(value_type = String)]
    pub run: RunName,
    /// Its container.
    pub container: String,
    /// The rules of the container.
    pub rules: Vec<RulePlan>,
    /// Its manifests that are not published.
    pub instalments: Vec<InstalmentPlan>,
}

/// A rule that the container would get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RulePlan {
    /// Where.
    pub rse_expression: String,
    /// How many copies.
    pub copies: u32,
    /// For how many seconds; none: until it is ended.
    pub lifetime_seconds: Option<u64>,
}

/// What would be registered of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstalmentPlan {
    /// Its generation.
    #[schema(value_type = GenerationSchema)]
    pub generation: Generation,
    /// Its content.
    #[schema(value_type = String)]
    pub content: Content,
    /// The RSE.
    #[schema(value_type = String)]
    pub rse: RseName,
    /// The manifest's DID.
    pub manifest: String,
    /// The Rucio dataset that holds its artifacts; none where it names none.
    pub dataset: Option<String>,
    /// Artifacts, each once; of a snapshot also those that other instalments have, which it leaves out.
    pub files: u64,
    /// Sum of their sizes in bytes.
    pub bytes: u64,
}

impl Publishing {
    /// What publishing runs would do. Reads their manifests, and asks nothing of Rucio.
    ///
    /// # Errors
    ///
    /// Where one of the runs cannot be published.
    pub fn plan(
        &self,
        runs: &[RunName],
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<PublicationPlan, PublishError> {
        let config = self.rucio()?.config();
        let planned = runs.iter().map(|run| self.plan_run(run, progress));
        Ok(PublicationPlan {
            runs: planned.collect::<Result<_, _>>()?,
            control: names::control(&config.scope, self.ground.repository).to_string(),
            control_rses: config.publish.control_rses.clone(),
        })
    }

    fn plan_run(
        &self,
        name: &RunName,
        progress: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<RunPlan, PublishError> {
        let rucio = self.rucio()?;
        let run = self.own(name);
        let candidates = self.candidates(&run)?;
        if candidates.is_empty() {
            let run = name.clone();
            return Err(PublishError::NothingToPublish { run });
        }
        let known = self.ground.ledger.publications_of(&run)?;
        let mut scope = rucio.config().scope.clone();
        let (mut instalments, mut planned_rules) = (Vec::new(), Vec::new());
        for candidate in candidates {
            let is_done = known.iter().any(|known| {
                known.generation == candidate.generation && known.state != PublicationState::Ordered
            });
            if is_done {
                continue;
            }
            if candidate.content != Content::Removal {
                self.check_confirmed(&run)?;
            }
            let (root, rse) = self.rse_of(&candidate, &run)?;
            let read = self.read(root, &candidate, &run, &mut |_| progress());
            let (own_scope, artifacts) = read?;
            scope = own_scope;
            let container = names::container(&scope, &run);
            planned_rules = rules::of_run(rucio, name, &container, rse);
            let dataset = names::instalment(&scope, &run, candidate.generation);
            instalments.push(InstalmentPlan {
                generation: candidate.generation,
                content: candidate.content,
                rse: rse.clone(),
                manifest: format!("{scope}:{}", candidate.path),
                dataset: (artifacts.sum.files > 0).then(|| dataset.to_string()),
                files: artifacts.sum.files,
                bytes: artifacts.sum.bytes,
            });
        }
        let planned_rules = planned_rules.iter().map(|rule| RulePlan {
            rse_expression: rule.rse_expression.clone(),
            copies: rule.copies,
            lifetime_seconds: rule.lifetime.map(|lifetime| lifetime.as_secs()),
        });
        Ok(RunPlan {
            run: name.clone(),
            container: names::container(&scope, &run).to_string(),
            rules: planned_rules.collect(),
            instalments,
        })
    }
}

impl fmt::Display for PublicationPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for run in &self.runs {
            writeln!(f, "{}: container {}", run.run, run.container)?;
            for rule in &run.rules {
                write!(
                    f,
                    "  rule: {} at {}",
                    copies(rule.copies),
                    rule.rse_expression
                )?;
                match rule.lifetime_seconds {
                    Some(seconds) => writeln!(f, " for {seconds} s")?,
                    None => writeln!(f)?,
                }
            }
            if run.instalments.is_empty() {
                writeln!(f, "  everything of it is published")?;
            }
            for one in &run.instalments {
                // What other instalments have of a snapshot's is asked of Rucio, and left out.
                let most = match one.content {
                    Content::Snapshot => "at most ",
                    Content::Additions | Content::Removal | Content::Inventory => "",
                };
                writeln!(
                    f,
                    "  {} {}: {most}{} files, {} bytes, at {}",
                    one.content, one.generation, one.files, one.bytes, one.rse
                )?;
                if let Some(dataset) = &one.dataset {
                    writeln!(f, "    Rucio dataset {dataset}")?;
                }
                writeln!(f, "    manifest {}", one.manifest)?;
            }
        }
        write!(f, "manifests go into {}", self.control)?;
        if let Some(rses) = &self.control_rses {
            write!(f, ", and to {rses}")?;
        }
        Ok(())
    }
}

fn copies(copies: u32) -> String {
    if copies == 1 {
        "a copy".to_owned()
    } else {
        format!("{copies} copies")
    }
}
