"""The fit loop: feeding data, the step, logs."""
