"""Runs side by side: what differs in their conditions, then how their figures shifted."""
