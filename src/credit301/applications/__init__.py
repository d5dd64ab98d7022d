"""Applications for credit: their states, the durable store behind them, and the messages that a change causes."""
