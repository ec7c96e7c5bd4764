import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

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

  it('add all of them to the container, and AUDIT_WRITE for its seccomp filter', () => {
    const wanted = sorted([...granted.map((name) => name.replace('CAP_', '')), 'AUDIT_WRITE']);
    assert.deepEqual(listed(compose, /cap_add: \[(.*)\]/), wanted);
    assert.deepEqual(listed(read('README.md'), /--cap-add=(\S+)/), wanted);
    const tried = /^const CAPABILITIES = \[(.*)\]/m.exec(read('scripts/test-container.mjs'))?.[1]?.replaceAll("'", '');
    assert.deepEqual(sorted((tried ?? '').split(', ')), wanted);
    assert.match(compose, /cap_drop: \[ALL\]/);
  });

  it('run as a user by number, with a read-only root and a health check', () => {
    assert.match(dockerfile, /^USER [1-9]\d*:[1-9]\d*$/m);
    assert.match(dockerfile, /^HEALTHCHECK .*\\\n\s+CMD \[.*"status"\]$/m);
    for (const setting of ['read_only: true', 'pid: host', 'network_mode: host', '- /:/host:ro']) {
      assert.ok(compose.includes(setting), setting);
    }
  });

  it('say where the host is mounted, in one word', () => {
    assert.match(dockerfile, /^ENV VAKT_HOST_ROOT=\/host$/m);
    assert.match(compose, /^ +- \/:\/host:ro$/m);
  });

  it('name a public base image, with its version', () => {
    const [, image = ''] = /^ARG NODE_IMAGE=(\S+)$/m.exec(dockerfile) ?? [];
    assert.match(image, /^node:\d+-[a-z]+-slim$/);
  });
});
