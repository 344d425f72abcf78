//! What is read and told, by example.

use insta::assert_snapshot;

use super::{Choice, Ingestd};
use crate::create::CreateError;

const FILE: &str = "\
# How it is now
brokers:
    - kafka:9092
    - kafka2
client_id: node1
group_id: \"my_test_group\"
num_messages: 100
timeout: 5
butler_repo: /tmp/repo
topics:
    XRD1-test:
        rucio_prefix: root://xrd1:1094//rucio
        fs_prefix: file:///rucio/disks/xrd1/rucio
    XRD1-raw:
        rucio_prefix: root://xrd1:1094//rucio/
        fs_prefix: /rucio/disks/xrd1/rucio/
    XRD2-test:
        rucio_prefix: root://xrd2:1095//rucio
        fs_prefix: file:///rucio/disks/xrd2/rucio
";

fn read(text: &str) -> Result<Ingestd, CreateError> {
    Ingestd::read("ingestd.yml", text.as_bytes(), &Choice::default())
}

fn told(from: &str, to: &str) -> String {
    assert!(FILE.contains(from), "{from}");
    read(&FILE.replacen(from, to, 1)).unwrap_err().to_string()
}

#[test]
fn a_configuration_of_today_is_told_in_ours() {
    let toml = read(FILE).unwrap().to_toml();
    assert_snapshot!(toml, @r#"
    # From ingestd.yml: parts of a site's configuration that take the same messages.
    # Sections with the same names and RSEs in your file are these: merge them.

    [[root]]
    # Any name; `runsync init` makes the root, and binds it to this site's registry.
    name = "xrd1"
    url = "file:///rucio/disks/xrd1/rucio"
    rse = "XRD1"
    pfn_prefix = "root://xrd1:1094//rucio/"

    [[root]]
    # Any name; `runsync init` makes the root, and binds it to this site's registry.
    name = "xrd2"
    url = "file:///rucio/disks/xrd2/rucio"
    rse = "XRD2"
    pfn_prefix = "root://xrd2:1095//rucio/"

    [adopt]
    rses = ["XRD1", "XRD2"]
    # Better name the runs that senders may bring: #run_prefixes = ["HSC/runs"]
    # Messages name no formatter. For what readers of your registry need one for:
    #[[adopt.formatter]]
    #storage_class = "ExposureF"
    #formatter = "lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter"

    [[event_source]]
    name = "kafka"
    kind = "kafka"
    brokers = ["kafka:9092", "kafka2:9092"]
    topics = ["XRD1-test", "XRD1-raw", "XRD2-test"]
    # As ctrl_ingestd speaks with them; take it away where the brokers have TLS.
    tls = false
    # A group of its own, beside `my_test_group`: both may run at a time, and what was dropped is read again.
    group = "my_test_group-runsync"
    from = "earliest"

    # Without a counterpart:
    # butler_repo = "/tmp/repo": datasets go into this site's registry
    # num_messages = 100: see `batch` here, and `batch_files` in [adopt]
    # timeout = 5: messages are taken as they come
    # client_id = "node1": the site's name is told
    "#);
}

#[test]
fn what_is_told_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("site.toml");
    let toml = read(FILE).unwrap().to_toml();
    let site = format!("[site]\nname = \"SITE_B\"\n{toml}");
    crate::durable::create_new(&file, site.as_bytes(), 0o600).unwrap();
    let site = runsync_config::load(&file).unwrap();
    assert_eq!(site.roots.len(), 2);
    assert_eq!(site.adopt.unwrap().rses.len(), 2);
    assert_eq!(site.event_sources.len(), 1);
}

#[test]
fn earlier_forms_mean_the_same() {
    let earlier = FILE
        .replace("    - kafka:9092\n    - kafka2\n", "")
        .replace("brokers:", "brokers: kafka:9092, kafka2")
        .replace("butler_repo:", "butler:\n    repo:")
        .replace("topics:", "rses:");
    assert_eq!(read(&earlier).unwrap(), read(FILE).unwrap());
    let address = FILE.replace("- kafka2", "- 127.0.0.1:9093");
    assert_eq!(read(&address).unwrap().brokers[1], "127.0.0.1:9093");
}

#[test]
fn an_operator_chooses_topics_and_names_their_rses() {
    let choice = Choice {
        topics: vec!["XRD2-test".to_owned()],
        rses: vec![("XRD2-test".to_owned(), "SITE_B_DISK".parse().unwrap())],
    };
    let chosen = Ingestd::read("x", FILE.as_bytes(), &choice).unwrap();
    let topics = chosen.topics.iter();
    let rses: Vec<_> = topics.map(|topic| topic.rse.as_str()).collect();
    assert_eq!(rses, ["SITE_B_DISK"]);
    let unknown = Choice {
        topics: vec!["XRD9".to_owned()],
        ..Choice::default()
    };
    let error = Ingestd::read("x", FILE.as_bytes(), &unknown).unwrap_err();
    assert_snapshot!(error, @"x, line 11, field `topics`: found no topic `XRD9`, expected each topic that was asked for");
}

#[test]
fn what_cannot_be_told_is_named_with_line_and_field() {
    let errors = [
        told("group_id: \"my_test_group\"\n", ""),
        told("timeout: 5", "timeout: soon"),
        told("timeout: 5", "sasl.password: hunter2"),
        told("    - kafka2", "    - user:hunter2@kafka2:1"),
        told("/tmp/repo", "[a, b]"),
        told("        fs_prefix: file:///rucio/disks/xrd2/rucio\n", ""),
        told("file:///rucio/disks/xrd2/rucio", "root://xrd2:1095//rucio"),
        told("file:///rucio/disks/xrd2/rucio", "file:///rucio/../x"),
        told(
            "root://xrd2:1095//rucio",
            "root://me:hunter2@xrd2:1095//rucio",
        ),
        told("XRD2-test", "XRD-2-test"),
        told("XRD2-test", "test"),
        told("XRD2-test", "XRD1-other"),
        told("topics:", "topics: []\nothers:"),
        told("# How it is now\n", "- "),
    ];
    let is_safe = |error: &String| !error.contains("hunter2");
    assert!(errors.iter().all(is_safe), "{errors:?}");
    assert_snapshot!(errors.join("\n"), @r"
    ingestd.yml, line 2, field `group_id`: is missing
    ingestd.yml, line 8, field `timeout`: found something else, expected a whole number above 0
    ingestd.yml, line 8, field `sasl.password`: found a key that ctrl_ingestd does not have, expected one of brokers, client_id, group_id, num_messages, timeout, butler_repo, butler, topics, rses
    ingestd.yml, line 4, field `brokers`: found something else, expected a host and a port, such as `kafka:9092`
    ingestd.yml, line 9, field `butler_repo`: found something else, expected text on one line
    ingestd.yml, line 18, field `topics.XRD2-test.fs_prefix`: found nothing, expected a folder of this machine, as `/data/rse` or `file:///data/rse`: this version serves no other roots
    ingestd.yml, line 19, field `topics.XRD2-test.fs_prefix`: found something else, expected a folder of this machine, as `/data/rse` or `file:///data/rse`: this version serves no other roots
    ingestd.yml, line 19, field `topics.XRD2-test.fs_prefix`: found something else, expected a folder of this machine, as `/data/rse` or `file:///data/rse`: this version serves no other roots
    ingestd.yml, line 18, field `topics.XRD2-test.rucio_prefix`: found something else, expected a URL without a user
    ingestd.yml, line 18, field `topics.XRD-2-test`: found a topic's name that several RSEs could begin, expected `--rse TOPIC=RSE`
    ingestd.yml, line 18, field `topics.test`: found no RSE in the topic's name, expected `--rse TOPIC=RSE`
    ingestd.yml, line 18, field `topics.XRD1-other`: found other prefixes than another topic of RSE `XRD1`, expected one folder for an RSE
    ingestd.yml, line 12, field `others`: found a key that ctrl_ingestd does not have, expected one of brokers, client_id, group_id, num_messages, timeout, butler_repo, butler, topics, rses
    ingestd.yml, line 4, column 1: while parsing a block collection, did not find expected '-' indicator
    ");
    assert!(read("").is_err() && read("a: 1\n---\nb: 1\n").is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(brokers|topics|: |\n|  |- |[a-z\"'{}\\[\\]&*]){0,40}") {
        drop(read(&text));
    }
}
