"""Least-privilege access: what each role may see, derived from the contracts, on DuckDB and on PostgreSQL."""
