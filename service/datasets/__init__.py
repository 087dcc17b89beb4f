"""Uploaded files as arrays: CSV, Parquet, .npz and .safetensors, never unpickled, bounded in size, finite. Pure."""
