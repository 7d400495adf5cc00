"""From a link to gestures, as they happen."""
