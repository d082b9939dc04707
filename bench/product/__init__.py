"""Product metrics from an event log: what people did with what each version of the system showed them."""
