"""EMG frames: bytes in, frames out, whatever the line did to the bytes between.

    decoder = FrameDecoder()
    for frame in decoder.feed(chunk):
        if isinstance(frame, Samples):
            emg_uv = frame.samples * hello.uv_per_count     # (n, C)

The decoder owns no port; MQTT messages need none: `decode_payload`. The kinds are in
`protocols.frame_kinds`, the bytes in `protocols.frame_codec` and, in words, in `docs/frame.md`.
"""

from __future__ import annotations

from protocols.errors import FrameError, VersionMismatch
from protocols.frame_codec import (
    DELIMITER,
    MAX_PAYLOAD_BYTES,
    MAX_STUFFED_BYTES,
    common_version,
    decode_payload,
    decode_stuffed,
    encode_frame,
    encode_payload,
)
from protocols.frame_examples import example_frames
from protocols.frame_kinds import (
    NEWEST_VERSION,
    OLDEST_VERSION,
    PROMPT,
    Acknowledge,
    Command,
    Frame,
    Hello,
    Kind,
    Marker,
    Samples,
    Status,
)

__all__ = [
    "DELIMITER",
    "MAX_PAYLOAD_BYTES",
    "NEWEST_VERSION",
    "OLDEST_VERSION",
    "PROMPT",
    "Acknowledge",
    "Command",
    "Frame",
    "FrameDecoder",
    "FrameError",
    "Hello",
    "Kind",
    "Marker",
    "Samples",
    "Status",
    "VersionMismatch",
    "common_version",
    "decode_payload",
    "encode_frame",
    "encode_payload",
    "example_frames",
]


class FrameDecoder:
    """Finds the frames in the bytes of a serial line.

    Between two delimiters there is a frame, nothing (a delimiter came twice), or a rejection: so a damaged
    byte costs the frame that it hit, a lost delimiter the two that it parted. Holds at most one frame.

    Attributes:
        num_rejected: stretches between delimiters that were no frame, since the start.
        last_rejection: why the latest was none, for people; empty before the first.
    """

    __slots__ = ("_rest", "last_rejection", "num_rejected")

    def __init__(self) -> None:
        self.num_rejected = 0
        self.last_rejection = ""
        self._rest = b""

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[Frame]:
        """The frames completed by `chunk`, oldest first; never raises, whatever the bytes."""
        stretches = (self._rest + chunk).split(DELIMITER)
        # Cut to one byte too many: a stretch that is too long stays so, and is rejected at its delimiter.
        self._rest = stretches.pop()[: MAX_STUFFED_BYTES + 1]
        frames = []
        for stuffed in stretches:
            if stuffed:
                try:
                    frames.append(decode_stuffed(stuffed))
                except (FrameError, VersionMismatch) as error:
                    self.num_rejected += 1
                    self.last_rejection = str(error)
        return frames
