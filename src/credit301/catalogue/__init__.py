"""The catalogue: every source with its dictionary, contract, owner, and how fresh and how good its data is now."""
