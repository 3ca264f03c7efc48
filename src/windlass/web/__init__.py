"""What everything that speaks HTTP shares: a job as JSON, problems, server-sent events."""
