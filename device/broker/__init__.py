"""A Mosquitto of one's own: configuration, passwords, rights and certificate in one folder; the running process."""

from device.broker.folder import BrokerFolder, broker_text, write_broker
from device.broker.mosquitto import free_port, running, start
from device.broker.rights import GATEWAY
from device.broker.supervised import serve_forever, supervised

__all__ = [
    "GATEWAY",
    "BrokerFolder",
    "broker_text",
    "free_port",
    "running",
    "serve_forever",
    "start",
    "supervised",
    "write_broker",
]
