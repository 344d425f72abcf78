//! Answers of many lines: whole, empty, and cut.

use runsync::rucio::dids::Content;
use runsync::rucio::{Did, RucioError};

use crate::front::{Front, Reply};
use crate::told::{Case, go_through, outcome};
use crate::way::client_of;

const LINE: &str = "{\"scope\": \"hsc\", \"name\": \"a\", \"type\": \"FILE\", \"bytes\": 7, \"adler32\": null, \"md5\": null}\n";

#[test]
fn a_stream_is_whole_or_an_error() {
    let (first, second) = LINE.split_at(30);
    let empty = Reply::new(200, &[("Content-Type", "application/x-json-stream")], "");
    let cases: Vec<Case<'_>> = vec![
        (
            "an empty stream",
            Box::new(|| read(Reply::stream(&[], true), 0, None)),
        ),
        ("an empty body", Box::new(|| read(empty, 0, None))),
        (
            "a line in two chunks",
            Box::new(|| read(Reply::stream(&[first, second], true), 1, None)),
        ),
        ("two lines, the last without its end", {
            Box::new(|| read(Reply::stream(&[LINE, LINE.trim_end()], true), 2, None))
        }),
        ("cut in the middle of a line", {
            Box::new(|| read(Reply::stream(&[LINE, first], false), 1, Some("Unknown")))
        }),
        ("cut between lines", {
            Box::new(|| read(Reply::stream(&[LINE, LINE], false), 2, Some("Unknown")))
        }),
        ("cut before its first line", {
            Box::new(|| read(Reply::stream(&[], false), 0, Some("Unknown")))
        }),
        ("half a line, and an end all the same", {
            Box::new(|| {
                read(
                    Reply::stream(&[LINE, first], true),
                    1,
                    Some("NotUnderstood"),
                )
            })
        }),
        ("a line that is none", {
            Box::new(|| {
                read(
                    Reply::stream(&[LINE, "<html>\n", LINE], true),
                    1,
                    Some("NotUnderstood"),
                )
            })
        }),
    ];
    go_through("lines", cases);
}

/// Reads a stream: so many lines, and then its end or an error, after which there is nothing.
fn read(reply: Reply, lines: usize, error: Option<&str>) -> String {
    let front = Front::script([reply]);
    let (_way, rucio) = client_of(&front);
    let did = Did::new(&"hsc".parse().unwrap(), "run");
    let mut read = 0;
    let mut ended: Option<RucioError> = None;
    let mut contents = rucio.contents(&did).unwrap();
    for content in contents.by_ref() {
        match content {
            Ok(Content { name, .. }) => {
                assert_eq!(name, "a");
                read += 1;
            }
            Err(error) => ended = Some(error),
        }
    }
    assert!(contents.next().is_none());
    let what = ended.as_ref().map(outcome);
    assert_eq!((read, what.as_deref()), (lines, error));
    assert_eq!(front.asked(), ["GET /dids/hsc/run/dids"]);
    let end = what.unwrap_or_else(|| "its end".to_owned());
    format!("{lines} lines, then {end}; 1 request")
}
