"""The bundle in which a model travels, and the one implementation that scores with it."""
