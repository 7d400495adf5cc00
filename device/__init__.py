"""Board to recording: links, recorder and live prediction (never torch at import)."""
