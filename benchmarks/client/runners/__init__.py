"""Programs that have one tool measure a server each; see :mod:`.common`."""
