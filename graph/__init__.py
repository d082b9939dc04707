"""The taste graph: who saved what with what, split before anything is learned from it."""
