"""The door of the server: who may come in, how often and with how much; everything else stays outside, and is told why."""
