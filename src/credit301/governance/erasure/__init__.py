"""Retention and erasure: records that may no longer be kept are taken out of every file and store, and stay out."""
