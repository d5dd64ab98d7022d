"""The rules of lending, without input or output."""
