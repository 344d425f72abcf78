//! Messages that nobody can make anything of, with what is said of each.

use serde_json::json;

use crate::site::{RSE, arrival, message};

/// What is said, and the body. A site that reads at most 10 KiB is sent these.
pub(crate) fn poison() -> Vec<(&'static str, Vec<u8>)> {
    let good = String::from_utf8(arrival("u/run/x", RSE)).unwrap();
    let with = |key: &str, value: serde_json::Value| {
        let mut payload = json!({"scope": "cms", "name": "n", "dst-rse": RSE});
        payload[key] = value;
        message("transfer-done", &payload)
    };
    let mut latin = good.clone().into_bytes();
    latin[20] = 0xE9;
    let deep = format!("{}{}", "[".repeat(4000), "]".repeat(4000));
    let deep_payload = format!("{{\"event_type\":\"rule_ok\",\"payload\":{deep}}}");
    vec![
        ("EOF", vec![]),
        ("EOF", b"\n \n".to_vec()),
        ("no object", b"hello".to_vec()),
        ("no object", b"[]".to_vec()),
        ("no object", deep.into_bytes()),
        ("no object", deep_payload.into_bytes()),
        ("no object", b"\0\0\0".to_vec()),
        ("missing field", b"{}".to_vec()),
        ("EOF", good.as_bytes()[..good.len() / 2].to_vec()),
        ("trailing", [good.as_bytes(), b"}"].concat()),
        ("no UTF-8", latin),
        ("no UTF-8", (128..=255).collect()),
        (
            "invalid type",
            b"{\"event_type\": 7, \"payload\": {}}".to_vec(),
        ),
        (
            "duplicate",
            b"{\"event_type\":\"a\",\"event_type\":\"b\",\"payload\":{}}".to_vec(),
        ),
        ("no scope", with("scope", json!(null))),
        ("no name", with("name", json!(""))),
        ("invalid type", with("name", json!(["a"]))),
        ("control characters", with("name", json!("a\u{0}b"))),
        ("control characters", with("name", json!("\u{1b}[2J"))),
        ("no dst-rse", with("dst-rse", json!(null))),
        ("at most 2000", with("name", json!("n".repeat(3000)))),
        ("at most 250", with("scope", json!("s".repeat(300)))),
        ("at most 10240", with("padding", json!("p".repeat(20_000)))),
        ("at most 10240", vec![b'x'; 1_000_000]),
    ]
}
