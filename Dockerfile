# The engine without training, on the processor, for a user who is not root:
#   docker build -t unoise .
#   docker run --rm --network none -v "$PWD":/data unoise explain ct.nii.gz -o out
# To own the results, add --user "$(id -u):$(id -g)".
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY unoise_engine unoise_engine
COPY Resources Resources
RUN python -m venv /opt/unoise \
    && /opt/unoise/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
    && /opt/unoise/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim-bookworm
COPY --from=build /opt/unoise /opt/unoise
RUN useradd --create-home --uid 1000 unoise
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["/opt/unoise/bin/unoise_engine"]
CMD ["--help"]
