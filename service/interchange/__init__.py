"""Sweeps as other tools keep them: MLflow and TensorBoard. Neither is needed to write what they read."""
