"""A city that does not exist: its enterprises, their records and loans, and the exchange that serves them."""
