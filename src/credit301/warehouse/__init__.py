"""The warehouse: landed data shaped by dbt into marts."""
