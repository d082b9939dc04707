"""The systems that are compared, one small file each; what they share is in base.py."""
