"""What the gate compares in CI, by hand with the same commands."""
