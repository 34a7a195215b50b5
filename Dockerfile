# Aqueduct in a container: the program, the libraries that it loads, the public authorities of TLS, and nothing else; no shell.
#
#   docker build -t aqueduct .
#   docker run --read-only -v "$PWD/bridge.yaml:/etc/aqueduct/bridge.yaml:ro" -v aqueduct:/var/lib/aqueduct aqueduct
#
# bridge/deploy has compose files and manifests of Kubernetes that use it.
FROM debian:12-slim AS build
COPY .ci /src/.ci
RUN /src/.ci/install build
COPY . /src
WORKDIR /src
RUN cmake --preset release && cmake --build --preset release && DESTDIR=/staged cmake --install build/release --prefix /usr --strip
RUN bridge/deploy/image /staged /image

FROM scratch
COPY --from=build /image /
USER 65532:65532
# ./bridge.yaml is /etc/aqueduct/bridge.yaml, if there is one; all that is written goes to the volume.
WORKDIR /etc/aqueduct
VOLUME /var/lib/aqueduct
ENV AQUEDUCT_DATA=/var/lib/aqueduct
EXPOSE 8080 8081 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["/usr/bin/aqueduct", "status", "--ready"]
ENTRYPOINT ["/usr/bin/aqueduct"]
CMD ["run"]
