"""Who may do what at the API: clients and their roles, keys and tokens, scopes by route, limits of rate."""
