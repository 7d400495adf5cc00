"""A real Mosquitto for tests, with a password and rights for every user, on a port that the system chose."""

from contextlib import contextmanager

from parts import need

from device.broker import free_port, start, write_broker


class Broker:
    """A Mosquitto that may be stopped and started again on the same port."""

    def __init__(self, folder):
        self.folder = folder
        self.process = None

    @property
    def port(self):
        return self.folder.port

    def url(self, board="", *, user="gateway"):
        """`mqtt://user:password@127.0.0.1:PORT/board`; a board's user name is its id."""
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


@contextmanager
def broker(tmp_path, boards=("emg-1", "emg-2", "emg-3")):
    """`with broker(tmp_path) as b: … b.url("emg-1")`; its users are `gateway` and the boards."""
    need("mosquitto")
    running = Broker(write_broker(tmp_path / "broker", boards, port=free_port()))
    running.start()
    try:
        yield running
    finally:
        running.stop()
