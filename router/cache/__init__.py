"""Answers given before: the caches that stand before any backend."""
