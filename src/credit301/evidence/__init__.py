"""The evidence of decisions: one record each, from which a decision can be made again, bit for bit."""
