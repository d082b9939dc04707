"""Releases: model, vectors and index as one versioned folder; which of them is live; how a server follows.

    ROOT/NAME/              one release: model/, vectors/, index/, perhaps encoder/, manifest.json; never changed
    ROOT/current.json       what is live now, and what was before
    ROOT/history.audit.jsonl   every creation, promotion, rollback and refusal, by whom and why; chained (graph.audit)

store.py reads releases, parts.py makes them, gate.py asks the shadow report, live.py switches, watch.py follows.
"""
