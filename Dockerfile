# Two targets, cpu and cuda, that differ in the build of torch alone. The index that has PyTorch's CPU build is an argument:
#   docker build --target cpu --build-arg TORCH_INDEX=URL -t nfa-service:0.2.0.dev0 .
ARG PYTHON=python:3.12.12-slim-trixie

FROM ${PYTHON} AS base
RUN apt-get update \
 && apt-get install --yes --no-install-recommends procps \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin nfa
ENV PATH=/opt/nfa/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp

FROM base AS build
WORKDIR /source
ARG TORCH=torch==2.13.0
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY workers workers
COPY nfa_kernels nfa_kernels
COPY migrations migrations

FROM build AS build-cpu
ARG TORCH_INDEX=
RUN python -m venv /opt/nfa \
 && /opt/nfa/bin/pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} "${TORCH}" '.[data]' \
 && /opt/nfa/bin/python -m compileall -q /opt/nfa/lib

FROM build AS build-cuda
RUN python -m venv /opt/nfa \
 && /opt/nfa/bin/pip install --no-cache-dir "${TORCH}" '.[data]' \
 && /opt/nfa/bin/python -m compileall -q /opt/nfa/lib

FROM base AS cuda
COPY --from=build-cuda /opt/nfa /opt/nfa
USER 10001:10001
WORKDIR /tmp
CMD ["nfa", "--help"]

FROM base AS cpu
COPY --from=build-cpu /opt/nfa /opt/nfa
USER 10001:10001
WORKDIR /tmp
CMD ["nfa", "--help"]
