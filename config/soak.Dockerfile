# The image of config/kuberay-soak.yaml: Ray's own, with raychain and what it depends on.
FROM rayproject/ray:2.60.0-py311
COPY --chown=ray . /home/ray/raychain
RUN pip install --no-cache-dir /home/ray/raychain
WORKDIR /home/ray/raychain
