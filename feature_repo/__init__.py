"""The feature store: Feast definitions derived from the contracts, and what is done with them."""
