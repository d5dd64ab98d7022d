"""Strategies as data: decision graphs in GoRules' JDM format, compiled, and evaluated with every value on record."""
