"""Encoders: any open_clip model as one interface, and the command that turns a catalogue into item vectors."""
