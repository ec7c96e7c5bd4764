import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeContainer } from '../../../../src/agent/commands/check/access.ts';
import { assertFinding, CheckBench } from './bench.ts';

const FIRST = { user: 'user:[4026531837]', pid: 'pid:[4026531836]', net: 'net:[1]' };

describe('vakt check: in a container', () => {
  let bench: CheckBench;
  beforeEach(() => {
    bench = new CheckBench();
  });
  afterEach(() => bench.close());

  /** Describes a container with these namespaces, on a host whose network is `net:[1]`. */
  const look = (own: Partial<typeof FIRST>, { hostRoot = '/', hostNet = 'net:[1]', isFiltered = true } = {}) => {
    const spaces = { ...FIRST, ...own };
    return describeContainer({
      kind: 'podman',
      hostRoot,
      isFiltered,
      link: (path) =>
        /[12]\/ns\/net$/.test(path) ? hostNet || undefined : spaces[path.split('/').at(-1) as keyof typeof FIRST],
    });
  };
  const mountHost = () => {
    mkdirSync(bench.path('etc'));
    writeFileSync(bench.path('etc/passwd'), '');
    mkdirSync(bench.path('proc/self'), { recursive: true });
    return { hostRoot: bench.folder };
  };

  it('check reports nothing about containers outside of a container', () => {
    assert.deepEqual(
      describeContainer({ kind: undefined, hostRoot: '/', link: () => undefined, isFiltered: false }),
      [],
    );
  });

  it('check accepts a container that sees the processes, network and files of the host', () => {
    const found = look({}, mountHost());
    assert.equal(found.length, 1);
    assertFinding(found[0], 'ok', /^podman; the host's processes, network and files are visible/);
  });

  for (const [what, own, finding, remedy] of [
    ['its own processes', { pid: 'pid:[5]' }, /program starts, .* not reported/, /--pid=host/],
    [
      'its own network',
      { net: 'net:[5]' },
      /ports, firewall .* those of this container.*; beside auditd, /,
      /--network=host/,
    ],
    ['mapped users', { user: 'user:[5]' }, /can't use the kernel's audit/, /without --userns/],
  ] as const) {
    it(`check notes the limits of a container with ${what}`, () => {
      const found = look(own, mountHost());
      assertFinding(found[0], 'note', finding, remedy);
    });
  }

  it('check notes a container that can write to the memory of other processes', () => {
    const found = look({}, { ...mountHost(), isFiltered: false });
    assert.equal(found.length, 1);
    assertFinding(found[0], 'note', /write into the memory/, /--security-opt=seccomp=config\/seccomp\.json/);
  });

  it('check notes a container without the files of the host', () => {
    const found = look({});
    assert.equal(found.length, 1);
    assertFinding(
      found[0],
      'note',
      /accounts, .* those of this container/,
      /--volume \/:\/host:ro .*VAKT_HOST_ROOT=\/host/,
    );
  });

  it('check notes that it cannot determine whose network a container uses', () => {
    assertFinding(
      look({}, { ...mountHost(), hostNet: '' })[0],
      'note',
      /can't be determined.* beside auditd, /,
      /--network=host/,
    );
  });

  it('check reports a hostRoot where no system is mounted', () => {
    const found = look({ pid: 'pid:[5]' }, { hostRoot: bench.path('host') });
    assertFinding(found[0], 'wrong', /no system is mounted at hostRoot/, /--volume \/:.*host:ro/);
    assertFinding(found[1], 'note', /program starts, .* not reported/);
  });

  it('check reports a host that is mounted without its /proc', () => {
    const { hostRoot } = mountHost();
    rmSync(join(hostRoot, 'proc'), { recursive: true });
    assertFinding(look({}, { hostRoot })[0], 'wrong', /proc is empty$/, /rbind/);
  });
});
