# cxrlens on CPUs, as a user without rights. Built from the root of the repository:
#   docker build --build-arg VERSION="$(git describe --tags)" -t cxrlens .
# When it runs, it fetches nothing: all but servers also work with `docker run --network none`.
FROM python:3.12-slim AS build
ARG EXTRAS=dicom,onnx,serve
ARG VERSION=0.1.dev0
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/cxrlens \
 && /opt/cxrlens/bin/pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY src ./src
RUN SETUPTOOLS_SCM_PRETEND_VERSION_FOR_CXRLENS="${VERSION}" /opt/cxrlens/bin/pip install ".[${EXTRAS}]"

FROM python:3.12-slim
COPY --from=build /opt/cxrlens /opt/cxrlens
COPY deploy/health.py /opt/cxrlens/health.py
RUN useradd --create-home cxrlens \
 && install -d -o cxrlens -g cxrlens -m 700 /data
ENV PATH=/opt/cxrlens/bin:$PATH PYTHONUNBUFFERED=1
USER cxrlens
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "/opt/cxrlens/health.py"]
ENTRYPOINT ["cxrlens"]
CMD ["--help"]
