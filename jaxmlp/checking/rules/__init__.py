"""Checking derivative rules themselves: every argument, both modes, at the points that matter."""
