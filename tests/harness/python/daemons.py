"""Runs one cycle of Rucio's own daemons when told to.

usage: daemons.py SOCKET

A client of the Unix socket sends a daemon's name a line; the answer is a line of JSON once its cycle is
done: {} or {"error": ..}. What the daemons log goes to standard output; what they log as critical is an
exception that they have caught, and an error here.

Their own loops would wait ten seconds before each cycle, to hear of others of their kind, and importing
them takes seconds: this process does it once.
"""

import json
import logging
import socketserver
import sys
import traceback

from rucio.common.config import config_get
from rucio.common.logging import setup_logging
from rucio.daemons.abacus import account as abacus_account
from rucio.daemons.abacus import collection_replica as abacus_collection
from rucio.daemons.abacus import rse as abacus_rse
from rucio.daemons.badreplicas import minos, necromancer
from rucio.daemons.common import HeartbeatHandler
from rucio.daemons.conveyor.finisher import REGION as FINISHER_CACHE
from rucio.daemons.conveyor.finisher import finisher
from rucio.daemons.conveyor.poller import poller
from rucio.daemons.conveyor.submitter import submitter
from rucio.daemons.hermes import hermes
from rucio.daemons.judge import cleaner, evaluator, injector, repairer
from rucio.daemons.reaper.reaper import REGION as REAPER_CACHE
from rucio.daemons.reaper.reaper import reaper
from rucio.daemons.undertaker.undertaker import undertaker
from rucio.db.sqla.constants import DatabaseOperationType
from rucio.db.sqla.models import Message
from rucio.db.sqla.session import db_session
from sqlalchemy import func, select


def cycle(module, name, **options):
    """One cycle of a daemon whose own loop is left out."""
    with HeartbeatHandler(executable=name, renewal_interval=60) as heartbeat:
        module.run_once(heartbeat_handler=heartbeat, **options)


def send_messages():
    """Hermes sends so many messages in a cycle: until none is left, or none can be sent."""
    left = waiting_messages()
    while left:
        cycle(hermes, "hermes", bulk=1000)
        before, left = left, waiting_messages()
        if left >= before:
            raise RuntimeError(f"{left} messages cannot be sent")


def waiting_messages():
    with db_session(DatabaseOperationType.READ) as session:
        return session.execute(select(func.count()).select_from(Message)).scalar_one()


def finish():
    """The finisher remembers for minutes which RSEs are not deterministic."""
    FINISHER_CACHE.invalidate()
    finisher(once=True, partition_wait_time=0)


def reap():
    """The reaper remembers for minutes which RSEs there are, and which had nothing to be deleted."""
    REAPER_CACHE.invalidate()
    reaper(once=True, rses=[], include_rses=None, exclude_rses=None, greedy=True, chunk_size=1000)


TOOL = config_get("conveyor", "transfertool")
DAEMONS = {
    "evaluate": lambda: cycle(evaluator, "judge-evaluator", paused_dids={}, did_limit=1000),
    "inject": lambda: cycle(injector, "judge-injector", paused_rules={}),
    "submit": lambda: submitter(
        once=True, partition_wait_time=0, transfertools=[TOOL], transfertype="single"
    ),
    "poll": lambda: poller(once=True, older_than=0, partition_wait_time=0, transfertool=None),
    "finish": finish,
    "clean": lambda: cycle(cleaner, "judge-cleaner", paused_rules={}),
    "repair": lambda: cycle(repairer, "judge-repairer", paused_rules={}, delta=-1),
    "undertake": lambda: undertaker(once=True, chunk_size=1000),
    "reap": reap,
    "hermes": send_messages,
    "minos": lambda: cycle(minos, "minos", bulk=1000),
    "necromance": lambda: cycle(necromancer, "necromancer", bulk=1000),
    "abacus-rse": lambda: abacus_rse.rse_update(once=True),
    "abacus-account": lambda: abacus_account.account_update(once=True),
    "abacus-collection": lambda: abacus_collection.collection_replica_update(once=True),
}


class Criticals(logging.Handler):
    """Keeps what is logged as critical."""

    def __init__(self):
        super().__init__(logging.CRITICAL)
        self.setFormatter(logging.Formatter("%(message)s"))
        self.kept = []

    def emit(self, record):
        self.kept.append(self.format(record))


class Steps(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(json.dumps(step(line.decode().strip())).encode() + b"\n")


def step(name):
    criticals = Criticals()
    logging.getLogger().addHandler(criticals)
    try:
        DAEMONS[name]()
    except BaseException:
        return {"error": traceback.format_exc()}
    finally:
        logging.getLogger().removeHandler(criticals)
    return {"error": "\n".join(criticals.kept)} if criticals.kept else {}


setup_logging(process_name="daemons")
socketserver.UnixStreamServer(sys.argv[1], Steps).serve_forever()
