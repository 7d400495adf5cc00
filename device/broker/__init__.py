"""A Mosquitto of one's own: configuration, passwords, rights and certificate in one folder; the running process."""

from device.broker.folder import BrokerFolder, broker_text, write_broker
from device.broker.keeper import serve_forever, supervised
from device.broker.mosquitto import free_port, running, start
from device.broker.rights import GATEWAY

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
