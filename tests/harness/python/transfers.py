"""Stands in for an FTS server: really copies what it is asked to, between files of this machine.

usage: transfers.py PORT

Of FTS's REST interface it has what Rucio's conveyor asks for. A job is done once it is submitted; a
source that is missing or does not have the checksum that Rucio expects fails its file, with the reason.
"""

import json
import shutil
import sys
import uuid
import zlib
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

jobs = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        job = {
            "job_id": str(uuid.uuid4()),
            "http_status": "200 Ok",
            "job_type": "N",
            "job_metadata": body["params"].get("job_metadata"),
            "files": [transfer(file) for file in body["files"]],
        }
        done = {file["file_state"] for file in job["files"]}
        job["job_state"] = done.pop() if len(done) == 1 else "FINISHEDDIRTY"
        jobs[job["job_id"]] = job
        self.answer({"job_id": job["job_id"]})

    def do_GET(self):
        path = urlparse(self.path).path
        if not path.startswith("/jobs/"):
            # Who the client is, how long its credential lasts: whatever it asks before it submits.
            return self.answer({"user_dn": "harness", "base_id": "harness"})
        unknown = {"http_status": "404 Not Found", "http_message": "no such job"}
        ids = path.removeprefix("/jobs/").split(",")
        self.answer([jobs.get(job, {"job_id": job, **unknown}) for job in ids])

    def do_DELETE(self):
        self.answer({"job_state": "CANCELED"})

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def transfer(file):
    """Copies one file, and says how it went."""
    source, target = file["sources"][0], file["destinations"][0]
    started = now()
    try:
        copy(path_of(source), path_of(target), file.get("checksum"))
        state, reason = "FINISHED", ""
    except (OSError, ValueError) as error:
        state, reason = "FAILED", f"TRANSFER [2] {error}"
    return {
        "file_state": state,
        "reason": reason,
        "file_metadata": file["metadata"],
        "source_surl": source,
        "dest_surl": target,
        "start_time": started,
        "finish_time": now(),
        "staging_start": None,
        "staging_finished": None,
    }


def copy(source, target, checksum):
    if checksum:
        # As Rucio writes it: the algorithm, a colon, the digits.
        wanted, found = checksum.rsplit(":", 1)[-1].lower(), adler32(source)
        if found != wanted:
            raise ValueError(f"source {source} has checksum {found}, not {wanted}")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def adler32(path):
    value = 1
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            value = zlib.adler32(chunk, value)
    return f"{value:08x}"


def path_of(url):
    return Path(unquote(urlparse(url).path))


def now():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
