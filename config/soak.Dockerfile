# The image of config/kuberay-soak.yaml: Ray's own, with raychain and what it depends on, each file by its hash.
# Name the base by its digest where it matters: --build-arg BASE=rayproject/ray@sha256:...
ARG BASE=rayproject/ray:2.60.0-py311
FROM ${BASE}
USER ray
COPY --chown=ray . raychain
WORKDIR raychain
RUN pip install --no-cache-dir --require-hashes -r config/requirements.txt \
    && pip install --no-cache-dir --no-deps .
