"""Measurements of speed, beside other libraries where they are installed; each module runs by itself."""
