"""Metrics out: instruments made from the catalogue, collectors, the text format."""
