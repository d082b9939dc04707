"""A gold set of 60 conversations over openclipart, and how well whatever stands behind the HTTP interface answers them."""
