# The image of config/kuberay-*.yaml: Ray's own, by its digest, with raychain and what it depends on, each file by its
# hash. BASE has no default: a tag may move. Its digest is what
#   docker pull -q rayproject/ray:2.60.0-py311 && docker inspect -f '{{index .RepoDigests 0}}' rayproject/ray:2.60.0-py311
# prints; config/kuberay-soak.yaml has the whole of it.
ARG BASE
FROM ${BASE}
USER 1000
COPY --chown=1000 . raychain
WORKDIR raychain
RUN pip install --no-cache-dir --require-hashes -r config/requirements.txt \
    && pip install --no-cache-dir --no-deps . \
    && python -m compileall -q .
