"""What a broker refused is told in a sentence, out of what Mosquitto says; its chatter tells of nothing."""

import pytest

from device.broker.refusals import Refusals


def told(*lines):
    refusals = Refusals()
    return [sentence for line in lines for sentence in refusals.feed(line)]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "Denied PUBLISH from emg-1 (d0, q1, r0, m1, 'myofed/emg-2/hello', ... (1 bytes))",
            "emg-1 may not publish myofed/emg-2/hello",
        ),
        ("Sending CONNACK to 192.168.1.7 (0, 135)", "192.168.1.7 is not let in: wrong user or password"),
        ("Sending CONNACK to 192.168.1.7 (0, 5)", "192.168.1.7 is not let in: wrong user or password"),
        ("Client emg-1 disconnected due to oversize packet.", "emg-1 sent a message of more than 64 KiB"),
        (
            "Client connection from 10.0.0.2 failed: error:0A00010B:SSL routines::wrong version number.",
            "10.0.0.2 speaks no TLS here",
        ),
        (
            "OpenSSL Error[0]: error:0A000418:SSL routines::tlsv1 alert unknown ca",
            "somebody does not trust this broker's certificate",
        ),
    ],
)
def test_each_refusal_has_its_reason(line, sentence):
    (found,) = told(line)
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    "line",
    [
        "Sending CONNACK to emg-1 (0, 0)",
        "Received PUBLISH from emg-1 (d0, q0, r0, m0, 'myofed/emg-1/samples', ... (300 bytes))",
        "New client connected from 127.0.0.1:40000 as emg-1 (p5, c1, k60, u'emg-1').",
        "",
    ],
)
def test_what_is_allowed_is_no_refusal(line):
    assert told(line) == []


def test_of_a_subscription_only_what_was_not_granted_is_told():
    lines = [
        "Received SUBSCRIBE from emg-1",
        "\tmyofed/emg-1/command (QoS 1)",
        "emg-1 1 myofed/emg-1/command",
    ]
    lines += ["\t# (QoS 0)", "\t$SYS/# (QoS 0)", "Sending SUBACK to emg-1", "Sending SUBACK to emg-1"]
    assert told(*lines) == ["emg-1 may not read #", "emg-1 may not read $SYS/#"]
