# The agent as a container that watches its host. docs/install.md lists the options that it needs and what it can't see
# without them; compose.yaml sets these options.
#
#   podman build --format docker -t vakt .          or: docker build -t vakt .
#
# Behind a proxy that intercepts TLS, add: --secret id=ca,src=CA.PEM
# For another npm registry, add: --secret id=npmrc,src=NPMRC

# Any image with Debian's apt-get and Node 20.15 or newer. It is pinned by the digest of its multi-platform index, so
# that a build gets exactly this image or fails. To use a newer image or another registry:
#   podman pull node:22-trixie-slim && podman image inspect --format '{{.Digest}}' node:22-trixie-slim
#   podman build --format docker --build-arg NODE_IMAGE=node:22-trixie-slim@sha256:DIGEST -t vakt .
# apt-get installs Debian's current packages on the day of the build and verifies their signatures.
ARG NODE_IMAGE=node:22.23.3-trixie-slim@sha256:b26b04c123d9ff8ab646ceb18b9d75a1173acf64b9a401094b906d27b29338d4

FROM ${NODE_IMAGE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    if [ -e /run/secrets/ca.pem ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca.pem; fi; \
    npm ci --no-audit --no-fund
COPY . .
RUN node scripts/image.mjs /out

FROM ${NODE_IMAGE}
# nft and iptables read the host's packet filter, in its network namespace; setcap is needed only for the next step.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends iptables libcap2-bin nftables \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out /usr/lib/vakt
# Capabilities that an engine adds to a container (--cap-add) only enter its bounding set. A user other than root gets
# them from the capabilities of a program's file: here the agent's own copy of Node, and the tools that it starts. All
# of them must have been added, since the kernel refuses to start a program that lacks a capability of its file. Only
# the agent's group may start these programs: another user in the container or on the host must not gain the
# capabilities through them.
# The code cache speeds up starts on CPUs like this one; others ignore it. It is built by an unprivileged user.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/vakt --shell /usr/sbin/nologin vakt \
    && install "$(readlink -f "$(command -v node)")" /usr/lib/vakt/node \
    && { /usr/lib/vakt/main.js make-code-cache || true; } \
    && chgrp vakt /usr/lib/vakt/node && chmod 0750 /usr/lib/vakt/node \
    && for tool in nft iptables-nft iptables-legacy; do \
         tool=$(readlink -f "/usr/sbin/$tool") && chgrp vakt "$tool" && chmod 0750 "$tool" || exit 1; \
       done \
    && setcap cap_audit_control,cap_audit_read,cap_net_admin,cap_dac_read_search,cap_sys_ptrace+ep /usr/lib/vakt/node \
    && setcap cap_net_admin+ep /usr/sbin/nft \
    && setcap cap_net_admin+ep "$(readlink -f /usr/sbin/iptables-nft)" \
    && setcap cap_net_admin,cap_net_raw+ep "$(readlink -f /usr/sbin/iptables-legacy)" \
    && ln -s ../lib/vakt/main.js /usr/bin/vakt \
    && install -d -m 0700 -o vakt -g vakt /var/lib/vakt /run/vakt \
    && install -d -m 0755 /etc/vakt /host \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /opt/yarn-*
# Both must be writable even if the root file system is read-only; the first must survive the container.
VOLUME ["/var/lib/vakt", "/run/vakt"]
ENV VAKT_HOST_ROOT=/host
USER 10001:10001
ENTRYPOINT ["/usr/bin/vakt"]
CMD ["run"]
# Exits with status 1 if the agent is not running, degraded or paused. The first start may take a moment.
HEALTHCHECK --interval=1m --timeout=10s --start-period=30s --retries=3 \
  CMD ["/usr/bin/vakt", "status"]
STOPSIGNAL SIGTERM
