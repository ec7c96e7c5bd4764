import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Context } from 'mocha';
import { readLocalSettings } from '../../src/agent/config/local.ts';
import { findTool } from '../../src/agent/host/run-tool.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';

const SCRIPTS = new URL('../../../scripts/', import.meta.url).pathname;
const CONFIG = new URL('../../../config/', import.meta.url).pathname;

describe('scripts/install and scripts/uninstall', () => {
  let folder: string;
  let root: string;
  let program: string;
  let key: string;

  beforeEach(() => {
    folder = temporaryFolder();
    root = join(folder, 'root');
    program = join(folder, 'program');
    key = join(folder, 'the.key');
    mkdirSync(root);
    mkdirSync(join(program, 'config'), { recursive: true });
    writeFileSync(join(program, 'main.js'), 'first\n');
    for (const unit of ['vakt.service', 'vakt.socket']) {
      writeFileSync(join(program, 'config', unit), readFileSync(join(CONFIG, unit)));
    }
    writeFileSync(key, 'c2VjcmV0\n', { mode: 0o644 });
  });

  const run = (script: string, ...args: string[]) =>
    spawnSync('/bin/sh', [join(SCRIPTS, script), ...args], { encoding: 'utf8', input: '' });
  const into = ['--root'];
  const install = (...args: string[]) => run('install', '--from', program, ...into, root, ...args);
  const uninstall = (...args: string[]) => run('uninstall', ...into, root, ...args);
  const identity = () => ['--host-name', 'contoso.azure-devices.net', '--device-id', 'gateway7', '--key-file', key];
  const ok = (result: SpawnSyncReturns<string>) => {
    assert.equal(result.status, 0, result.stderr);
    return result.stdout;
  };
  const refused = (result: SpawnSyncReturns<string>, status: number, why: RegExp) => {
    assert.equal(result.status, status, result.stdout);
    assert.match(result.stderr, why);
    assert.deepEqual(tree(), []);
  };
  const tree = () => readdirSync(root, { recursive: true, encoding: 'utf8' }).sort();
  const inRoot = (path: string) => join(root, path);
  const settings = () => readLocalSettings(inRoot('etc/vakt/agent.json'), {});
  const mode = (path: string) => (statSync(inRoot(path)).mode & 0o777).toString(8);

  for (const script of ['install', 'uninstall']) {
    it(`${script} is well-formed, by shellcheck's judgement`, function () {
      require(this, findTool('shellcheck') === undefined ? 'there is no shellcheck' : undefined);
      const { status, stdout } = spawnSync('shellcheck', ['--shell=sh', '--severity=style', join(SCRIPTS, script)]);
      assert.equal(status, 0, String(stdout));
    });
  }

  it('install the program, the units, the secret and a configuration that is valid', () => {
    ok(install(...identity(), '--message-routing', 'both'));
    assert.equal(readFileSync(inRoot('usr/bin/vakt'), 'utf8'), 'first\n');
    assert.equal(readlinkSync(inRoot('usr/bin/vakt')), '../lib/vakt/main.js');
    assert.ok(existsSync(inRoot('usr/lib/systemd/system/vakt.service')));
    assert.ok(existsSync(inRoot('usr/lib/systemd/system/vakt.socket')));
    assert.deepEqual(settings().hub, { hostName: 'contoso.azure-devices.net', transport: 'auto' });
    assert.equal(settings().messageRouting, 'both');
    assert.deepEqual(settings().identity, {
      kind: 'moduleKey',
      deviceId: 'gateway7',
      moduleId: 'azureiotsecurity',
      keyFile: inRoot('etc/vakt/secrets/module.key'),
    });
    assert.equal(readFileSync(inRoot('etc/vakt/secrets/module.key'), 'utf8'), 'c2VjcmV0\n');
  });

  it('makes secrets readable only by root, and all files writable only by root', () => {
    ok(install(...identity()));
    assert.deepEqual(
      ['etc/vakt', 'etc/vakt/agent.json', 'etc/vakt/secrets', 'etc/vakt/secrets/module.key', 'usr/bin/vakt'].map(mode),
      ['711', '644', '700', '600', '755'],
    );
    for (const path of tree()) {
      if (!lstatSync(inRoot(path)).isSymbolicLink()) assert.equal(statSync(inRoot(path)).mode & 0o022, 0, path);
    }
  });

  it('let all users into the folders that they make, whatever the umask', () => {
    const { status, stderr } = spawnSync(
      '/bin/sh',
      ['-c', 'umask 077; exec "$@"', 'sh', join(SCRIPTS, 'install'), '--from', program, ...into, root, ...identity()],
      { encoding: 'utf8' },
    );
    assert.equal(status, 0, stderr);
    const folders = tree().filter((path) => /^(?:usr|etc)$|^usr\//.test(path) && statSync(inRoot(path)).isDirectory());
    assert.deepEqual(new Set(folders.map(mode)), new Set(['755']));
    assert.ok(folders.includes('usr/lib/systemd/system'));
    assert.deepEqual(['etc/vakt/secrets', 'etc/vakt/secrets/module.key'].map(mode), ['700', '600']);
  });

  it('leave the path of Node in an image, whose Node is not that of this system', () => {
    const text = '#!/usr/bin/env -S /opt/node --single-threaded\n';
    writeFileSync(join(program, 'main.js'), text);
    ok(install(...identity()));
    assert.equal(readFileSync(inRoot('usr/bin/vakt'), 'utf8'), text);
  });

  it('installs files instead of links, even if run through a link', () => {
    renameSync(join(program, 'config'), join(folder, 'elsewhere'));
    symlinkSync(join(folder, 'elsewhere'), join(program, 'config'));
    const link = join(folder, 'link');
    symlinkSync(program, link);
    ok(run('install', '--from', link, ...into, root, ...identity()));
    assert.deepEqual(
      tree().filter((path) => lstatSync(inRoot(path)).isSymbolicLink()),
      ['usr/bin/vakt'],
    );
    assert.ok(existsSync(inRoot('usr/lib/vakt/config/vakt.service')));
  });

  for (const name of ['vakt', 'vakt-with-node']) {
    for (const [state, isThere] of [
      ['installed', true],
      ['half-configured', true],
      ['config-files', false],
    ] as const) {
      it(`${isThere ? 'refuse' : 'take'} a system where dpkg's state of ${name} is ${state}`, function () {
        require(this, findTool('dpkg-query') === undefined ? 'there is no dpkg-query' : undefined);
        mkdirSync(inRoot('var/lib/dpkg'), { recursive: true });
        const facts = 'Version: 0.1.0\nArchitecture: all\nMaintainer: A <a@b.invalid>\nDescription: an agent\n';
        writeFileSync(inRoot('var/lib/dpkg/status'), `Package: ${name}\nStatus: install ok ${state}\n${facts}`);
        const before = tree();
        const [installed, removed] = [install(...identity()), uninstall()];
        for (const { status, stderr } of [installed, removed]) {
          assert.equal(status, isThere ? 1 : 0, stderr);
          if (isThere) assert.match(stderr, new RegExp(`the package ${name} is installed`));
        }
        if (isThere) assert.deepEqual(tree(), before);
        // A purge of the package would delete the configuration, which dpkg still takes for the package's.
        const file = inRoot('etc/vakt/agent.json');
        const purge = `\n  cp -p ${file} ${file}.kept && { dpkg --root=${root} --purge ${name}; mv ${file}.kept ${file}; }\n`;
        assert.equal(installed.stdout.includes(purge), !isThere, installed.stdout);
      });
    }
  }

  it('never show the secret', () => {
    const { stdout, stderr } = install(...identity());
    assert.doesNotMatch(stdout + stderr + readFileSync(inRoot('etc/vakt/agent.json'), 'utf8'), /c2VjcmV0/);
  });

  it('take a connection string, a gateway and a CA', () => {
    const more = ['--gateway-host-name', 'edge:8883', '--trusted-ca-file', key];
    ok(install('--connection-string-file', key, ...more));
    assert.deepEqual(settings().identity, {
      kind: 'connectionString',
      file: inRoot('etc/vakt/secrets/connection-string'),
    });
    assert.equal(settings().hub.gatewayHostName, 'edge:8883');
    assert.equal(settings().hub.trustedCaFile, inRoot('etc/vakt/ca.pem'));
  });

  for (const [names, options] of Object.entries({
    long: [
      '--install',
      '--authentication-identity',
      '--authentication-method',
      '--file-path',
      '--host-name',
      '--device-id',
    ],
    short: ['-i', '-aui', '-aum', '-f', '-hn', '-di'],
  })) {
    it(`take the ${names} options of the archived agents' installers`, () => {
      const [go = '', which = '', how = '', file = '', host = '', device = ''] = options;
      ok(install(go, which, 'SecurityModule', how, 'SymmetricKey', file, key, host, 'h.example.net', device, 'd-1'));
      assert.equal(settings().hub.hostName, 'h.example.net');
      assert.ok(settings().identity.kind === 'moduleKey');
    });
  }

  it('upgrade the program, and keep configuration, secrets and state', () => {
    ok(install(...identity()));
    mkdirSync(inRoot('var/lib/vakt/queues'), { recursive: true });
    writeFileSync(inRoot('etc/vakt/agent.json'), '{ "mine": true }');
    writeFileSync(inRoot('etc/vakt/secrets/module.key'), 'another');
    writeFileSync(join(program, 'main.js'), 'second\n');
    writeFileSync(join(program, 'new.js'), '');
    assert.match(ok(install()), /Keeping the configuration/);
    assert.equal(readFileSync(inRoot('usr/bin/vakt'), 'utf8'), 'second\n');
    assert.equal(readFileSync(inRoot('etc/vakt/agent.json'), 'utf8'), '{ "mine": true }');
    assert.equal(readFileSync(inRoot('etc/vakt/secrets/module.key'), 'utf8'), 'another');
    const before = tree();
    rmSync(join(program, 'new.js'));
    ok(install());
    assert.deepEqual(
      tree(),
      before.filter((path) => !path.endsWith('new.js')),
    );
    assert.ok(existsSync(inRoot('var/lib/vakt/queues')));
  });

  it('rewrites the configuration only on request, and keeps the old one', () => {
    ok(install(...identity()));
    const before = tree();
    const again = [...identity().slice(0, 2), '--device-id', 'other', '--key-file', key];
    const { status, stderr } = install(...again);
    assert.equal(status, 2);
    assert.match(stderr, /exists .*--reconfigure/);
    assert.deepEqual(tree(), before);
    ok(install(...again, '--reconfigure'));
    assert.match(readFileSync(inRoot('etc/vakt/agent.json'), 'utf8'), /"deviceId": "other"/);
    assert.match(readFileSync(inRoot('etc/vakt/agent.json.old'), 'utf8'), /gateway7/);
  });

  it('prints the changes in a dry run, and makes none', () => {
    assert.match(ok(install(...identity(), '--dry-run')), /would write .*agent\.json[\s\S]*Nothing was changed/);
    assert.deepEqual(tree(), []);
    ok(install(...identity()));
    const before = tree();
    assert.match(ok(uninstall('--purge', '--dry-run')), /would run: rm -rf[\s\S]*Nothing was changed/);
    assert.deepEqual(tree(), before);
  });

  for (const [what, args] of Object.entries({
    'no identity': [],
    'half an identity': ['--host-name', 'x', '--device-id', 'y'],
    'an option that does not exist': ['--hostname', 'x'],
    'an option without its value': ['--host-name'],
    'two identities': ['--connection-string-file', '/x', '--key-file', '/x'],
    'an identity that is not built': ['--authentication-identity', 'DPS'],
    'a method that is not built': ['-aum', 'SelfSignedCertificate'],
    'a name that would break the JSON': ['--host-name', 'a","b', '--device-id', 'd', '--key-file', '/x'],
    'a routing that does not exist': ['--connection-string-file', '/x', '--message-routing', 'all'],
  })) {
    it(`refuse ${what}, with 2`, () => refused(install(...args), 2, /^install: /));
  }

  it('change nothing when something is missing, and say all of it at once', () => {
    const result = run(
      'install',
      '--from',
      folder,
      '--root',
      root,
      ...identity().slice(0, 4),
      '--key-file',
      '/nowhere',
    );
    refused(result, 1, /no program at .*[\s\S]*-> .*[\s\S]*cannot read \/nowhere[\s\S]*Nothing was changed\./);
  });

  it('remove all but configuration, secrets and state', () => {
    ok(install(...identity()));
    mkdirSync(inRoot('var/lib/vakt'), { recursive: true });
    ok(uninstall());
    assert.deepEqual(
      tree().filter((path) => /vakt/.test(path)),
      ['etc/vakt', 'etc/vakt/agent.json', 'etc/vakt/secrets', 'etc/vakt/secrets/module.key', 'var/lib/vakt'],
    );
    ok(uninstall()); // again
    ok(install()); // and back
    assert.ok(settings().identity.kind === 'moduleKey');
  });

  it('removes everything with --purge', () => {
    ok(install(...identity()));
    mkdirSync(inRoot('var/lib/vakt'), { recursive: true });
    mkdirSync(inRoot('etc/systemd/system/vakt.service.d'), { recursive: true });
    ok(uninstall('--purge'));
    assert.deepEqual(
      tree().filter((path) => /vakt/.test(path)),
      [],
    );
  });

  describe('at a purge', () => {
    let etc: string;
    let data: string;

    beforeEach(() => {
      ok(install(...identity()));
      mkdirSync(inRoot('var/lib/vakt'), { recursive: true });
      [etc, data] = [inRoot('etc/vakt'), join(folder, 'data')];
    });

    /** The script as for the running system, which is the root's folder. There is no systemd and no account. */
    const purgeHere = (mounts = '') => {
      const script = join(folder, 'uninstall');
      const text = readFileSync(join(SCRIPTS, 'uninstall'), 'utf8');
      writeFileSync(
        script,
        text.replaceAll('$root/', `${root}$root/`).replaceAll('/run/systemd', inRoot('run/systemd')),
      );
      const stubs = join(folder, 'bin');
      mkdirSync(stubs, { recursive: true });
      for (const name of ['getent', 'dpkg-query'])
        writeFileSync(join(stubs, name), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
      const inside = `${mounts}\nexec /bin/sh ${script} --purge`;
      const args = ['--user', '--map-root-user', '--mount', '/bin/sh', '-euc', inside];
      return spawnSync('unshare', args, { encoding: 'utf8', env: { PATH: `${stubs}:${process.env.PATH}` } });
    };
    const needNamespaces = (context: Context) => {
      const { status } = spawnSync('unshare', ['--user', '--map-root-user', '--mount', 'true']);
      require(context, status === 0 ? undefined : 'unshare may not make namespaces');
    };
    /** Moves the configuration to another disk, and leaves a link. */
    const link = () => {
      renameSync(etc, data);
      symlinkSync(data, etc);
    };

    it('delete the keys on another disk that a link leads to', function () {
      needNamespaces(this);
      link();
      ok(purgeHere());
      assert.deepEqual(readdirSync(data), []);
      assert.deepEqual(
        tree().filter((path) => /vakt/.test(path)),
        [],
      );
    });

    it('empty mount points, which they cannot remove', function () {
      needNamespaces(this);
      renameSync(etc, data);
      mkdirSync(etc);
      ok(purgeHere(`mount --bind ${data} ${etc}`));
      assert.deepEqual(readdirSync(data), []);
    });

    it('keep the program, to be run again, when keys cannot be deleted', function () {
      needNamespaces(this);
      const { status, stderr } = purgeHere(`mount --bind ${etc} ${etc}\nmount -o remount,bind,ro ${etc}`);
      assert.equal(status, 1, stderr);
      assert.match(stderr, /could not be deleted: [\s\S]*module\.key[\s\S]*The program is kept/);
      assert.ok(existsSync(inRoot('usr/lib/vakt/main.js')));
    });

    it('follow no link of an image, which would lead to folders of this system', () => {
      link();
      ok(uninstall('--purge'));
      assert.ok(existsSync(join(data, 'secrets/module.key')));
      assert.equal(lstatSync(etc, { throwIfNoEntry: false }), undefined);
    });
  });

  it('prints its usage', () => {
    for (const script of ['install', 'uninstall']) assert.match(ok(run(script, '--help')), /^usage: scripts\//);
  });
});
