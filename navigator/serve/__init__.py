"""The server: one process that answers searches, recommendations and conversations about a catalogue over HTTP."""
