"""Runs a pipeline at the times of a cron expression, and knows what it missed."""
