"""What backends are sent, and how their failures are read."""
