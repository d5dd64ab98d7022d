"""The feature vector as training and serving share it."""
