"""The HTTP edges towards clients and operators."""
