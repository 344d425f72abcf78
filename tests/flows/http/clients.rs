//! Clients that do not behave, and daemons that come and go under those that do.

use super::*;

/// Whether a request is answered at once.
fn is_quick(socket: &Path) -> bool {
    let begin = Instant::now();
    let answer = Request::post("/v1/exists")
        .body("text/plain", uuid(1))
        .at(socket);
    answer.status == 200 && begin.elapsed() < Duration::from_secs(5)
}

#[test]
fn clients_that_are_slow_or_stop_half_way_hold_up_nobody_and_are_cut_off() {
    let site = site(
        "header_timeout = \"1s\"\nstall_timeout = \"1s\"\nconcurrent_requests_max = 2\nconnections_max = 200",
    );
    site.place(&manifest(&site, RUN, 20_000));
    let daemon = Daemon::start(&site);
    let seen = site.watch();
    daemon.until("it is registered", || {
        seen.run(RUN).is_some_and(|run| run.claims == 20_000)
    });
    let socket = socket(&site);
    let request = Request::post("/v1/exists").body("text/plain", uuid(1));
    let head = request.head();

    let begin = |text: &str| {
        let mut stream = connect(&socket);
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    // Nothing at all; half a head; a head without its body; a body that stops.
    let silent: Vec<_> = (0..10).map(|_| begin("")).collect();
    let half_heads: Vec<_> = (0..10).map(|_| begin(&head[..head.len() / 2])).collect();
    let bodiless: Vec<_> = (0..10).map(|_| begin(&head)).collect();
    let half_bodies: Vec<_> = (0..10).map(|_| begin(&format!("{head}0000"))).collect();
    // Answers of some ten megabytes that nobody reads.
    let uuids: String = (1..=20_000_u128)
        .map(|number| uuid(number) + "\n")
        .collect();
    let large = Request::post("/v1/exists").body("text/plain", &uuids);
    let deaf: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = begin(&large.head());
            stream.write_all(uuids.as_bytes()).unwrap();
            stream
        })
        .collect();
    daemon.until("others are answered at once", || is_quick(&socket));

    for mut stream in silent.into_iter().chain(half_heads) {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"),
            "{answer:?}"
        );
    }
    for stream in bodiless.into_iter().chain(half_bodies) {
        http::read(stream).problem(408);
    }
    // Nobody reads for longer than the daemon waits: it cuts these off, in the middle of an answer.
    daemon.until("the deaf are cut off", || {
        let metrics = metrics(&Request::get("/metrics").at(&socket).text());
        metrics["runsync_http_connections{socket=\"unix\"}"] <= 1.0
    });
    let cut = deaf.into_iter().map(http::read).filter(|answer| {
        // On a busy machine some are told to come again.
        assert!(answer.status == 429 || !answer.whole, "{}", answer.text());
        answer.status == 200
    });
    assert!(cut.count() > 0);
    assert!(is_quick(&socket));
    daemon.stop();
}

#[test]
fn whoever_fills_one_socket_keeps_nobody_from_the_other() {
    let site = site_with_tcp("connections_max = 4");
    let daemon = Daemon::start(&site);
    let address = address(&daemon);
    let filling: Vec<_> = (0..8).map(|_| tcp(&address)).collect();
    assert!(is_quick(&socket(&site)));
    drop(filling);
    daemon.until("others are served again", || {
        let mut stream = tcp(&address);
        let request = Request::get("/healthz");
        stream.write_all(request.head().as_bytes()).unwrap();
        let mut answer = Vec::new();
        // Those that were filling it may not have been noticed to be gone.
        drop(stream.read_to_end(&mut answer));
        answer.starts_with(b"HTTP/1.1 200")
    });
    daemon.stop();
}

#[test]
fn a_second_daemon_is_told_who_holds_the_socket() {
    let site = site("");
    let first = Daemon::start(&site);
    let other = TestSite::new("size");
    let http = format!("[http]\nsocket = \"{}\"", socket(&site).display());
    other.configure_daemon("size", "", &http);
    let mut second = Daemon::spawn(&mut other.command(&["daemon"]))
        .expecting("another daemon does")
        .expecting("`socket` of its own");
    assert_eq!(second.wait().code(), Some(1));
    assert!(
        second.log().contains("`socket` of its own"),
        "{}",
        second.log()
    );
    assert_eq!(Request::get("/healthz").at(&socket(&site)).status, 200);

    // A daemon that was killed leaves its socket behind; the next one takes the place.
    second = Daemon::spawn(&mut other.command(&["status"]));
    second.wait();
    first.kill();
    assert!(socket(&site).try_exists().unwrap());
    let next = Daemon::start(&site);
    assert_eq!(Request::get("/healthz").at(&socket(&site)).status, 200);
    next.stop();
}

#[test]
fn a_request_at_hand_is_answered_when_the_daemon_stops() {
    let site = site("");
    let daemon = Daemon::start(&site);
    let request = Request::post("/v1/exists").body("text/plain", uuid(1));
    let mut stream = connect(&socket(&site));
    stream.write_all(request.head().as_bytes()).unwrap();
    daemon.until("the request is at hand", || {
        let scraped = metrics(&Request::get("/metrics").at(&socket(&site)).text());
        scraped["runsync_http_requests_in_flight"] >= 2.0
    });
    daemon.signal(Signal::TERM);
    daemon.until_logged("stopping", 0);
    stream.write_all(uuid(1).as_bytes()).unwrap();
    assert_eq!(http::read(stream).lines().len(), 1);
    assert!(holds_within(Duration::from_secs(60), || !socket(&site)
        .try_exists()
        .unwrap()));
}

#[test]
fn no_user_takes_all_connections_of_the_socket() {
    assert!(rustix::process::geteuid().is_root(), "{NEEDS_ROOT}");
    let site = site("connections_max = 8\nheader_timeout = \"1h\"");
    let daemon = Daemon::start(&site);
    let socket = socket(&site);
    let mut filling: Vec<_> = as_user(65_534, || (0..12).map(|_| connect(&socket)).collect());
    assert!(is_quick(&socket));
    // Those beyond its share are closed.
    let mut closed = 0;
    for stream in &mut filling[4..] {
        closed += usize::from(stream.read(&mut [0]).is_ok_and(|read| read == 0));
    }
    assert_eq!(closed, 8);
    daemon.stop();
}

#[test]
fn whoever_guesses_paths_is_counted() {
    let site = site("requests_per_second = 5");
    let daemon = Daemon::start(&site);
    for request in [
        Request::get("/v1/nothing"),
        Request::new("DELETE", "/v1/exists"),
    ] {
        daemon.until("it is told to come later", || {
            request.at(&socket(&site)).status == 429
        });
    }
    daemon.stop();
}
