# The agent as a container that watches its host. What it needs for that, and what it can't see without, is in docs/install.md;
# compose.yaml starts it that way.
#
#   podman build --format docker -t vakt .          or: docker build -t vakt .
#
# Behind a proxy that opens TLS: --secret id=ca,src=CA.PEM; with another registry of npm's: --secret id=npmrc,src=NPMRC.

# Any image with Debian's apt-get and Node 20.15 or newer. By digest, so that a build gets this one or none: the index of
# all platforms, as public builds of others name it. For a newer one, or another registry's:
#   podman pull node:22-trixie-slim && podman image inspect --format '{{.Digest}}' node:22-trixie-slim
#   podman build --format docker --build-arg NODE_IMAGE=node:22-trixie-slim@sha256:DIGEST -t vakt .
# What apt-get installs is whatever Debian has on the day of the build, checked by its signatures.
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
# nft and iptables read the host's packet filter, in its network namespace; setcap is needed for what follows only.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends iptables libcap2-bin nftables \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out /usr/lib/vakt
# What an engine adds to a container (--cap-add) is only allowed to it. A user other than root has it once a program's
# file says so: here Node, in a copy of the agent's own, and the tools that it starts. All of it must have been added:
# the kernel starts no program with less than its file says. Only the agent's group may start them: whoever else gets into
# the container, or finds the files on the host, must not get the capabilities by them.
# The code cache makes starts faster on processors like this one; others ignore it. It is made by a user without any rights.
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
# Both are written to, also where the root file system is read-only; the first must outlive the container.
VOLUME ["/var/lib/vakt", "/run/vakt"]
ENV VAKT_HOST_ROOT=/host
USER 10001:10001
ENTRYPOINT ["/usr/bin/vakt"]
CMD ["run"]
# Status 1 when it doesn't run, is degraded, or is paused; the first start may take a moment.
HEALTHCHECK --interval=1m --timeout=10s --start-period=30s --retries=3 \
  CMD ["/usr/bin/vakt", "status"]
STOPSIGNAL SIGTERM
