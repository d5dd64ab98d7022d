"""The decision endpoint: applications in, decisions with reasons out."""
