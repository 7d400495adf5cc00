"""The bad network carries bytes as they are, and each weather does what it says."""

import random
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from simulations.faults.network import CUT, FINE, STALLED, BadNetwork, Weather, flipped

WAIT_S = 20.0


class Echo:
    """A server that sends back what it gets, and counts its connections."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection):
        with connection:
            try:
                while data := connection.recv(65_536):
                    connection.sendall(data)
            except OSError:
                return


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.socket.close()


@pytest.fixture
def network(echo):
    with BadNetwork(echo.address, seed=0).open() as network:
        yield network


@contextmanager
def connected(network):
    host, port = network.address.split(":")
    with socket.create_connection((host, int(port)), timeout=WAIT_S) as connection:
        yield connection


def received(connection, number):
    data = b""
    while len(data) < number and (more := connection.recv(number - len(data))):
        data += more
    return data


def sent_and_received(network, data):
    with connected(network) as connection:
        threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
        return received(connection, len(data))


def ends(connection):
    """Whether a connection ends by itself."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_a_fine_network_carries_every_byte_both_ways(network):
    data = random.Random(1).randbytes(300_000)
    assert sent_and_received(network, data) == data
    assert network.counts.num_bytes == 2 * len(data)


def test_a_cut_ends_what_is_open_refuses_what_comes_and_can_be_restored(network):
    with connected(network) as connection:
        connection.sendall(b"before")
        assert received(connection, 6) == b"before"
        network.becomes(CUT)
        assert ends(connection)
    with connected(network) as connection:
        assert ends(connection)
    assert network.counts.refused == 1
    network.becomes(FINE)
    assert sent_and_received(network, b"after") == b"after"


def test_a_stall_keeps_the_connection_and_loses_nothing(network):
    with connected(network) as connection:
        network.becomes(STALLED)
        connection.sendall(b"late")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(4)
        network.becomes(FINE)
        connection.settimeout(WAIT_S)
        assert received(connection, 4) == b"late"


def test_a_slow_network_takes_its_time(network):
    network.becomes(Weather(bytes_per_s=100_000))
    began_s = time.monotonic()
    assert len(sent_and_received(network, bytes(20_000))) == 20_000
    assert time.monotonic() - began_s >= 0.2


def test_lost_chunks_end_their_connection(network):
    network.becomes(Weather(drops=1.0))
    with connected(network) as connection:
        connection.sendall(b"lost")
        assert ends(connection)
    assert network.counts.ended == 1


def test_a_wrong_bit_is_one_bit():
    data = bytes(1000)
    changed = flipped(data, random.Random(2))
    assert sum(byte.bit_count() for byte in changed) == 1
    assert len(changed) == len(data)


def test_what_is_repeated_reaches_the_server_twice_and_the_client_once(network, echo):
    network.becomes(Weather(repeats=True))
    assert sent_and_received(network, b"hello") == b"hello"
    assert echo.connections == 2


def test_a_later_connection_may_overtake_an_earlier_one(network):
    network.becomes(Weather(lag_s=0.5))
    order, threads = [], []
    for number in range(8):
        thread = threading.Thread(
            target=lambda number=number: order.append((sent_and_received(network, b"x"), number))
        )
        thread.start()
        threads.append(thread)
        time.sleep(0.01)
    for thread in threads:
        thread.join(WAIT_S)
    assert len(order) == 8
    assert [number for _, number in order] != sorted(number for _, number in order)


def test_equal_seeds_make_equal_weather(echo):
    networks = BadNetwork(echo.address, seed=4), BadNetwork(echo.address, seed=4)
    first, second = ([network._rng.random() for _ in range(5)] for network in networks)
    assert first == second
