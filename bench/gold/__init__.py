"""Gold sets: graded judgements of query -> item pairs, sampled, annotated, frozen, and what systems score on them."""
