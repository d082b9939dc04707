# The same two commands elsewhere:
#   docker build -t navigator . && docker run --rm -v "$PWD/runs:/app/runs" navigator make demo
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates git make python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY . .
RUN make setup && apt-get update && make assets && rm -rf /var/lib/apt/lists/*
CMD ["make", "demo"]
