"""What an evaluation promises: statistics that hold, and speed."""
