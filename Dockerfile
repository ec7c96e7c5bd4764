# The agent as a container that watches its host. What it needs for that, and what it can't see without, is in README.md;
# compose.yaml starts it that way.
#
#   podman build -t vakt .          or: docker build -t vakt .
#
# Behind a proxy that opens TLS: --secret id=ca,src=CA.PEM; with another registry of npm's: --secret id=npmrc,src=NPMRC.

# Any image with Debian's apt-get and Node 20.15 or newer.
ARG NODE_IMAGE=node:22-trixie-slim

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
# the kernel starts no program with less than its file says.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/vakt --shell /usr/sbin/nologin vakt \
    && install -m 0755 "$(readlink -f "$(command -v node)")" /usr/lib/vakt/node \
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
