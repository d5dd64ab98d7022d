"""Sliding windows over events: declared in a contract, counted as events come, computed the same way from history."""
