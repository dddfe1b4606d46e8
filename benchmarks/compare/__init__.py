"""What comparing costs: the leaderboard, a paired comparison, the report and its pages."""
