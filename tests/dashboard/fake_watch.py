"""The dashboard over boards that a test steers: a process that serves, and takes JSON lines on its standard input.

{"board": "emg-1", "say": {"online": false}}   what is known of a board from now on
{"remove": "emg-1"}
{"ask": "viewers"}         answered by {"viewers": 1, "takes": 40, "commands": [["emg-1", "start"]]}
"""

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from browser import address
from fake_boards import FakeFeed, board


class Watched:
    """The process, as a test steers it."""

    def __init__(self, process, url):
        self.process, self.url = process, url

    def tell(self, **what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def ask(self):
        self.tell(ask="viewers")
        return json.loads(self.process.stdout.readline())


@contextmanager
def fake_watch(run_dir, *boards, status_only=False):
    """Serve these boards, each a dict of what `fake_boards.board` takes; none: no boards at all."""
    options = json.dumps({"run_dir": str(run_dir), "boards": boards, "status_only": status_only})
    process = subprocess.Popen(
        [sys.executable, __file__, options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # what the tests share
    )
    try:
        url = address(process)
        threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop it
        yield Watched(process, url)
    finally:
        process.terminate()
        process.wait(30)


def follow_orders(feed):
    for line in sys.stdin:
        order = json.loads(line)
        if "ask" in order:
            answer = {
                "viewers": len(feed.scopes),
                "takes": sum(s.takes for s in feed.scopes),
                "commands": feed.commands,
            }
            print(json.dumps(answer), flush=True)
        elif "remove" in order:
            feed.boards.pop(order["remove"])
        else:
            known = feed.boards.get(order["board"]) or board(order["board"])
            feed.boards = feed.boards | {order["board"]: replace(known, **order["say"])}


def main():
    from server.dashboard.watch import WatchJob, run_watch

    options = json.loads(sys.argv[1])
    feed = (
        FakeFeed(*(board(**said) for said in options["boards"]), lost=range(100, 150))
        if options["boards"]
        else None
    )
    threading.Thread(target=follow_orders, args=(feed,), daemon=True).start()
    job = WatchJob(run_dir=Path(options["run_dir"]), port=0, boards=feed, status_only=options["status_only"])
    run_watch(job, lambda url: print(f"watch at {url} ", file=sys.stderr, flush=True))


if __name__ == "__main__":
    main()
