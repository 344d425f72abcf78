//! Stands between a command and the real server: counts what is asked, and acts at one request.

#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test support, of which each target uses a part"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::until;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// When, at a request, something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Before the server hears of it.
    Before,
    /// Once the server has answered, and before the answer goes on.
    After,
}

/// What is done at a request; true where whoever asked is gone, and the request with it.
type Act = Box<dyn FnOnce(Option<&mut Child>) -> bool + Send>;

#[derive(Default)]
struct Plan {
    asked: Vec<String>,
    at: Option<(usize, When, Act)>,
    child: Option<Child>,
}

/// What is answered in the server's place to a request of that number; none: what the server answers.
type Instead = Box<dyn FnMut(usize) -> Option<&'static str> + Send>;

struct Shared {
    real: u16,
    plan: Mutex<Plan>,
    instead: Mutex<Option<Instead>>,
    is_over: AtomicBool,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
    /// The requests: method and path, logins too.
    pub(crate) asked: Vec<String>,
}

/// The way to the server. Dropped, it is gone.
pub(crate) struct Between {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Between {
    /// A way to the server on that port.
    pub(crate) fn new(real: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            real,
            plan: Mutex::default(),
            instead: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let accepted = Arc::clone(&shared);
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if accepted.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, shared) = (stream.unwrap(), Arc::clone(&accepted));
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self {
            port,
            shared,
            accepting: Some(accepting),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, command: &mut Command) -> Ended {
        self.run_with(command, None)
    }

    /// Runs a command, and kills it (`kill -9`) at the request of that number, which counts from 1.
    pub(crate) fn kill(&self, command: &mut Command, number: usize, when: When) -> Ended {
        let kill: Act = Box::new(|child| {
            let child = child.unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            true
        });
        self.run_with(command, Some((number, when, kill)))
    }

    /// Runs a command, and does something at a request.
    pub(crate) fn act(
        &self,
        command: &mut Command,
        (number, when): (usize, When),
        act: impl FnOnce() + Send + 'static,
    ) -> Ended {
        let act: Act = Box::new(|_| {
            act();
            false
        });
        self.run_with(command, Some((number, when, act)))
    }

    /// Kills a process (`kill -9`) at the request of that number from now on.
    pub(crate) fn kill_process(&self, id: u32, number: usize, when: When) {
        let kill: Act = Box::new(move |_| {
            let process = Pid::from_raw(id.try_into().unwrap()).unwrap();
            kill_process(process, Signal::KILL).unwrap();
            until("it is killed", || {
                let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
                let stat = stat.unwrap_or_default();
                stat.rsplit_once(") ")
                    .is_none_or(|(_, state)| state.starts_with('Z'))
            });
            true
        });
        *self.shared.plan.lock().unwrap() = Plan {
            at: Some((number, when, kill)),
            ..Plan::default()
        };
    }

    /// Does something at the request of that number from now on, whoever sends it.
    pub(crate) fn act_at(
        &self,
        (number, when): (usize, When),
        act: impl FnOnce() + Send + 'static,
    ) {
        let act: Act = Box::new(|_| {
            act();
            false
        });
        *self.shared.plan.lock().unwrap() = Plan {
            at: Some((number, when, act)),
            ..Plan::default()
        };
    }

    /// From now on some requests are answered here, and the server does not hear of them.
    pub(crate) fn answer_instead(
        &self,
        instead: impl FnMut(usize) -> Option<&'static str> + Send + 'static,
    ) {
        *self.shared.instead.lock().unwrap() = Some(Box::new(instead));
    }

    /// What was asked since the last command began.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.plan.lock().unwrap().asked.clone()
    }

    fn run_with(&self, command: &mut Command, at: Option<(usize, When, Act)>) -> Ended {
        let mut stderr = {
            let mut plan = self.shared.plan.lock().unwrap();
            let child = command.stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child = child.spawn().unwrap();
            let stderr = child.stderr.take().unwrap();
            *plan = Plan {
                asked: Vec::new(),
                at,
                child: Some(child),
            };
            stderr
        };
        let mut said = String::new();
        stderr.read_to_string(&mut said).unwrap();
        let mut plan = self.shared.plan.lock().unwrap();
        Ended {
            status: plan.child.take().unwrap().wait().unwrap(),
            stderr: said,
            asked: std::mem::take(&mut plan.asked),
        }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        TcpStream::connect(("127.0.0.1", self.port)).ok();
        self.accepting.take().unwrap().join().ok();
    }
}

impl Shared {
    /// One request of one connection. A client that is gone is no matter.
    fn serve(&self, mut stream: TcpStream) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let Some((head, body)) = read(&mut stream) else {
            return;
        };
        let number = {
            let mut plan = self.plan.lock().unwrap();
            let words: Vec<&str> = head.split(' ').take(2).collect();
            plan.asked.push(words.join(" "));
            plan.asked.len()
        };
        if self.act(number, When::Before) {
            return;
        }
        let instead = {
            let mut instead = self.instead.lock().unwrap();
            instead.as_mut().and_then(|instead| instead(number))
        };
        let answer = match instead {
            Some(answer) => answer.into(),
            None => self.pass(&head, &body),
        };
        if self.act(number, When::After) {
            return;
        }
        stream.write_all(&answer).ok();
        stream.shutdown(Shutdown::Both).ok();
    }

    fn act(&self, number: usize, when: When) -> bool {
        let mut plan = self.plan.lock().unwrap();
        let at = plan
            .at
            .take_if(|(at, then, _)| (*at, *then) == (number, when));
        let Some((_, _, act)) = at else { return false };
        if plan.child.is_none() {
            // What is done meanwhile may ask the server itself.
            drop(plan);
            return act(None);
        }
        act(plan.child.as_mut())
    }

    /// What the real server answers.
    fn pass(&self, head: &str, body: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.real)) {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let lines = head.lines();
            let lines = lines.filter(|line| !line.to_lowercase().starts_with("connection:"));
            let mut head = lines.collect::<Vec<_>>().join("\r\n");
            head.push_str("\r\nConnection: close\r\n\r\n");
            let passed = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(body))
                .and_then(|()| stream.read_to_end(&mut answer));
            passed.ok();
        }
        answer
    }
}

fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}
