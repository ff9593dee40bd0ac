"""What a talking device gets that a chat window does not."""
