"""Watching boards: how they do and what they measure, for a page to show; never disturbing whoever records."""
