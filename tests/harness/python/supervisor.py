"""Keeps the processes of one harness, and lets none of them outlive it.

usage: supervisor.py FOLDER

Reads one JSON request a line and answers each with one JSON line. Once its standard input ends, be it
that the harness is dropped or that its process is killed, it ends every process below itself, also those
that have left their session (it is their reaper), and removes FOLDER. Whatever the moment, the end is
the same.

    {"do": "start", "name": N, "argv": [..], "env": {..}, "log": FILE}   -> {"pid": PID}
    {"do": "poll", "name": N}                                            -> {"exit": null or status}
    {"do": "stop", "name": N}                                            -> {"exit": status}, null if it was stopped before
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
# How long a process may take that was asked to end, in seconds; then it is killed.
PATIENCE = 20
# PostgreSQL gives back its shared memory only where it may end by itself; at this signal it does at once.
GENTLY = {"postgres": signal.SIGQUIT}

children = {}


def main():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = globals()[request.pop("do")](**request)
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)
    except BrokenPipeError:
        pass  # Nobody is left to answer to.
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        end_all()
        shutil.rmtree(sys.argv[1], ignore_errors=True)


def start(name, argv, env, log):
    with open(log, "ab") as output:
        children[name] = subprocess.Popen(
            argv,
            env={**os.environ, **env},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return {"pid": children[name].pid}


def poll(name):
    return {"exit": children[name].poll()}


def stop(name):
    child = children.pop(name, None)
    if child is None:
        return {"exit": None}
    below = descendants(child.pid)
    child.send_signal(GENTLY.get(name, signal.SIGTERM))
    try:
        child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
    for pid in below:
        kill(pid, signal.SIGKILL)
    return {"exit": child.wait()}


def end_all():
    for name, number in GENTLY.items():
        child = children.get(name)
        if child and child.poll() is None:
            child.send_signal(number)
            try:
                child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                pass
    # Again and again: between a look and a kill a process may have started another.
    while below := descendants(os.getpid()):
        for pid in below:
            kill(pid, signal.SIGKILL)
        reap()
        time.sleep(0.01)
    reap()


def descendants(ancestor):
    """The processes below one, as /proc tells them now; those that have ended are left out."""
    below = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    state, parent = file.read().rsplit(") ", 1)[1].split()[:2]
            except (OSError, IndexError):
                continue
            if state not in "ZX":
                below.setdefault(int(parent), []).append(int(name))
    found, ahead = [], [ancestor]
    while ahead:
        more = below.get(ahead.pop(), [])
        found += more
        ahead += more
    return found


def kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


main()
