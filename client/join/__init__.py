"""A real edge client: an invitation on disk, a supervised SuperNode, and a journal of what left the device."""
