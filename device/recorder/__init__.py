"""From a link to a recording: prompts, journal, HDF5."""
