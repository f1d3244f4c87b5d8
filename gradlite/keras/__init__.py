"""The Keras-like API."""
