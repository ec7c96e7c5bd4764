import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Script } from 'node:vm';
import { bundle } from '../../scripts/bundle.ts';
import { programDigest, sealCodeCache } from '../../src/core/base/code-cache.ts';
import { minutes } from '../../src/core/base/duration.ts';
import { suiteFolder, temporaryFolder } from '../harness/folders.ts';
import { skip } from '../harness/require.ts';
import { nodeFlagsOf } from '../node-flags.ts';
import { TestBed } from './test-bed.ts';

describe('vakt make-code-cache @release', function () {
  this.timeout(minutes(3));
  const folder = suiteFolder();
  const program = join(folder, 'vakt');
  const cache = join(program, 'program.cache');
  const main = join(program, 'main.js');

  /** Runs a command of the program in a folder with the flags of its first line. */
  const vakt = (
    args: readonly string[],
    { at = main, flags = nodeFlagsOf(at), umask = 0o022, env = process.env } = {},
  ) => {
    const before = process.umask(umask);
    try {
      return spawnSync(process.execPath, [...flags, at, ...args], { cwd: folder, encoding: 'utf8', env });
    } finally {
      process.umask(before);
    }
  };
  /** Returns the state that `vakt check` shows for the code cache. */
  const stateOfCache = (options: Parameters<typeof vakt>[1] = {}): string => {
    const { stdout } = vakt(['check', '--json', '--config', join(folder, 'agent.json')], options);
    const findings = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { check: string; state: string });
    return findings.find(({ check }) => check === 'code cache')?.state ?? 'nothing';
  };

  before(async () => {
    await bundle(program);
    chmodSync(folder, 0o755); // world-readable, like the installed program
    cpSync('node_modules/koffi', join(program, 'node_modules/koffi'), { recursive: true });
    cpSync('node_modules/@koromix', join(program, 'node_modules/@koromix'), { recursive: true });
    assert.equal(stateOfCache(), 'note');
    // Root may have a strict umask, but the agent must be able to read this file.
    const { status, stdout, stderr } = vakt(['make-code-cache'], { umask: 0o077 });
    assert.deepEqual([status, stderr], [0, '']);
    assert.match(stdout, new RegExp(`^${cache}, \\d+ bytes\\n$`));
  });

  it('is a command of the only executable file', () => {
    const executable = readdirSync(program).filter((name) => (statSync(join(program, name)).mode & 0o111) !== 0);
    assert.deepEqual(
      executable.filter((name) => name.includes('.')),
      ['main.js'],
    );
  });

  it('creates a world-readable file from which the program then starts', () => {
    assert.equal(statSync(cache).mode & 0o777, 0o644);
    assert.equal(stateOfCache(), 'ok');
  });

  it("creates it for the first line's Node flags, since V8 rejects it with other flags", () => {
    assert.equal(stateOfCache({ flags: [] }), 'note');
  });

  describe('once the cache exists', () => {
    let sealed: Buffer;
    beforeEach(() => {
      sealed = readFileSync(cache);
    });
    afterEach(() => {
      writeFileSync(cache, sealed);
      chmodSync(cache, 0o644);
    });

    it('does not change the behaviour of the agent', async () => {
      const bed = await TestBed.open();
      try {
        bed.writeConfiguration({});
        const agent = bed.startAgent({ build: main });
        const { collectors } = await agent.waitForStatus(({ delivery }) => delivery.messagesSent > 0, minutes(1));
        assert.equal(collectors.SystemInformation?.state, 'on');
        await agent.end();
      } finally {
        await bed.close();
      }
    });

    it('ignores a cache that is damaged at any position, with which V8 would crash', () => {
      for (const part of [0, 0.01, 0.3, 0.6, 0.99]) {
        const damaged = Buffer.from(sealed);
        const at = Math.floor(part * sealed.length);
        damaged[at] = (damaged[at] ?? 0) ^ 0x10;
        writeFileSync(cache, damaged);
        assert.equal(stateOfCache(), 'note', `at ${at}`);
      }
      writeFileSync(cache, sealed.subarray(0, sealed.length / 2));
      assert.equal(stateOfCache(), 'note');
    });

    it('ignores a cache that other users could have written', () => {
      chmodSync(cache, 0o666);
      assert.equal(stateOfCache(), 'note');
    });

    it('ignores the cache of another program', () => {
      const another = join(folder, 'another');
      cpSync(program, another, { recursive: true });
      const text = readFileSync(join(another, 'main.js'), 'utf8');
      const [digest = ''] = /\b[0-9a-f]{64}\b/.exec(text) ?? [];
      writeFileSync(join(another, 'main.js'), text.replace(digest, '0'.repeat(64)));
      assert.equal(stateOfCache({ at: join(another, 'main.js') }), 'note');
      rmSync(another, { recursive: true });
    });
  });

  describe('with another program instead of the agent', () => {
    const other = join(folder, 'other');
    const made = (source: string) => {
      cpSync(program, other, { recursive: true });
      cpSync(main, join(other, 'real.js'));
      rmSync(join(other, 'program.cache'));
      writeFileSync(main.replace(program, other), source);
      return vakt(['make-code-cache'], { at: join(other, 'real.js'), flags: nodeFlagsOf(main) });
    };
    const refused = (source: string): string => {
      const { status, stderr } = made(source);
      assert.equal(status, 1);
      assert.match(stderr, /\(CODE_CACHE_FAILED\)/);
      assert.ok(!existsSync(join(other, 'program.cache')));
      return stderr;
    };
    afterEach(() => rmSync(other, { recursive: true, force: true }));

    it('rejects a cache that does not match', () => {
      const source = `process.on('SIGTERM', () => { require('node:fs').writeSync(3, 'x'.repeat(100)); process.exit(0); });
        console.log('message');
        setInterval(() => {}, 1000);`;
      assert.match(refused(source), /gave none that fits/);
    });

    it('rejects a correctly sealed cache that V8 rejects', () => {
      const source = readFileSync(join(program, 'program.js'));
      const script = new Script(source.toString('latin1'), { filename: 'program.js' }); // by the flags of this process
      const sealed = join(folder, 'sealed');
      writeFileSync(sealed, sealCodeCache(script.createCachedData(), programDigest(source)));
      const handOver = (file: string) => `const { readFileSync, writeFileSync } = require('node:fs');
        process.on('SIGTERM', () => { writeFileSync(3, readFileSync(${JSON.stringify(file)})); process.exit(0); });
        console.log('message');
        setInterval(() => {}, 1000);`;
      assert.match(refused(handOver(sealed)), /gave none that fits/);
      assert.equal(made(handOver(cache)).status, 0);
    });

    it('sends one signal to stop the program, regardless of its output', () => {
      const source = `let asked = 0;
        process.on('SIGTERM', () => {
          if (++asked > 1) process.exit(9);
          setTimeout(() => process.exit(0), 500);
        });
        setInterval(() => console.log('message'), 20);`;
      assert.match(refused(source), /gave none that fits/);
    });

    it('rejects a cache above the size limit', () => {
      const source = `for (;;) require('node:fs').writeSync(3, Buffer.alloc(1e6));`;
      assert.match(refused(source), /gave more than 67108864 bytes/);
    });

    it('reports why the run failed', () => {
      assert.match(refused("throw new Error('no, not today')"), /ended with 1: [\s\S]*no, not today/);
    });

    it('runs it as an unprivileged user of no other process if root calls it', function () {
      if (process.geteuid?.() !== 0) skip(this, 'this is not root');
      const source = `throw new Error(require('node:fs').readFileSync('/proc/self/status', 'utf8'));`;
      const status = refused(source).replaceAll('·', '\n');
      assert.match(status, /Uid:\s+20\d{8}\s/);
      assert.match(status, /Gid:\s+20\d{8}\s/);
      assert.match(status, /Groups:\s+NStgid:/); // none
      assert.match(status, /CapEff:\s+0{16}/);
    });
  });

  it('creates a cache for root with a private TMPDIR', function () {
    if (process.geteuid?.() !== 0) skip(this, 'this is not root');
    rmSync(cache);
    const { status, stderr } = vakt(['make-code-cache'], { env: { ...process.env, TMPDIR: temporaryFolder() } });
    assert.deepEqual([status, stderr], [0, '']);
    assert.equal(stateOfCache(), 'ok');
  });

  it('creates a cache in a user namespace without such a user', function () {
    const env = { ...process.env, TMPDIR: join(folder, 'missing') }; // root's TMPDIR is not used
    const inNamespace = (...command: string[]) => spawnSync('unshare', ['-Ur', ...command], { encoding: 'utf8', env });
    if (inNamespace('true').status !== 0) skip(this, 'unshare -Ur is not allowed here');
    rmSync(cache);
    const { status, stderr } = inNamespace(process.execPath, ...nodeFlagsOf(main), main, 'make-code-cache');
    assert.deepEqual([status, stderr], [0, '']);
    assert.equal(stateOfCache(), 'ok');
  });

  it('reports that the program of a clone has no cache', () => {
    const { status, stderr } = vakt(['make-code-cache'], { at: resolve('dist/src/main.js') });
    assert.equal(status, 1);
    assert.match(stderr, /program\.js can't be read.*\n.*\(CODE_CACHE_FAILED\)/);
  });
});
