"""Training: sub-models, ensemble, calibration, evaluation, registration, the gate and promotion."""
