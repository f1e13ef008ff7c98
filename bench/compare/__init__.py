"""Before and after: all stages in one run, side by side, and the gate that keeps them fast."""
