"""Data quality: the contracts' checks as Great Expectations suites, validation, data docs."""
