"""What every training run shares: optimisers, schedules, averaging, checkpoints, devices."""
