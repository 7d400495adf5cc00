"""A student of this process on a watched board, for boards whose gestures nobody else publishes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from device.live.gestures import Decision
    from device.live.hops import StudentStream
    from device.tracker import Piece
    from protocols.frame import Hello

# A machine that is too slow for its boards shows no prediction rather than an old one.
BEHIND_S = 0.5


@dataclass(frozen=True, slots=True)
class StudentFile:
    """Who predicts here.

    Args:
        path: of its file.
        version: see `device.live.student_version`.
        recordings: whose levels it takes; None: as its file says.
        data_dir: where datasets lie.
    """

    path: Path
    version: str
    recordings: str | None = None
    data_dir: Path | None = None


class OwnStudent:
    """Follows the pieces of one board.

    Args:
        student: at its first sample.
        version: see `device.live.student_version`.
    """

    def __init__(self, student: StudentStream, version: str) -> None:
        from device.live.gestures import decider
        from device.live.hops import Predictor

        self.version = version
        self._predictor = Predictor(student)
        self._decider = decider(student.gestures, is_events=student.is_events)
        self._skipped = False

    def take(self, piece: Piece, *, behind_s: float) -> list[Decision]:
        """The gestures that begin in a piece; none where it came `behind_s` too late for all to be followed."""
        if behind_s > BEHIND_S:
            self._skipped = True
            return []
        if self._skipped:
            piece, self._skipped = replace(piece, after_gap=True), False
        return self._decider.take(self._predictor.take(piece))


def load_own_student(file: StudentFile, hello: Hello) -> OwnStudent:
    """A student for this board; slow, since it loads torch.

    Raises:
        ConfigError: recordings that are not there.
        DataError: no student, or one for another kind of board or person.
    """
    from device.live.hops import check_fit
    from device.live.live import LiveJob, ready_student

    job = LiveJob("", file.path, recordings=file.recordings, data_dir=file.data_dir)
    student = ready_student(job)
    check_fit(student, hello)
    return OwnStudent(student, file.version)
