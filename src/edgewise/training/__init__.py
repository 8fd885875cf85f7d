"""Training: optimisers and schedules, the loop that yields records, checkpoints, and the choice of arithmetic."""
