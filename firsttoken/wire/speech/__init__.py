"""What a talking device can say of a stream: transformers of events, one subject each."""
