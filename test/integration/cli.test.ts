import assert from 'node:assert/strict';
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as v from 'valibot';
import { collectors } from '../../src/agent/collectors/index.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { askControlSocket, serveControlSocket } from '../../src/core/base/control-socket.ts';
import { milliseconds, seconds } from '../../src/core/base/duration.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { require, skip } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { CLONE_PROGRAM, DEVICE, MODULE, PROGRAM, TestBed } from './test-bed.ts';

const DIST = new URL('../../', import.meta.url).pathname;

/** A command that runs as a separate process. */
class CommandProcess {
  stdout = '';
  stderr = '';
  readonly child: ChildProcess;
  readonly ended: Promise<{ status: number | null; signal: NodeJS.Signals | null }>;

  constructor(args: readonly string[], options: SpawnOptions & { main?: string; node?: readonly string[] } = {}) {
    const { main = PROGRAM, node = [], ...spawnOptions } = options;
    this.child = spawn(process.execPath, [...node, main, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...spawnOptions,
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = new Promise((resolve) => {
      this.child.on('close', (status, signal) => resolve({ status, signal }));
    });
  }

  /** Resolves once the command fulfils the condition. */
  async until(condition: (command: CommandProcess) => boolean): Promise<void> {
    await until(
      () => `the expected output; so far:\n${this.stdout}\n${this.stderr}`,
      () => condition(this),
    );
  }
}

describe('Commands that run as processes', function () {
  this.timeout(120_000);
  let folder: string;
  let commands: CommandProcess[];
  const closers: (() => unknown)[] = [];

  beforeEach(() => {
    folder = temporaryFolder();
    commands = [];
  });
  const killAll = async () => {
    for (const { child, ended } of commands) {
      child.kill('SIGKILL');
      await ended;
    }
  };
  afterEach(async () => {
    await killAll();
    for (const close of closers.splice(0)) await close();
  });

  const start = (args: readonly string[], options: ConstructorParameters<typeof CommandProcess>[1] = {}) => {
    const command = new CommandProcess(args, options);
    commands.push(command);
    return command;
  };
  const run = async (args: readonly string[], options: ConstructorParameters<typeof CommandProcess>[1] = {}) => {
    const command = start(args, options);
    const { status } = await command.ended;
    return { status, stdout: command.stdout, stderr: command.stderr };
  };
  /** Writes a configuration of an agent that isn't running. */
  const configure = (changes: object = {}) => {
    const file = join(folder, 'agent.json');
    const identity = { kind: 'moduleKey', deviceId: DEVICE, moduleId: MODULE, keyFile: 'module.key' };
    writeFileSync(join(folder, 'module.key'), Buffer.alloc(32).toString('base64'), { mode: 0o600 });
    writeFileSync(
      file,
      JSON.stringify({
        hub: { hostName: 'localhost', gatewayHostName: 'localhost:1' },
        identity,
        stateDirectory: 'state',
        controlSocket: 'control.sock',
        ...changes,
      }),
    );
    return file;
  };
  const serve = async (handlers: Parameters<typeof serveControlSocket>[1]) => {
    closers.push(await serveControlSocket(join(folder, 'control.sock'), handlers));
  };

  /** Copies the program, so that a test can change it. @returns path of its main file */
  const copyProgram = () => {
    mkdirSync(join(folder, 'dist'));
    cpSync(join(DIST, 'src'), join(folder, 'dist/src'), { recursive: true });
    cpSync(join(DIST, '../package.json'), join(folder, 'package.json'));
    for (const used of ['node_modules', 'config']) symlinkSync(join(DIST, '..', used), join(folder, used));
    return join(folder, 'dist/src/main.js');
  };

  it('run rejects the example configuration and a URL instead of a host name', async () => {
    for (const [hostName, id, says] of [
      ['contoso.azure-devices.net', 'CONFIG_INCOMPLETE', /still the example's/],
      ['https://hub.azure-devices.net/', 'CONFIG_INVALID', /write \\"hub\.azure-devices\.net\\"/],
    ] as const) {
      const { status, stdout } = await run(['run', '--config', configure({ hub: { hostName } })]);
      assert.equal(status, 78);
      assert.match(stdout, new RegExp(`"id":"${id}"`));
      assert.match(stdout, says);
    }
  });

  it('run by root rejects a state directory of another user, and writes nothing there', async function () {
    if (process.getuid?.() !== 0) skip(this, 'needs root, to give a directory to another user');
    const file = configure();
    mkdirSync(join(folder, 'state'), { mode: 0o700 });
    chownSync(join(folder, 'state'), 65_534, 65_534);
    const { status, stdout } = await run(['run', '--config', file]);
    assert.equal(status, 70);
    assert.match(stdout, /"id":"STATE_DIRECTORY_UNUSABLE"/);
    assert.match(stdout, /setpriv --reuid=65534 /);
    assert.deepEqual(readdirSync(join(folder, 'state')), []);
  });

  describe('help and wrong usage', () => {
    const ofAgent = ['run', 'check', 'collect', 'events', 'status', 'remove-rules', 'make-code-cache'];
    const ofClone = ['demo', 'emulator', 'fleet'];

    it('lists the commands', async () => {
      for (const args of [['--help'], ['help'], ['-h'], []]) {
        for (const [main, names] of [
          [PROGRAM, ofAgent],
          [CLONE_PROGRAM, [...ofAgent, ...ofClone]],
        ] as const) {
          const { status, stdout } = await run(args, { main });
          assert.equal(status, 0);
          for (const name of [...names, 'version']) assert.match(stdout, new RegExp(`^ +vakt ${name} `, 'm'));
        }
      }
    });

    it('explains each command with its exit statuses', async () => {
      for (const name of [...ofAgent, ...ofClone, 'posture']) {
        const main = ofClone.includes(name) ? CLONE_PROGRAM : PROGRAM;
        const { status, stdout, stderr } = await run([name, '--help'], { main });
        assert.deepEqual([status, stderr], [0, '']);
        assert.match(stdout, new RegExp(`^usage: vakt ${name}`, 'm'));
      }
      assert.match((await run(['status', '--help'])).stdout, /Exit status: 0 running; 1 not running, degraded/);
    });

    for (const [fault, args, message] of [
      ['an unknown command', ['frobnicate'], /"frobnicate" is not a command; "vakt --help"/],
      ['a misspelt command', ['chek'], /"chek" is not a command; did you mean "check"\? "vakt --help"/],
      [
        'an unknown option',
        ['status', '--jsn'],
        /^vakt status: .*--jsn.*\nusage: vakt status .*\n"vakt status --help" .*\n$/,
      ],
      ['an option without a value', ['check', '--config'], /^vakt check: .*--config.*\nusage: vakt check/],
      ['an extra argument', ['events', 'x'], /^vakt events: unexpected argument "x"\nusage: vakt events/],
      ['vakt collect without an event', ['collect'], /^vakt collect: EVENT must be one of .*\nusage: vakt collect/],
      ['vakt collect with an unknown event', ['collect', 'Nonsense'], /EVENT must be one of .*ProcessCreate/],
      ['an invalid duration', ['demo', '--duration', '5'], /--duration takes .*\nusage: vakt demo/],
      ['vakt run with an unknown option', ['run', '--verbose'], /^vakt run: .*--verbose.*\nusage: vakt run/],
    ] as const) {
      it(`exits with 2 and prints the usage: ${fault}`, async () => {
        const main = ofClone.includes(args[0]) ? CLONE_PROGRAM : PROGRAM;
        const { status, stdout, stderr } = await run(args, { main });
        assert.deepEqual([status, stdout], [2, '']);
        assert.match(stderr, message);
      });
    }

    it('does not print control characters of an argument to the terminal', async () => {
      for (const args of [['\u001b[2J'], ['events', '\u001b[2J'], ['status', '--config', '/\u001b[2J']]) {
        const { stderr } = await run(args);
        assert.match(stderr, /·\[2J/);
        assert.ok(!stderr.includes('\u001b'));
      }
    });

    it("does not print control characters of an internal error's message to the terminal", async () => {
      const main = copyProgram();
      writeFileSync(
        join(folder, 'dist/src/agent/commands/events.js'),
        "export async function run() { throw new TypeError('\\u001b[2J'); }",
      );
      const { status, stderr } = await run(['events'], { main });
      assert.equal(status, 1);
      assert.match(stderr, /^TypeError: ·\[2J\n +at Module\.run /m);
      assert.ok(!stderr.includes('\u001b'));
    });

    it("does not print control characters of an agent's log in a demo to the terminal", async () => {
      const main = copyProgram();
      writeFileSync(
        join(folder, 'dist/src/agent/commands/run.js'),
        "export const run = async (_args, { stdout }) => { stdout('\\u001b[2J'); return 0; };",
      );
      const { stdout } = await run(['demo', '--duration', 'PT20S'], { main });
      assert.match(stdout, /^ +\S+ s {2}agent +·\[2J$/m);
      assert.ok(!stdout.includes('\u001b'));
    });

    it('does not print control characters of an untranslatable record to the terminal', async () => {
      const main = copyProgram();
      appendFileSync(
        join(folder, 'dist/src/agent/collectors/process-create.js'),
        "\nprocessCreate.translate = () => { throw new TypeError('\\u001b[2J'); };",
      );
      const command = start(['collect', 'ProcessCreate', '--config', configure()], { main });
      await command.until(({ stderr }) => /^Following ProcessCreate from \w+;/m.test(stderr));
      const sleeping = spawn('/bin/sleep', ['20'], { stdio: 'ignore' });
      await command.until(({ stderr }) => stderr.includes('broken')).finally(() => sleeping.kill());
      assert.match(command.stderr, /^Skipped a broken record: ·\[2J\.$/m);
      command.child.kill('SIGINT');
      assert.deepEqual(await command.ended, { status: 0, signal: null });
    });
  });

  describe('output that no process reads', () => {
    it('makes a command exit with 1 and an error message if the disk is full', async () => {
      for (const args of [
        ['events', '--json'],
        ['check', '--config', configure()],
        ['version'],
        ['status', '--help'],
      ]) {
        const full = openSync('/dev/full', 'w');
        const { status, stderr } = await run(args, { stdio: ['ignore', full, 'pipe'] });
        assert.deepEqual([status, stderr], [1, 'vakt: standard output cannot be written: ENOSPC\n'], args.join(' '));
      }
    });

    it('makes a command exit with 141, as by SIGPIPE, if the reader has closed the pipe', async () => {
      const command = start(['events', '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
      command.child.stdout?.destroy();
      assert.deepEqual(await command.ended, { status: 141, signal: null });
    });

    it('is written completely before a command exits, even if it is read slowly', async () => {
      const large = 'x'.repeat(1_000_000);
      await serve({ '/status': () => ({ state: 'running', large }) });
      const command = start(['status', '--json', '--config', configure()]);
      command.child.stdout?.pause();
      await systemClock.sleep(milliseconds(500));
      command.child.stdout?.resume();
      assert.deepEqual(await command.ended, { status: 0, signal: null });
      assert.equal(JSON.parse(command.stdout).large, large);
    });

    it('makes a command that follows events exit cleanly', async () => {
      let left: Promise<unknown> | undefined;
      await serve({
        '/follow': (_query, response) => {
          const timer = setInterval(() => response.write('{"a":1}\n'), 20);
          left = once(response, 'close').then(() => clearInterval(timer));
        },
      });
      const command = start(['collect', 'Diagnostic', '--config', configure()]);
      await once(command.child.stdout as NodeJS.EventEmitter, 'data');
      command.child.stdout?.destroy();
      assert.deepEqual(await command.ended, { status: 141, signal: null });
      assert.ok(left !== undefined);
      await left;
    });

    it('makes a demo stop all its processes and remove its files', async () => {
      const command = start(['demo'], { main: CLONE_PROGRAM, env: { ...process.env, TMPDIR: folder } });
      await once(command.child.stdout as NodeJS.EventEmitter, 'data');
      await command.until(() => processesIn(folder).length > 0);
      command.child.stdout?.destroy();
      assert.deepEqual(await command.ended, { status: 141, signal: null });
      assert.deepEqual(processesIn(folder), []);
      assert.deepEqual(readdirSync(folder), []);
    });
  });

  describe('signals', () => {
    /** A server that accepts connections and never answers. */
    const silence = async () => {
      const server = createServer((socket) => {
        closers.unshift(() => socket.destroy());
      }).listen(join(folder, 'control.sock'));
      await once(server, 'listening');
      closers.push(() => new Promise((resolve) => server.close(resolve)));
      return { asked: once(server, 'connection') };
    };

    it('abort a request that is not answered', async () => {
      for (const args of [['status'], ['check'], ['collect', 'MessageStatistics'], ['collect', 'Diagnostic']]) {
        rmSync(join(folder, 'control.sock'), { force: true });
        const { asked } = await silence();
        const command = start([...args, '--config', configure()]);
        await asked;
        command.child.kill('SIGINT');
        const { status } = await command.ended;
        assert.doesNotMatch(command.stdout, /does not answer/, args.join(' ')); // its output after the 5-s time limit
        assert.deepEqual([status, command.stderr], [args[1] === 'Diagnostic' ? 0 : 1, ''], args.join(' '));
      }
    });

    for (const [signal, status] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      it(`kill a command with status ${status} at the second ${signal} if it ignores the first`, async () => {
        await serve({ '/status': () => ({ state: 'running', large: 'x'.repeat(1_000_000) }) });
        const command = start(['status', '--json', '--config', configure()]);
        command.child.stdout?.pause(); // so that it hangs in its last write
        await command.until(({ child }) => (child.stdout?.readableLength ?? 0) > 0);
        command.child.kill(signal);
        await systemClock.sleep(milliseconds(20));
        command.child.kill(signal); // npm also passes it on
        await systemClock.sleep(milliseconds(1_200));
        assert.equal(command.child.exitCode, null);
        await until('its end', async () => {
          command.child.kill(signal); // again, in case the first one was handled late
          await systemClock.sleep(milliseconds(1_200));
          return command.child.exitCode !== null;
        });
        assert.equal(command.child.exitCode, status);
        command.child.stdout?.resume();
      });
    }
  });

  describe('a missing part of the program', () => {
    for (const [name, status, opening] of [
      ['events', 1, 'vakt events: '],
      ['run', 70, 'vakt encountered an error! .*'],
    ] as const) {
      it(`is named with a remedy by vakt ${name}`, async () => {
        const main = copyProgram();
        rmSync(join(folder, `dist/src/agent/commands/${name}.js`));
        for (const args of [[name], [name, '--help']]) {
          const result = await run(args, { main });
          assert.deepEqual([result.status, result.stdout], [status, '']);
          assert.match(result.stderr, new RegExp(`^${opening}cannot load "vakt \\w+": .*\\nInstall Vakt again.*\\n$`));
        }
        assert.match((await run(['--help'], { main })).stderr, /Install Vakt again/);
      });
    }
  });

  describe('vakt collect', () => {
    it('follows events of the running agent, and exits when the agent does', async () => {
      let stop = () => {};
      await serve({
        '/follow': (query, response) => {
          response.write(`${JSON.stringify({ asked: query.get('event'), name: '\u009b2J' })}\n`);
          stop = () => response.destroy();
        },
      });
      const command = start(['collect', 'processcreate', '--config', configure()]);
      await command.until(({ stdout }) => stdout.includes('\n'));
      assert.equal(command.stdout, '{"asked":"ProcessCreate","name":"\\u009b2J"}\n');
      assert.equal(command.stderr, 'Following ProcessCreate of the running agent; Ctrl-C ends it.\n');
      stop();
      assert.deepEqual(await command.ended, { status: 1, signal: null });
      assert.match(command.stderr, /the agent at .* exited\n.* \(AGENT_NOT_RUNNING\)\n$/);
    });

    it('follows several events of the running agent in envelopes, and applies the filter', async () => {
      await serve({
        '/follow': (query, response) => {
          const event = query.get('event');
          response.write('null\n[]\n{\n');
          for (const UserName of ['root', 'other'])
            response.write(`${JSON.stringify({ UserName, ExtraDetails: { Event: event } })}\n`);
        },
      });
      const events = ['Login', 'ProcessCreate'];
      const command = start([
        'collect',
        ...events,
        '--filter',
        'UserName=root',
        '--filter',
        'Event~o',
        '--config',
        configure(),
      ]);
      await command.until(({ stdout }) => stdout.split('\n').length > 2);
      const found = command.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      assert.deepEqual(found.map(({ Name }) => Name).sort(), events);
      for (const { Name, Payload: payload, IsEmpty } of found)
        assert.deepEqual([IsEmpty, payload], [false, [{ UserName: 'root', ExtraDetails: { Event: Name } }]]);
      command.child.kill('SIGINT');
      assert.deepEqual(await command.ended, { status: 0, signal: null });
    });

    it('collects several snapshots and prints one per line', async () => {
      const args = ['SystemInformation', 'LocalUsers', '--filter', 'UserId=0'];
      const { status, stdout, stderr } = await run(['collect', ...args, '--config', configure()]);
      assert.equal(status, 0);
      const [system, users, ...more] = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      assert.deepEqual([system.Name, system.Payload, more], ['SystemInformation', [], []]);
      assert.match(stderr, /^SystemInformation: no element has a field "UserId"$/m);
      assert.ok(users.Payload.length > 0);
      for (const { UserId } of users.Payload) assert.equal(UserId, '0');
    });

    it('rejects an invalid filter', async () => {
      const { status, stderr } = await run(['collect', 'LocalUsers', '--filter', 'UserId', '--config', configure()]);
      assert.equal(status, 2);
      assert.match(stderr, /--filter takes FIELD=TEXT or FIELD~TEXT, not "UserId"/);
    });

    it('reads from the kernel itself if no agent runs', async () => {
      const command = start(['collect', 'ProcessCreate', '--config', configure()]);
      await command.until(({ stderr }) => /^Following ProcessCreate from \w+;/m.test(stderr));
      const sleeping = spawn('/bin/sleep', ['41.9871'], { stdio: 'ignore' });
      await command.until(({ stdout }) => stdout.includes('sleep 41.9871')).finally(() => sleeping.kill());
      command.child.kill('SIGINT');
      assert.deepEqual(await command.ended, { status: 0, signal: null });
    });

    it('does not read from the kernel if an agent may run but does not answer', async () => {
      writeFileSync(join(folder, 'file'), '');
      const config = configure({ controlSocket: 'file/control.sock' });
      const { status, stderr } = await run(['collect', 'ProcessCreate', '--config', config]);
      assert.equal(status, 1);
      assert.match(stderr, /ENOTDIR/);
      assert.doesNotMatch(stderr, /Following/);
    });

    it('fails if an event needs a running agent and no agent runs', async () => {
      for (const { name } of collectors.filter(({ type }) => type !== 'Security')) {
        const { status, stderr } = await run(['collect', name, '--config', configure()]);
        assert.equal(status, 1);
        assert.match(stderr, /no agent answers at .*\nStart it with "vakt run"/);
      }
    });

    for (const collector of collectors) {
      if (collector.category !== 'Periodic' || collector.type !== 'Security') continue;
      it(`collects ${collector.name} as it is declared`, async function () {
        const isRefused = collector.name === 'FirewallConfiguration' && process.getuid?.() !== 0;
        require(this, isRefused ? 'only root may read the packet filter' : undefined);
        const { status, stdout, stderr } = await run(['collect', collector.name, '--config', configure()]);
        assert.equal(status, 0);
        assert.doesNotMatch(stderr, /defect/); // stderr may contain warnings about this machine
        v.parse(v.array(collector.payload), JSON.parse(stdout));
      });
    }

    it('prints a whole snapshot that the agent would send in parts, with a note', async () => {
      mkdirSync(join(folder, 'root/etc'), { recursive: true });
      const accounts = Array.from({ length: 3_000 }, (_, n) => `user${n}:x:${n}:${n}::/home/user${n}:/bin/bash\n`);
      writeFileSync(join(folder, 'root/etc/passwd'), accounts.join(''));
      writeFileSync(join(folder, 'root/etc/group'), '');
      const config = configure({ hostRoot: join(folder, 'root') });
      const { status, stdout, stderr } = await run(['collect', 'LocalUsers', '--config', config]);
      assert.equal(status, 0);
      assert.equal(JSON.parse(stdout).length, 3_000);
      assert.match(
        stderr,
        /^Larger than a message: .* sends 3000 of 3000 elements in 2 messages, with Part, Parts and/,
      );
    });

    it('works without a configuration, but not with a broken one', async () => {
      const { status, stdout } = await run(['collect', 'SystemInformation'], { env: {} });
      assert.equal(status, 0);
      assert.equal(JSON.parse(stdout).length, 1);
      const broken = await run(['collect', 'SystemInformation'], { env: { VAKT_HOST_ROOT: '/' } });
      assert.equal(broken.status, 1);
      assert.match(broken.stderr, /CONFIG_INCOMPLETE/);
      const named = await run(['collect', 'SystemInformation', '--config', join(folder, 'no.json')]);
      assert.equal(named.status, 1);
      assert.match(named.stderr, /CONFIG_FILE_MISSING/);
    });
  });

  describe('vakt run', () => {
    let bed: TestBed;
    beforeEach(async () => {
      bed = await TestBed.open();
    });
    afterEach(async () => {
      await killAll();
      await bed.close(); // removes the agent's folder
    });
    const agentSocket = () => join(bed.directory, 'control.sock');
    const answers = () => askControlSocket(agentSocket(), '/status').catch(() => undefined);
    const agent = (options: ConstructorParameters<typeof CommandProcess>[1] = {}) =>
      start(['run', '--config', join(bed.directory, 'agent.json')], options);
    const untilItAnswers = async () => {
      while ((await answers()) === undefined) await systemClock.sleep(milliseconds(50));
    };

    it('continues and exits normally if no log can be written', async () => {
      const full = openSync('/dev/full', 'w');
      const command = agent({ stdio: ['ignore', full, 'pipe'] });
      await untilItAnswers();
      await bed.waitForEvents(() => bed.events('LocalUsers').length > 0);
      command.child.kill('SIGTERM');
      assert.deepEqual(await command.ended, { status: 0, signal: null });
      assert.equal(command.stderr, '');
    });

    it('continues when the reader of its log closes the pipe', async () => {
      const command = agent();
      command.child.stdout?.destroy();
      await untilItAnswers();
      await bed.waitForEvents(() => bed.events('LocalUsers').length > 0);
      command.child.kill('SIGTERM');
      assert.deepEqual(await command.ended, { status: 0, signal: null });
    });

    it('logs human-readable lines to a terminal', async function () {
      if (spawnSync('script', ['--version']).error !== undefined)
        skip(this, 'there is no script(1) to make a terminal');
      const command = [process.execPath, PROGRAM, 'run', '--config', join(folder, 'no.json')].join(' ');
      const { stdout, status } = spawnSync('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      assert.equal(status, 78);
      assert.match(
        stdout,
        /^\d\d:\d\d:\d\d error vakt encountered an error! Error in: Local Configuration, .* remedy=/,
      );
    });

    it('exits with the documented status even if no log can be written', async () => {
      const full = openSync('/dev/full', 'w');
      const config = join(folder, 'no.json');
      const { status } = await run(['run', '--config', config], { stdio: ['ignore', full, 'pipe'] });
      assert.equal(status, 78);
    });

    for (const level of ['silent', 'fatal']) {
      it(`logs why it cannot start, even with logging.level ${level}`, async () => {
        bed.writeConfiguration({ logging: { level }, identity: { kind: 'connectionString', file: 'missing' } });
        const command = agent();
        assert.equal((await command.ended).status, 77);
        const record = JSON.parse(command.stdout);
        assert.deepEqual([record.level, record.id], ['error', 'SECRET_FILE_MISSING']);
        assert.match(record.msg, /^vakt encountered an error! Error in: Authentication, reason: File Not Exist/);
      });
    }

    it('exits with 78 if the path of the control socket is too long', async () => {
      bed.writeConfiguration({ controlSocket: `${'x'.repeat(110)}.sock` });
      const command = agent();
      assert.equal((await command.ended).status, 78);
      assert.match(command.stdout, /"id":"CONFIG_INVALID".*at most 107 bytes/);
    });

    const planted = (text: string) => {
      const file = join(folder, 'planted.mjs');
      writeFileSync(file, text);
      return { node: ['--import', pathToFileURL(file).href] };
    };

    it('exits with 70 at an uncaught exception before it has started', async () => {
      const hang =
        "import { Server } from 'node:net'; Server.prototype.listen = () => process.nextTick(() => { throw new Error('planted'); });";
      const command = agent(planted(hang));
      assert.equal((await command.ended).status, 70);
      assert.match(command.stdout, /Error in: Other, reason: Other, extra details: planted/);
    });

    it('continues after an uncaught exception once it has started', async () => {
      const command = agent(planted("process.on('SIGUSR2', () => { throw new Error('planted'); });"));
      await command.until(({ stdout }) => stdout.includes('Connected to the hub.'));
      await bed.waitForEvents(() => bed.events('LocalUsers').length > 0);
      command.child.kill('SIGUSR2');
      await command.until(({ stdout }) => /Uncaught exception; continuing\./.test(stdout));
      assert.ok(await answers());
      command.child.kill('SIGTERM');
      assert.deepEqual(await command.ended, { status: 0, signal: null });
    });

    it('is shown by vakt status and vakt check, which do not affect it', async () => {
      const command = agent();
      await command.until(({ stdout }) => stdout.includes('Connected to the hub.'));
      const config = join(bed.directory, 'agent.json');
      const { connections } = bed.hub;
      const before = connections.length;
      const status = await run(['status', '--config', config]);
      assert.match(status.stdout, /^hub +connected to emulator\.azure-devices\.net by MQTT$/m);
      const check = await run(['check', '--config', config]);
      assert.match(check.stdout, /OK +hub +the running agent is connected/);
      assert.equal(check.status, 0, check.stdout);
      assert.equal(bed.hub.connections.length, before);
    });
  });

  describe('vakt status', () => {
    it('exits with 1 if no agent runs, and shows how to start it', async () => {
      const { status, stdout, stderr } = await run(['status', '--config', configure()]);
      assert.deepEqual([status, stdout], [1, '']);
      assert.match(
        stderr,
        /^vakt status: no agent answers at .*ENOENT\nStart it with "vakt run".* \(AGENT_NOT_RUNNING\)\n$/,
      );
    });

    it('shows a user without access the same command with sudo', async () => {
      await serve({ '/status': () => ({}) });
      chmodSync(folder, 0o755);
      chmodSync(join(folder, 'control.sock'), 0);
      const args = ['status', '--config', configure()];
      const { status, stdout, stderr } = await run(args, process.getuid?.() === 0 ? { uid: 65_534 } : {});
      assert.deepEqual([status, stdout], [1, '']);
      assert.match(stderr, /^vakt status: you may not ask the agent at .*control\.sock\n/);
      assert.ok(stderr.endsWith(`\nUse: sudo vakt ${args.join(' ')} (AGENT_ACCESS_DENIED)\n`), stderr);
    });

    it("reports the service's state from systemd if its agent does not answer", async function () {
      if (process.getuid?.() !== 0) skip(this, 'needs root, to put another systemctl in place of the real one');
      const systemctl = ['/usr/bin/systemctl', '/bin/systemctl'].find((path) => existsSync(path));
      if (systemctl === undefined) skip(this, 'systemctl is not here');
      const fake = join(folder, 'systemctl');
      const says = ['LoadState=loaded', 'ActiveState=inactive', 'SubState=dead', 'UnitFileState=enabled'];
      writeFileSync(fake, `#!/bin/sh\nprintf '%s\\n' ${says.join(' ')}\n`, { mode: 0o755 });
      // In a new mount namespace, so that no other process sees them.
      const place = 'mount -t tmpfs none /run && mkdir -p /run/systemd/system && mount --bind "$1" "$2" && shift 2';
      const command = spawnSync(
        'unshare',
        [
          '--mount',
          'sh',
          '-c',
          `${place} && exec "$@"`,
          'sh',
          fake,
          systemctl ?? '',
          process.execPath,
          PROGRAM,
          'status',
        ],
        { encoding: 'utf8', env: { PATH: process.env.PATH } },
      );
      assert.match(command.stderr, /no agent answers at .*; the service vakt is stopped\nRun: systemctl start vakt \(/);
      assert.equal(command.status, 1);
    });
  });

  describe('vakt demo', () => {
    it("uses its own configuration file and ignores an agent's environment variables", async () => {
      const environment = {
        ...process.env,
        TMPDIR: folder,
        VAKT_IDENTITY__KEY_FILE: '/nowhere',
        VAKT_HOST_ROOT: '/no',
        HTTPS_PROXY: 'http://proxy.invalid:1',
      };
      const command = start(['demo'], { main: CLONE_PROGRAM, env: environment });
      await command.until(({ stdout }) => stdout.includes('received a High message'));
      command.child.kill('SIGINT');
      const { status } = await command.ended;
      const { stdout } = command;
      assert.match(stdout, /The agent exited with status 0/);
      assert.doesNotMatch(stdout, /proxy\.invalid/i); // events of other programs may contain the word
      assert.equal(status, 0, stdout);
      assert.deepEqual(readdirSync(folder), []);
    });

    it('exits immediately at a signal during its start', async () => {
      const command = start(['demo'], { main: CLONE_PROGRAM, env: { ...process.env, TMPDIR: folder } });
      await command.until(() => readdirSync(folder).length > 0);
      command.child.kill('SIGTERM');
      await systemClock.within(seconds(30), 'the end of the demo', command.ended);
      assert.deepEqual(processesIn(folder), []);
      assert.deepEqual(readdirSync(folder), []);
    });
  });
});

/** Returns ids of the processes, except zombies, that have a path in `folder` among their arguments. */
const processesIn = (folder: string): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        readlinkSync(`/proc/${pid}/exe`);
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${folder}/`);
      } catch {
        return false;
      }
    })
    .map(Number);
