"""What ``make bench`` measures: each figure beside its peer and its floor, in one run on one machine."""
