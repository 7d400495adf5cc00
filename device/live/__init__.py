"""Live gestures from a board's stream; without torch until a student is read."""
