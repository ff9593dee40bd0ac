"""What the router costs, beside other things that can stand in its place."""
