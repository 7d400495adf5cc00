"""A board that is the firmware's own code, compiled for this machine, and a person who wears it."""
