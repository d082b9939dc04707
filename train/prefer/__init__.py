"""The preference stage: direct preference optimisation on what users saved over what they were shown, and on grades."""
