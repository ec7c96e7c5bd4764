import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { UNREACHABLE_INSPECTOR } from '../../src/core/base/no-inspector.ts';
import { NODE_FLAGS } from '../node-flags.ts';

const PROGRAMS = new URL('../../src/agent/', import.meta.url).pathname;
/** Uses a free port: another process's open inspector must not hide that this one would open. */
const ANYWHERE = '--inspect-port=127.0.0.1:0';
/** Number of reports checked after the signal, one per 50 ms; a plain Node opens its inspector in the first few. */
const REPORTS = 20;

/** Node opens its inspector for any process that may send SIGUSR1: all processes of the same uid. */
describe('SIGUSR1', () => {
  let running: ChildProcess | undefined;
  afterEach(() => {
    running?.kill('SIGKILL');
  });

  /** Runs a program and sends it signals before or after it has its own signal handler. @returns addresses of open inspectors */
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

  it('makes a plain Node open its inspector', async () => {
    assert.match((await signalled([ANYWHERE], undefined, [])) ?? '', /^ws:/);
  });

  it('does not open the inspector of a Node with the shipped flags, even at its start', async () => {
    assert.ok(NODE_FLAGS.includes(UNREACHABLE_INSPECTOR));
    assert.equal(await signalled(NODE_FLAGS, undefined, []), undefined);
  });

  const arguments_: Readonly<Record<string, () => string[]>> = {
    'main.js': () => ['collect', 'ProcessCreate'],
    'reader-main.js': () => [],
    'hardware-main.js': () => ['bios'],
  };
  /** Runs main.js if it is shipped. */
  const FRAME = 'shipped-main.js';
  for (const [program, args] of Object.entries(arguments_)) {
    it(`does not open the inspector of ${program}, even without the shipped flags`, async () => {
      assert.equal(await signalled([ANYWHERE], program, args()), undefined);
    });
  }

  it('is handled first by each shipped program, all of which are tested here', () => {
    const source = (file: string) => readFileSync(new URL(`../../../${file}`, import.meta.url), 'utf8');
    const shipped = [...source('scripts/bundle.ts').matchAll(/entryPoints: .*/g)].join('\n');
    const programs = [...shipped.matchAll(/'src\/agent\/([\w-]+)\.ts'/g)].map(([, name]) => `${name}.js`);
    assert.deepEqual(programs.sort(), [...Object.keys(arguments_), FRAME].sort());
    for (const program of programs) {
      const [first] = /^import .*$/m.exec(source(`src/agent/${program.replace('.js', '.ts')}`)) ?? [];
      assert.match(first ?? '', /^import '\.\.\/core\/base\/no-inspector\.ts';/, program);
    }
  });

  it('cannot open the inspector of a Node that the agent starts, since each has the flag', () => {
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
