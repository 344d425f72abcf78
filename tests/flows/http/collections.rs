//! Collections over HTTP, and whose they are.

use super::*;

fn change(name: &str, body: &Value) -> Request {
    let at = format!("/v1/collections/{}", name.replace('/', "%2F"));
    Request::post(&at).json(body)
}

#[test]
fn a_chain_is_purged_by_its_owner_and_root_alone() {
    assert!(rustix::process::geteuid().is_root(), "{NEEDS_ROOT}");
    let site = site("operators = [\"nobody\", \"daemon\"]");
    let daemon = Daemon::start(&site);
    let socket = socket(&site);
    let (root, nobody, other) = (0, 65_534, 1);
    let post = |uid, path: &str, body: &Value| {
        let request = Request::post(path).json(body);
        as_user(uid, || request.at(&socket))
    };
    for chain in ["u/c", "u/d"] {
        let body = json!({"change": "chain", "members": [], "how": "set"});
        let made = as_user(nobody, || change(chain, &body).at(&socket));
        assert_eq!(made.status, 200);
    }
    let purge = |uid, chain: &str| {
        let request = json!({"operation": "purge", "chain": chain});
        let plan: Value = post(uid, "/v1/removals/plan", &request).json();
        let body = json!({"request": request, "consent": {"plan": plan["id"]}});
        post(uid, "/v1/removals", &body)
    };
    let refused = purge(other, "u/c").problem(403);
    assert_eq!(refused["detail"], "`u/c` is owned by nobody");
    assert_eq!(purge(nobody, "u/c").status, 200);
    assert_eq!(purge(root, "u/d").status, 200);
    daemon.until("both are gone", || {
        Request::get("/v1/collections")
            .at(&socket)
            .lines()
            .is_empty()
    });
    for (request, status) in [
        (json!({"operation": "purge", "chain": "u/c"}), 404),
        (json!({"operation": "purge", "runs": ["u/c"]}), 422),
        (json!({"operation": "cleanup"}), 422),
        (json!({"operation": "remove-runs", "chain": "u/c"}), 422),
    ] {
        post(root, "/v1/removals/plan", &request).problem(status);
    }
    daemon.stop();
}

#[test]
fn an_account_changes_what_it_owns_and_root_all() {
    assert!(rustix::process::geteuid().is_root(), "{NEEDS_ROOT}");
    let site = site("operators = [\"nobody\", \"daemon\"]");
    let daemon = Daemon::start(&site);
    let socket = socket(&site);
    let (root, nobody, other) = (0, 65_534, 1);
    let ask = |uid, name: &str, body: Value| {
        let request = change(name, &body);
        as_user(uid, || request.at(&socket))
    };
    let chain = |how: &str| json!({"change": "chain", "members": [], "how": how});
    let made = ask(nobody, "u/c", chain("set"));
    assert_eq!(made.status, 200);
    for (name, body) in [("u/c", json!({"change": "hide"})), ("u/c", chain("extend"))] {
        let refused = ask(other, name, body).problem(403);
        assert_eq!(refused["detail"], "`u/c` is owned by nobody");
    }
    assert_eq!(ask(nobody, "u/c", json!({"change": "hide"})).status, 200);
    assert_eq!(ask(root, "u/c", json!({"change": "unhide"})).status, 200);
    ask(root, "u/none", json!({"change": "hide"})).problem(404);
    ask(
        root,
        "u/c",
        json!({"change": "chain", "members": ["u/none"], "how": "set"}),
    )
    .problem(404);
    ask(root, "u/c", json!({"change": "nonsense"})).problem(422);

    let listed: Vec<Value> = Request::get("/v1/collections").at(&socket).lines();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["owner"], "nobody");
    let asked: Vec<_> = Request::get("/v1/requests").at(&socket).lines();
    assert!(
        asked
            .iter()
            .any(|row| { row["what"] == "hide" && row["outcome"] == "`u/c` is owned by nobody" })
    );
    daemon.stop();
}
