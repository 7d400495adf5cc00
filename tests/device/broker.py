"""A real Mosquitto for tests, with a password and rights for every user, on a port that the system chose."""

import subprocess
from contextlib import contextmanager

from parts import need

from device.broker import GATEWAY, free_port, start, write_broker

KINDS = ("hello", "status", "samples", "marker", "acknowledge", "availability")


class Broker:
    """A Mosquitto that may be stopped and started again on the same port."""

    def __init__(self, folder):
        self.folder = folder
        self.process = None

    @property
    def port(self):
        return self.folder.port

    def url(self, board="", *, user="gateway"):
        """`mqtt(s)://user:password@127.0.0.1:PORT/board`; a board's user name is its id."""
        return self.folder.url(board, user=user)

    def start(self):
        self.process = start(self.folder)

    def stop(self):
        """End it as a crash would: nobody is told goodbye."""
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.stop()
        self.start()


def with_files_of_rights(folder):
    """Let Mosquitto read a file of passwords and one of rights, as somebody's own broker does (docs/links.md)."""
    lines = (folder.folder / "mosquitto.conf").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("plugin")]
    kept += [f"password_file {folder.folder}/passwd", f"acl_file {folder.folder}/acl"]
    rights = [f"user {GATEWAY}", "topic readwrite myofed/#", "topic readwrite homeassistant/#"]
    rights += [f"pattern write myofed/%u/{kind}" for kind in KINDS] + ["pattern read myofed/%u/command"]
    passwords = [f"{user}:{word}" for user, word in folder.passwords.items()]
    for name, text in (("mosquitto.conf", kept), ("acl", rights), ("passwd", passwords)):
        (folder.folder / name).write_text("\n".join(text) + "\n")
        (folder.folder / name).chmod(0o600)
    subprocess.run([need("mosquitto_passwd"), "-U", folder.folder / "passwd"], check=True)


@contextmanager
def broker(tmp_path, boards=("emg-1", "emg-2", "emg-3"), *, tls=False, files_of_rights=False):
    """`with broker(tmp_path) as b: … b.url("emg-1")`; its users are `gateway` and the boards."""
    need("mosquitto")
    folder = write_broker(tmp_path / "broker", boards, port=free_port(), tls=tls)
    if files_of_rights:
        with_files_of_rights(folder)
    running = Broker(folder)
    running.start()
    try:
        yield running
    finally:
        running.stop()
