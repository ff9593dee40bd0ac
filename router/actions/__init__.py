"""What the router has others do: engines are restarted here, once ``health`` has found out why."""
