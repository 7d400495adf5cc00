"""Links to boards, over serial lines and MQTT, and to what was recorded."""

from device.links.link import Link, open_link
from device.links.url import LinkUrl

__all__ = ["Link", "LinkUrl", "open_link"]
