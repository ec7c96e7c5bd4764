import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { EXAMPLE_HUB, readLocalSettings } from '../../src/agent/config/local.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';

const SCRIPTS = new URL('../../../packaging/debian/', import.meta.url).pathname;

/** Keeps the states of units as files, such as `vakt.service.enabled`, or `vakt.service.state` with a word of `is-active`. */
const SYSTEMCTL = `
action='' now=''
for word in "$@"; do
  case $word in
    --now) now=yes && continue ;;
    --*) continue ;;
    *.*) ;;
    *) action=$word && continue ;;
  esac
  case $action in
    is-enabled) [ -e "$word.enabled" ] || exit 1 ;;
    is-active)
      cat "$word.state" 2>/dev/null || echo inactive
      [ "$(cat "$word.state" 2>/dev/null)" = active ] || exit 3
      ;;
    enable) touch "$word.enabled" ;;
    disable) rm -f "$word.enabled" ;;
    start) echo active >"$word.state" ;;
    stop) ;;
  esac
  case $action$now in stop | disableyes) rm -f "$word.state" ;; esac
done
`;

describe("the Debian packages' maintainer scripts", () => {
  let folder: string;
  let root: string;
  let units: string;

  beforeEach(() => {
    folder = temporaryFolder();
    [root, units] = [join(folder, 'root'), join(folder, 'units')];
    for (const path of ['run/systemd/system', 'etc/vakt/secrets', 'var/lib/vakt', 'usr/lib/vakt']) {
      mkdirSync(join(root, path), { recursive: true });
    }
    for (const path of ['etc/vakt/secrets/module.key', 'var/lib/vakt/queue', 'usr/lib/vakt/main.js']) {
      writeFileSync(join(root, path), '');
    }
    mkdirSync(units);
    mkdirSync(join(folder, 'bin'));
    const commands = { systemctl: SYSTEMCTL, vakt: '', getent: '', useradd: '', userdel: '' };
    for (const [name, does] of Object.entries(commands)) {
      const records = `#!/bin/sh\necho "${name} $*" >>${folder}/log\ncd ${units}\n`;
      writeFileSync(join(folder, 'bin', name), `${records}${does}`, { mode: 0o755 });
    }
    for (const name of ['postinst', 'postrm', 'prerm']) {
      const inRoot = readFileSync(join(SCRIPTS, name), 'utf8').replaceAll(
        /(?<!\w)\/(?:run|usr|etc|var)\//g,
        `${root}$&`,
      );
      writeFileSync(join(folder, name), inRoot, { mode: 0o755 });
    }
  });

  const environment = () => ({ PATH: `${join(folder, 'bin')}:${process.env.PATH}` });
  const run = (name: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(join(folder, name), args, { encoding: 'utf8', env: environment() });
    assert.equal(status, 0, stderr);
    return stdout;
  };
  /** What ran since the last call. */
  const log = () => {
    const lines = existsSync(join(folder, 'log')) ? readFileSync(join(folder, 'log'), 'utf8') : '';
    rmSync(join(folder, 'log'), { force: true });
    return lines;
  };
  const states = () =>
    Object.fromEntries(readdirSync(units).map((file) => [file, readFileSync(join(units, file), 'utf8').trim()]));
  const set = (found: Readonly<Record<string, string>>) => {
    for (const [file, text] of Object.entries(found)) writeFileSync(join(units, file), text);
  };

  const IN_FAVOUR = ['remove', 'in-favour', 'vakt-with-node', '0.1.0'] as const;
  const SOCKET = { 'vakt.socket.enabled': '', 'vakt.socket.state': 'active' };
  const RUNNING = { 'vakt.service.enabled': '', 'vakt.service.state': 'active' };

  for (const [what, stops, starts] of [
    ['apt replaces the package', ['remove'], ['configure', '']],
    ['dpkg replaces the package', IN_FAVOUR, ['configure', '']],
    ['dpkg fails to replace the package', IN_FAVOUR, ['abort-remove', ...IN_FAVOUR.slice(1)]],
    ['the removal fails', ['remove'], ['abort-remove']],
  ] as const) {
    describe(`when ${what}`, () => {
      for (const [state, before, after = before] of [
        ['runs', RUNNING],
        ['runs beside its socket', { ...RUNNING, ...SOCKET }],
        ['was started by hand', { 'vakt.service.state': 'active' }],
        ['waits for its next start', { ...RUNNING, 'vakt.service.state': 'activating' }, RUNNING],
        ['has failed', { ...RUNNING, 'vakt.service.state': 'failed' }, RUNNING],
        ['was stopped until the next boot', { 'vakt.service.enabled': '' }],
        ['is off', {}],
      ] as const) {
        it(`leave an agent that ${state} as they found it`, () => {
          set(before);
          run('prerm', ...stops);
          assert.deepEqual(
            Object.keys(states()).filter((file) => file.endsWith('.state')),
            [],
          );
          run('postinst', ...starts);
          assert.deepEqual(states(), after);
          assert.deepEqual(readdirSync(join(root, 'run')), ['systemd']);
        });
      }
    });
  }

  it('start the socket first, since systemd refuses one whose service runs', () => {
    set({ ...RUNNING, ...SOCKET });
    run('prerm', ...IN_FAVOUR);
    log();
    run('postinst', 'configure', '');
    assert.match(log(), /start vakt\.socket\n[\s\S]*start vakt\.service\n/);
  });

  it('make the code cache again after a removal that has failed', () => {
    writeFileSync(join(root, 'usr/lib/vakt/program.cache'), '');
    run('prerm', 'remove');
    assert.deepEqual(readdirSync(join(root, 'usr/lib/vakt')), ['main.js']);
    log();
    run('postinst', 'abort-remove');
    assert.match(log(), /^vakt make-code-cache$/m);
  });

  it('change nothing when an upgrade or a deconfiguration fails, since the agent runs on', () => {
    set(RUNNING);
    for (const action of ['upgrade', 'deconfigure']) {
      run('prerm', action, '0.2.0');
      run('postinst', `abort-${action}`, '0.2.0');
    }
    assert.equal(log(), '');
  });

  it('restart a running agent on an upgrade', () => {
    run('postinst', 'configure', '0.1.0');
    assert.match(log(), /^systemctl try-restart vakt\.service$/m);
  });

  it('ask systemd for nothing where it does not run', () => {
    rmSync(join(root, 'run/systemd'), { recursive: true });
    run('prerm', 'remove');
    run('postinst', 'abort-remove');
    assert.match(run('postinst', 'configure', ''), /not running/);
    assert.doesNotMatch(log(), /systemctl/);
  });

  describe('the configuration', () => {
    const file = () => join(root, 'etc/vakt/agent.json');

    it('is written at the first installation, so that the agent asks for the name of the hub', () => {
      rmSync(join(root, 'etc/vakt'), { recursive: true });
      run('postinst', 'configure', '');
      const { hub } = readLocalSettings(file(), {});
      assert.equal(hub.hostName, EXAMPLE_HUB);
      assert.equal(statSync(join(root, 'etc/vakt')).mode & 0o777, 0o711);
      assert.equal(statSync(join(root, 'etc/vakt/secrets')).mode & 0o777, 0o700);
    });

    it('stays as an operator wrote it, and an upgrade does not bring back a deleted one', () => {
      writeFileSync(file(), '{}');
      run('postinst', 'configure', '');
      run('postinst', 'configure', '0.1.0');
      assert.equal(readFileSync(file(), 'utf8'), '{}');
      rmSync(file());
      run('postinst', 'configure', '0.1.0');
      assert.equal(existsSync(file()), false);
    });
  });

  describe('at a purge', () => {
    const etc = () => join(root, 'etc/vakt');
    const data = () => join(folder, 'data');
    /** Runs the purge after `mounts`, in a namespace of its own. */
    const purgeWith = (mounts: string) => {
      const inside = `${mounts}\nexec ${join(folder, 'postrm')} purge`;
      const args = ['--user', '--map-root-user', '--mount', '/bin/sh', '-euc', inside];
      return spawnSync('unshare', args, { encoding: 'utf8', env: environment() });
    };
    const canMount = () =>
      spawnSync('unshare', ['--user', '--map-root-user', '--mount', 'true']).status === 0
        ? undefined
        : 'unshare may not make namespaces';

    beforeEach(() => rmSync(join(root, 'usr/lib/vakt'), { recursive: true }));

    it('delete configuration, keys and state', () => {
      run('postrm', 'purge');
      assert.deepEqual([...readdirSync(join(root, 'etc')), ...readdirSync(join(root, 'var/lib'))], []);
      assert.match(log(), /^userdel vakt$/m);
    });

    it('delete nothing that the other package uses', () => {
      mkdirSync(join(root, 'usr/lib/vakt'));
      writeFileSync(join(root, 'usr/lib/vakt/main.js'), '');
      run('postrm', 'purge');
      assert.ok(existsSync(join(root, 'etc/vakt/secrets/module.key')));
      assert.doesNotMatch(log(), /userdel/);
    });

    it('delete the keys on another disk that a link leads to, but nothing that links there lead to', () => {
      const otherFolder = join(folder, 'others');
      mkdirSync(otherFolder);
      writeFileSync(join(otherFolder, 'device.pem'), '');
      mkdirSync(join(data(), 'secrets'), { recursive: true });
      writeFileSync(join(data(), 'secrets/module.key'), '');
      symlinkSync(otherFolder, join(data(), 'secrets/others'));
      rmSync(etc(), { recursive: true });
      symlinkSync(data(), etc());
      run('postrm', 'purge');
      assert.deepEqual(readdirSync(data()), []);
      assert.deepEqual(readdirSync(join(root, 'etc')), []);
      assert.deepEqual(readdirSync(otherFolder), ['device.pem']);
    });

    it('empty mount points, which they cannot remove', function () {
      require(this, canMount());
      const secrets = join(folder, 'secrets');
      for (const disk of [join(data(), 'secrets'), secrets]) mkdirSync(disk, { recursive: true });
      for (const file of [join(data(), 'agent.json'), join(secrets, 'module.key')]) writeFileSync(file, '');
      const mounts = `mount --bind ${data()} ${etc()}\nmount --bind ${secrets} ${etc()}/secrets`;
      const { status, stderr } = purgeWith(mounts);
      assert.equal(status, 0, stderr);
      assert.deepEqual(readdirSync(secrets), []);
      assert.deepEqual(readdirSync(data()), ['secrets']);
      assert.match(log(), /^userdel vakt$/m);
    });

    it('fail, and name the keys, when they cannot be deleted', function () {
      require(this, canMount());
      const { status, stderr } = purgeWith(`mount --bind ${etc()} ${etc()}\nmount -o remount,bind,ro ${etc()}`);
      assert.equal(status, 1, stderr);
      assert.match(stderr, /could not be deleted:\n\S+\/etc\/vakt\/secrets\/module\.key\n/);
      assert.ok(existsSync(join(etc(), 'secrets/module.key')));
    });
  });
});
