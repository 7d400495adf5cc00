"""Every error of myofed, named by what the one who catches it does."""

from __future__ import annotations


class FrameError(ValueError):
    """A frame that cannot be encoded, or a whole payload that is no frame."""


class MessageError(ValueError):
    """A Flower reply that is to be rejected; the round goes on."""


class UpdateRejected(MessageError):  # noqa: N818  (the name says what happened, as DESIGN and STYLE use it)
    """An update that does not fit: counted against its sender, with the reason; the round goes on."""


class VersionMismatch(ValueError):  # noqa: N818  (as above)
    """Two sides speak different versions: stop, and name both."""


class LinkError(ConnectionError):
    """The link to a board or server broke: reconnect with back-off."""


class DataError(ValueError):
    """A file or shard that cannot be used: skip it, and say which and why."""


class PackMismatch(DataError):  # noqa: N818  (as above)
    """A knowledge pack that does not fit the task: refuse it, and name the field that differs.

    Args:
        field: the manifest's field that differs.
        found: what the pack says.
        expected: what the task needs.
    """

    def __init__(self, field: str, found: object, expected: object) -> None:
        super().__init__(f"knowledge pack: {field} is {found!r}, the task needs {expected!r}")
        self.field = field
        self.found = found
        self.expected = expected

    def __reduce__(self) -> tuple[type[PackMismatch], tuple[str, object, object]]:
        """Errors travel between processes: an exception is otherwise rebuilt from its message alone."""
        return type(self), (self.field, self.found, self.expected)


class ConfigError(ValueError):
    """A wrong setting: fail before round 1; name the key, what was found and what is allowed."""


class DivergedError(ArithmeticError):
    """Training produced a non-finite number: the client replies with an error, never with NaN."""


class AggregationError(RuntimeError):
    """No usable aggregate this round: keep the previous weights, record the round as failed."""
