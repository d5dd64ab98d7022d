"""Lineage to the column: source, staging, intermediate, mart, feature, sub-model, reason."""
