"""Consent: who allowed whom to read which sources of an enterprise, for which purpose, from when until when."""
