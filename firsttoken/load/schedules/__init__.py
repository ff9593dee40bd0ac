"""When each talker speaks: one schedule a file, all pure, with the time passed in."""
