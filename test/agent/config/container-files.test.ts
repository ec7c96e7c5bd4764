import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { findTool } from '../../../src/agent/host/run-tool.ts';
import { require } from '../../harness/require.ts';
import { allowedByUnit, type Profile } from './system-call-filter.ts';

const read = (file: string) => readFileSync(file, 'utf8');
const sorted = (names: readonly string[]) => [...names].sort();
const listed = (text: string, list: RegExp) => sorted((list.exec(text)?.[1] ?? '').split(/[,\s]+/).filter(Boolean));

describe('the files of the container', () => {
  const dockerfile = read('Dockerfile');
  const compose = read('compose.yaml');

  /** What the unit for systemd grants, as that file explains. */
  const granted = listed(read('config/vakt.service'), /^AmbientCapabilities=(.*)$/m);

  it('give Node the capabilities that the unit grants, and no other', () => {
    const given = listed(dockerfile, /setcap (\S+)\+ep \/usr\/lib\/vakt\/node/).map((name) => name.toUpperCase());
    assert.ok(granted.length > 0);
    assert.deepEqual(given, granted);
  });

  it('add all of them to the container, and no other', () => {
    const wanted = sorted(granted.map((name) => name.replace('CAP_', '')));
    assert.deepEqual(listed(compose, /cap_add: \[(.*)\]/), wanted);
    assert.deepEqual(listed(read('docs/install.md'), /--cap-add=(\S+)/), wanted);
    const tried = /^const CAPABILITIES = \[(.*)\]/m.exec(read('scripts/test-container.mjs'))?.[1]?.replaceAll("'", '');
    assert.deepEqual(sorted((tried ?? '').split(', ')), wanted);
    assert.match(compose, /cap_drop: \[ALL\]/);
  });

  it('leave it as much time to end as the unit does', () => {
    const unit = /^TimeoutStopSec=(\d+)s$/m.exec(read('config/vakt.service'))?.[1];
    assert.ok(unit !== undefined);
    assert.equal(/^ +stop_grace_period: (\d+)s$/m.exec(compose)?.[1], unit);
    assert.equal(/^podman run(?:.*\\\n)+?.*--stop-timeout=(\d+) /m.exec(read('docs/install.md'))?.[1], unit);
  });

  it('start it under its own filter of system calls, everywhere', () => {
    assert.match(compose, /^ +security_opt: \["seccomp=config\/seccomp\.json"\]$/m);
    assert.match(read('docs/install.md'), /^ .*--security-opt=seccomp=config\/seccomp\.json .*\\$/m);
    assert.match(
      read('scripts/test-container.mjs'),
      /--security-opt=seccomp=\$\{join\(TOP, 'config\/seccomp\.json'\)\}/,
    );
  });

  describe('with a filter of system calls, config/seccomp.json,', () => {
    const profile = JSON.parse(read('config/seccomp.json')) as Profile;
    const allowed = profile.syscalls.filter(({ action }) => action === 'SCMP_ACT_ALLOW');

    it('the filter allows only the calls of the unit and those that an engine needs to start the agent', function () {
      require(this, findTool('systemd-analyze') === undefined ? 'there is no systemd-analyze' : undefined);
      const unit = allowedByUnit(read('config/vakt.service'));
      const more = allowed.flatMap(({ names }) => names).filter((name) => !unit.has(name));
      const toBecomeUser = /^(?:capset|fchown(?:32)?|set(?:groups|uid|gid|resuid|resgid)(?:32)?)$/;
      assert.deepEqual(
        more.filter((name) => !toBecomeUser.test(name)),
        [],
      );
    });

    it('refuse what is not named, also calls of another architecture', () => {
      assert.equal(profile.defaultAction, 'SCMP_ACT_ERRNO');
      assert.ok(profile.archMap.every(({ subArchitectures }) => subArchitectures.length === 0));
    });

    it('the filter names a call twice only to add conditions', () => {
      const free = allowed.filter(({ args = [] }) => args.length === 0).flatMap(({ names }) => names);
      assert.deepEqual(sorted(free), sorted([...new Set(free)]));
      const conditional = new Set(allowed.filter(({ args = [] }) => args.length > 0).flatMap(({ names }) => names));
      assert.deepEqual(
        free.filter((name) => conditional.has(name)),
        [],
      );
    });
  });

  it('run as a user by number, with a read-only root and a health check', () => {
    assert.match(dockerfile, /^USER [1-9]\d*:[1-9]\d*$/m);
    assert.match(dockerfile, /^HEALTHCHECK .*\\\n\s+CMD \[.*"status"\]$/m);
    for (const setting of ['read_only: true', 'pid: host', 'network_mode: host', '- /:/host:ro']) {
      assert.ok(compose.includes(setting), setting);
    }
  });

  it('the Dockerfile states in one word where the host is mounted', () => {
    assert.match(dockerfile, /^ENV VAKT_HOST_ROOT=\/host$/m);
    assert.match(compose, /^ +- \/:\/host:ro$/m);
  });

  it('the agent alone may start the programs with capabilities', () => {
    const made = /^RUN useradd [\s\S]*?[^\\]$/m.exec(dockerfile)?.[0] ?? '';
    const programs = [...made.matchAll(/setcap \S+ "?(?:\$\(readlink -f )?(\S+?)\)?"? /g)].map(([, path = '']) => path);
    assert.deepEqual(sorted(programs), [
      '/usr/lib/vakt/node',
      '/usr/sbin/iptables-legacy',
      '/usr/sbin/iptables-nft',
      '/usr/sbin/nft',
    ]);
    assert.match(made, /chgrp vakt \/usr\/lib\/vakt\/node && chmod 0750 \/usr\/lib\/vakt\/node/);
    const [, tools = ''] = /for tool in ([^;]*);/.exec(made) ?? [];
    assert.deepEqual(
      sorted(tools.split(' ').map((tool) => `/usr/sbin/${tool}`)),
      programs.filter((path) => path.startsWith('/usr/sbin/')).sort(),
    );
    assert.match(made, /chgrp vakt "\$tool" && chmod 0750 "\$tool"/);
    assert.ok(made.indexOf('chgrp') < made.indexOf('setcap'), 'a change of the group takes the capabilities away');
  });

  it('name a public base image by its digest', () => {
    const [, image = ''] = /^ARG NODE_IMAGE=(\S+)$/m.exec(dockerfile) ?? [];
    assert.match(image, /^node:[\d.]+-[a-z]+-slim@sha256:[0-9a-f]{64}$/);
  });
});
