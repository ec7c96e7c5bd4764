import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { UNREACHABLE_INSPECTOR } from '../../src/core/base/no-inspector.ts';
import { NODE_FLAGS } from '../node-flags.ts';

const PROGRAMS = new URL('../../src/agent/', import.meta.url).pathname;
/** On a port that is free: an inspector that is open elsewhere must not hide that this one would open. */
const ANYWHERE = '--inspect-port=127.0.0.1:0';
/** How many reports after the signal are looked at, one each 50 ms; a plain Node opens its inspector in the first few. */
const REPORTS = 20;

/** Node opens its inspector for whoever may send SIGUSR1: any process of the same uid. */
describe('On SIGUSR1', () => {
  let running: ChildProcess | undefined;
  afterEach(() => {
    running?.kill('SIGKILL');
  });

  /** Runs a program, or none, and sends it signals once it has a listener of its own, or none. @returns where the inspector is open */
  async function signalled(flags: readonly string[], program: string | undefined, args: readonly string[]) {
    const script = `
      import inspector from 'node:inspector';
      setInterval(() => console.error('state', process.listenerCount('SIGUSR1'), inspector.url() ?? 'closed'), 50);
      ${program === undefined ? '' : `import(${JSON.stringify(`${PROGRAMS}${program}`)});`}`;
    const command = [...flags, '--input-type=module', '-e', script, 'x', ...args];
    const child = spawn(process.execPath, command, { stdio: ['ignore', 'ignore', 'pipe'] });
    running = child;
    const ready = program === undefined ? 'state 0 closed' : 'state 1 closed';
    let reports = -1;
    for await (const line of createInterface({ input: child.stderr as NodeJS.ReadableStream })) {
      const [, listening] = /^state \d (ws:.*)$/.exec(line) ?? [];
      if (listening !== undefined) return listening;
      if (reports < 0 && line === ready) reports = 0;
      else if (reports >= 0 && line.startsWith('state')) reports += 1;
      if (reports >= 0) child.kill('SIGUSR1');
      if (reports === REPORTS) return undefined;
    }
    throw new Error(`it has ended with ${child.signalCode ?? child.exitCode}`);
  }

  it('a plain Node opens its inspector', async () => {
    assert.match((await signalled([ANYWHERE], undefined, [])) ?? '', /^ws:/);
  });

  it('a Node with our flags has nowhere to open it, from its first moment on', async () => {
    assert.ok(NODE_FLAGS.includes(UNREACHABLE_INSPECTOR));
    assert.equal(await signalled(NODE_FLAGS, undefined, []), undefined);
  });

  const arguments_: Readonly<Record<string, () => string[]>> = {
    'main.js': () => ['collect', 'ProcessCreate'],
    'reader-main.js': () => [],
    'hardware-main.js': () => ['bios'],
  };
  /** Runs main.js, where that is shipped. */
  const FRAME = 'shipped-main.js';
  for (const [program, args] of Object.entries(arguments_)) {
    it(`${program} opens none, also when it was started without our flags`, async () => {
      assert.equal(await signalled([ANYWHERE], program, args()), undefined);
    });
  }

  it('those are all programs that are shipped, and each takes the signal before it does anything else', () => {
    const source = (file: string) => readFileSync(new URL(`../../../${file}`, import.meta.url), 'utf8');
    const shipped = [...source('scripts/bundle.ts').matchAll(/entryPoints: .*/g)].join('\n');
    const programs = [...shipped.matchAll(/'src\/agent\/([\w-]+)\.ts'/g)].map(([, name]) => `${name}.js`);
    assert.deepEqual(programs.sort(), [...Object.keys(arguments_), FRAME].sort());
    for (const program of programs) {
      const [first] = /^import .*$/m.exec(source(`src/agent/${program.replace('.js', '.ts')}`)) ?? [];
      assert.match(first ?? '', /^import '\.\.\/core\/base\/no-inspector\.ts';/, program);
    }
  });

  it('every Node that the agent starts has the flag', () => {
    const sources = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
    const starters = sources.filter((file) => {
      const text = readFileSync(join('src', file), 'utf8');
      return text.includes('process.execPath') && text.includes('node:child_process');
    });
    assert.ok(starters.length > 0);
    for (const file of starters) {
      assert.match(readFileSync(join('src', file), 'utf8'), /process\.execArgv|UNREACHABLE_INSPECTOR/, file);
    }
  });
});
