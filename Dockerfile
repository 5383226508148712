# The broker in an image: one static binary, without a shell or a library beside it. It is built for whatever
# the builder runs on.
#
#   docker build -t socketio-humble-broker .
#   docker build -t socketio-humble-broker --build-arg PROFILE=ci .   sooner ready, and a little slower
#
# docs/container.md says how it is run; scripts/image-test.sh tests it.

FROM rust:1-slim-trixie AS build
WORKDIR /build

# A profile of Cargo.toml.
ARG PROFILE=release
# For one target by name, so that the flag is not for build scripts and macros, which cannot be static.
ENV CARGO_BUILD_TARGET=host-tuple RUSTFLAGS="-C target-feature=+crt-static"

# The dependencies, in a layer that is kept until they change: they are what takes long.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p benches src tests/soak tools/manuals \
    && touch benches/access.rs src/lib.rs tests/soak/main.rs tools/manuals/main.rs \
    && echo 'fn main() {}' >src/main.rs \
    && cargo build --locked --profile "$PROFILE"

COPY config/broker.toml config/
COPY src src
# What `humble_broker_build_info` says; a commit.
ARG REVISION=unknown
# Without the touch, sources that are older than the layer above would be taken for what was compiled there.
# Without symbols, which are a fifth of the file: a panic says its line all the same.
RUN touch src/lib.rs src/main.rs \
    && HUMBLE_BROKER_REVISION="$REVISION" cargo build --locked --profile "$PROFILE" \
    && strip -o /build/socketio-humble-broker target/*/*/socketio-humble-broker

FROM scratch
# Whom to trust when the broker is the client of something over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /build/socketio-humble-broker /usr/bin/
# Readable for the user below, whatever the umask was with which the sources were checked out.
COPY --chmod=644 packaging/container/broker.toml /etc/socketio-humble-broker/

# The version of Cargo.toml, which scripts/image-test.sh compares.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="socketio-humble-broker" \
      org.opencontainers.image.description="Self-hosted message broker for Socket.IO clients, without server code" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

# A number, as there are no names here, and as Kubernetes cannot tell otherwise that it is not root.
USER 65532:65532
# For clients; for health and metrics.
EXPOSE 5000 9091
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 \
    CMD ["/usr/bin/socketio-humble-broker", "--healthcheck"]
ENTRYPOINT ["/usr/bin/socketio-humble-broker"]
