"""The HTTP edge towards the backends: transport, and how a reply that is no answer is read."""
