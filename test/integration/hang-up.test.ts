import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, minutes, seconds } from '../../src/core/base/duration.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { skip } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import {
  type AgentProcess,
  CLONE_PROGRAM,
  DEVICE,
  type LogRecord,
  MODULE,
  PROGRAM,
  STEADY,
  TestBed,
} from './test-bed.ts';

/** Without capabilities, kernel audit, which other tests use, is not affected. */
const THROUGH = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-all'] : [];
const hasScript = existsSync('/usr/bin/script');

const OWN_RULE = `title: Own rule
id: 7c0d1d1e-5a49-4c0b-9a3e-0c5f2f6f3c11
level: high
logsource: { category: process_creation, product: linux }
detection:
  selection: { Image|endswith: /factory-reset }
  condition: selection
`;

describe('SIGHUP', function () {
  this.timeout(120_000);
  let folder: string;
  let child: ChildProcess | undefined;
  let output: string;

  beforeEach(() => {
    folder = temporaryFolder();
    mkdirSync(join(folder, 'tmp'));
    output = '';
  });
  afterEach(() => {
    child?.kill('SIGKILL');
  });

  /** Starts a command in a new session, without a terminal. */
  const start = (...command: readonly string[]) => {
    const [program = '', ...args] = command;
    const env = { PATH: process.env.PATH, TMPDIR: join(folder, 'tmp') };
    const started = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env, cwd: folder, detached: true });
    for (const stream of [started.stdout, started.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    child = started;
    return new Promise<readonly [number | null, NodeJS.Signals | null]>((resolve) => {
      started.on('close', (status, signal) => resolve([status, signal]));
    });
  };
  const soon = (awaited: string, condition: () => boolean) => until(() => `${awaited}; so far:\n${output}`, condition);
  const temporary = () => readdirSync(join(folder, 'tmp'));

  for (const [program, args, underWay] of [
    [PROGRAM, ['run', '--dry-run'], /"msg":"Vakt starts\."/],
    [CLONE_PROGRAM, ['demo'], /reported +The agent is /],
    [CLONE_PROGRAM, ['emulator'], /vakt run/],
    [PROGRAM, ['collect', 'ProcessCreate'], /^Following ProcessCreate from /m],
  ] as const) {
    it(`stops "vakt ${args.join(' ')}" like SIGTERM and leaves no files or processes`, async () => {
      const ended = start(...THROUGH, process.execPath, program, ...args);
      await soon('under way', () => underWay.test(output));
      child?.kill('SIGHUP');
      assert.deepEqual((await ended)[1], null, output);
      assert.deepEqual(temporary(), []);
    });
  }

  it('stops a dry run whose reader has closed the pipe, and leaves no files or processes', async () => {
    const command = [...THROUGH, process.execPath, PROGRAM, 'run', '--dry-run'].join(' ');
    await start('sh', '-c', `${command} | head -n 1`);
    assert.match(output, /"msg":"Vakt has stopped\."/);
    assert.deepEqual(temporary(), []);
  });

  it('stops an agent when its terminal is closed', async function () {
    if (!hasScript) return skip(this, 'script(1) is not installed');
    const configuration = { identity: { kind: 'connectionString', file: 'secret' }, stateDirectory: 'state' };
    writeFileSync(join(folder, 'agent.json'), JSON.stringify({ ...configuration, controlSocket: 'control.sock' }));
    writeFileSync(
      join(folder, 'secret'),
      `HostName=localhost;DeviceId=d;ModuleId=m;SharedAccessKey=${'A'.repeat(43)}=`,
      {
        mode: 0o600,
      },
    );
    const agent = [...THROUGH, process.execPath, PROGRAM, 'run', '--config', join(folder, 'agent.json')].join(' ');
    const ended = start('script', '-qec', `${agent} | cat >${join(folder, 'log')}`, '/dev/null');
    const socket = join(folder, 'control.sock');
    await soon('listening', () => existsSync(socket));
    child?.kill('SIGKILL'); // closes the terminal
    await ended;
    await soon('gone', () => !existsSync(socket));
  });

  describe('for an agent that runs as a service', () => {
    let bed: TestBed;
    beforeEach(async () => {
      bed = await TestBed.open({ desired: STEADY });
      bed.startWith(STEADY);
    });
    afterEach(() => bed.close());

    const startAgent = () => bed.startAgent({ through: THROUGH, environment: { INVOCATION_ID: '1' } });
    const isAnswer = ({ msg }: LogRecord) => msg.startsWith('Got SIGHUP: looking for changed keys');
    const connected = (agent: AgentProcess) => agent.waitForStatus(({ hub }) => hub.state === 'connected');
    /** Whether the process handles SIGHUP: bit 0 of SigCgt in proc_pid_status(5). */
    const handlesIt = ({ pid }: AgentProcess) =>
      /^SigCgt:.*[13579bdf]$/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));

    it('does not end it during its start, and is logged once the log is open', async () => {
      const agent = startAgent();
      await until('SIGHUP to be handled', () => handlesIt(agent), { every: milliseconds(1) });
      agent.kill('SIGHUP');
      await agent.waitForLog(isAnswer);
      await connected(agent);
    });

    it('is logged with what is read at the start only, and does not reconnect while no file has changed', async () => {
      const agent = startAgent();
      await connected(agent);
      agent.lookNow();
      const line = await agent.waitForLog(isAnswer);
      assert.equal(line.level, 'info');
      assert.match(String(line.remedy), /^To use changed settings, restart the agent: systemctl restart vakt$/);
      await connected(agent);
      assert.equal(bed.hub.connections.length, 1);
    });

    it('makes it connect with a key that was replaced in its file', async () => {
      const agent = startAgent();
      await connected(agent);
      const credential = bed.hub.getModule(DEVICE, MODULE)?.credential;
      assert.ok(credential?.type === 'sas');
      bed.secrets.add(credential.secondaryKey);
      bed.write('module.key', credential.secondaryKey);
      agent.lookNow();
      await until('a second connection', () => bed.hub.connections.length === 2);
      await connected(agent);
    });

    it('makes it load own rules that were added', async () => {
      const rulesDirectory = join(bed.directory, 'rules.d');
      mkdirSync(rulesDirectory, { mode: 0o755 });
      bed.writeConfiguration({ detections: { rulesDirectory } });
      const agent = startAgent();
      const began = systemClock.monotonic();
      const { detections } = await connected(agent);
      assert.equal(detections?.ownRulesHash, undefined);
      bed.write('rules.d/own.yml', OWN_RULE, 0o644);
      agent.lookNow();
      await agent.waitForStatus(({ detections }) => detections?.ownRulesHash !== undefined);
      const took = systemClock.monotonic() - began;
      assert.ok(took < minutes(1), `the agent may have looked by itself: ${took} ms`);
    });

    it('makes it look once a second at most', async () => {
      const agent = startAgent();
      await connected(agent);
      const began = systemClock.monotonic();
      while (systemClock.monotonic() < began + seconds(2)) {
        agent.lookNow();
        await systemClock.sleep(milliseconds(20));
      }
      const most = Math.floor((systemClock.monotonic() - began) / seconds(1)) + 1;
      const lines = agent.log.filter(isAnswer).length;
      assert.ok(lines >= 1 && lines <= most, `${lines} lines instead of at most ${most}`);
      await connected(agent);
    });
  });
});
