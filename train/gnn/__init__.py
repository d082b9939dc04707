"""train.gnn: vectors of items, boards and users from the taste graph (OmniSage, arXiv 2504.17811; LightGCN, 2002.02126)."""
