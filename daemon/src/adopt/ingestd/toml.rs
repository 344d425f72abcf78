//! Says in the words of a site's configuration what was read.

use super::read::{Ingestd, Topic};

impl Ingestd {
    /// The roots, each once, in the order of their topics.
    fn roots(&self) -> Vec<&Topic> {
        let mut roots: Vec<&Topic> = Vec::new();
        for topic in &self.topics {
            if !roots.iter().any(|root| root.rse == topic.rse) {
                roots.push(topic);
            }
        }
        roots
    }

    /// The parts of a site's configuration that say the same, as TOML with comments.
    pub fn to_toml(&self) -> String {
        let roots = self.roots();
        let mut lines = vec![
            format!(
                "# From {}: parts of a site's configuration that take the same messages.",
                one_line(&self.file)
            ),
            "# Sections with the same names and RSEs in your file are these: merge them."
                .to_owned(),
        ];
        for root in &roots {
            lines.extend([
                String::new(),
                "[[root]]".to_owned(),
                "# Any name; `runsync init` makes the root, and binds it to this site's registry."
                    .to_owned(),
                format!("name = {}", quoted(root.root.as_str())),
                format!("url = {}", quoted(&format!("file://{}", root.folder))),
                format!("rse = {}", quoted(root.rse.as_str())),
                format!("pfn_prefix = {}", quoted(&root.rucio_prefix)),
            ]);
        }
        let rses: Vec<String> = roots.iter().map(|root| quoted(root.rse.as_str())).collect();
        lines.extend([
            String::new(),
            "[adopt]".to_owned(),
            format!("rses = [{}]", rses.join(", ")),
            "# Better name the runs that senders may bring: #run_prefixes = [\"HSC/runs\"]".to_owned(),
            "# Messages name no formatter. For what readers of your registry need one for:".to_owned(),
            "#[[adopt.formatter]]".to_owned(),
            "#storage_class = \"ExposureF\"".to_owned(),
            "#formatter = \"lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter\"".to_owned(),
            String::new(),
            "[[event_source]]".to_owned(),
            "name = \"kafka\"".to_owned(),
            "kind = \"kafka\"".to_owned(),
            format!("brokers = [{}]", list(&self.brokers)),
            format!("topics = [{}]", list(self.topics.iter().map(|topic| &topic.name))),
            "# As ctrl_ingestd speaks with them; take it away where the brokers have TLS.".to_owned(),
            "tls = false".to_owned(),
            format!(
                "# A group of its own, beside `{}`: both may run at a time, and what was dropped is read again.",
                one_line(&self.group_id)
            ),
            format!("group = {}", quoted(&self.group())),
            "from = \"earliest\"".to_owned(),
            String::new(),
            "# Without a counterpart:".to_owned(),
            format!("# butler_repo = {}: datasets go into this site's registry", quoted(&self.butler_repo)),
            format!("# num_messages = {}: see `batch` here, and `batch_files` in [adopt]", self.num_messages),
            format!("# timeout = {}: messages are taken as they come", self.timeout),
        ]);
        if let Some(client_id) = &self.client_id {
            lines.push(format!(
                "# client_id = {}: the site's name is told",
                quoted(client_id)
            ));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// A consumer group that has read nothing yet.
    fn group(&self) -> String {
        let good = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let group = self.group_id.chars().map(|c| if good(c) { c } else { '_' });
        let group: String = group.take(180).collect();
        format!("{group}-runsync")
    }
}

fn list<'t>(texts: impl IntoIterator<Item = &'t String>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(|text| quoted(text)).collect();
    quoted.join(", ")
}

/// A text as TOML has it, on one line.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A text that ends no comment.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
