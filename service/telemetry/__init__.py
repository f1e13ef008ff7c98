"""What is told of single requests: counts, traces and lines of the log."""
