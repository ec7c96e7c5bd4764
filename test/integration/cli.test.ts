import assert from 'node:assert/strict';
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
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

/** A command as a process of its own. */
class CommandProcess {
  stdout = '';
  stderr = '';
  readonly child: ChildProcess;
  readonly ended: Promise<{ status: number | null; signal: NodeJS.Signals | null }>;

  constructor(args: readonly string[], options: SpawnOptions & { main?: string; node?: readonly string[] } = {}) {
    const { main = PROGRAM, node = [], ...others } = options;
    this.child = spawn(process.execPath, [...node, main, ...args], { stdio: ['ignore', 'pipe', 'pipe'], ...others });
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

  /** Resolves once `condition` is true of it. */
  async until(condition: (command: CommandProcess) => boolean): Promise<void> {
    await until(
      () => `what it should print; so far:\n${this.stdout}\n${this.stderr}`,
      () => condition(this),
    );
  }
}

describe('Commands, as processes', function () {
  this.timeout(120_000);
  let folder: string;
  let commands: CommandProcess[];
  const closers: (() => unknown)[] = [];

  beforeEach(() => {
    folder = temporaryFolder();
    commands = [];
  });
  afterEach(async () => {
    for (const { child, ended } of commands) {
      child.kill('SIGKILL');
      await ended;
    }
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
  /** A configuration whose agent isn't running, nor needs to. */
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

  /** A copy of the program, to be changed. @returns what to start it by */
  const copyProgram = () => {
    mkdirSync(join(folder, 'dist'));
    cpSync(join(DIST, 'src'), join(folder, 'dist/src'), { recursive: true });
    cpSync(join(DIST, '../package.json'), join(folder, 'package.json'));
    for (const used of ['node_modules', 'config']) symlinkSync(join(DIST, '..', used), join(folder, used));
    return join(folder, 'dist/src/main.js');
  };

  it('run refuses the example configuration, and a URL in the place of a host', async () => {
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

  it('run refuses root the state directory of another user, and writes nothing there', async function () {
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

    it('explains each command, with what it exits with', async () => {
      for (const name of [...ofAgent, ...ofClone, 'posture']) {
        const main = ofClone.includes(name) ? CLONE_PROGRAM : PROGRAM;
        const { status, stdout, stderr } = await run([name, '--help'], { main });
        assert.deepEqual([status, stderr], [0, '']);
        assert.match(stdout, new RegExp(`^usage: vakt ${name}`, 'm'));
      }
      assert.match((await run(['status', '--help'])).stdout, /Exit status: 0 running; 1 not running, degraded/);
    });

    for (const [what, args, message] of [
      ['an unknown command', ['frobnicate'], /"frobnicate" is not a command; "vakt --help"/],
      ['a misspelt command', ['chek'], /"chek" is not a command; did you mean "check"\? "vakt --help"/],
      [
        'an unknown option',
        ['status', '--jsn'],
        /^vakt status: .*--jsn.*\nusage: vakt status .*\n"vakt status --help" .*\n$/,
      ],
      ['an option without its value', ['check', '--config'], /^vakt check: .*--config.*\nusage: vakt check/],
      ['an argument too many', ['events', 'x'], /^vakt events: unexpected argument "x"\nusage: vakt events/],
      ['vakt collect without an event', ['collect'], /^vakt collect: EVENT must be one of .*\nusage: vakt collect/],
      ['vakt collect of what is no event', ['collect', 'Nonsense'], /EVENT must be one of .*ProcessCreate/],
      ['a duration that is none', ['demo', '--duration', '5'], /--duration takes .*\nusage: vakt demo/],
      ['vakt run with an unknown option', ['run', '--verbose'], /^vakt run: .*--verbose.*\nusage: vakt run/],
    ] as const) {
      it(`exits with 2 and says how to use it: ${what}`, async () => {
        const main = ofClone.includes(args[0]) ? CLONE_PROGRAM : PROGRAM;
        const { status, stdout, stderr } = await run(args, { main });
        assert.deepEqual([status, stdout], [2, '']);
        assert.match(stderr, message);
      });
    }

    it('does not repeat control characters to the terminal', async () => {
      for (const args of [['\u001b[2J'], ['events', '\u001b[2J'], ['status', '--config', '/\u001b[2J']]) {
        const { stderr } = await run(args);
        assert.match(stderr, /·\[2J/);
        assert.ok(!stderr.includes('\u001b'));
      }
    });

    it('nor those in the message of a defect', async () => {
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

    it('nor those in the log of an agent that a demo shows', async () => {
      const main = copyProgram();
      writeFileSync(
        join(folder, 'dist/src/agent/commands/run.js'),
        "export const run = async (_args, { stdout }) => { stdout('\\u001b[2J'); return 0; };",
      );
      const { stdout } = await run(['demo', '--duration', 'PT20S'], { main });
      assert.match(stdout, /^ +\S+ s {2}agent +·\[2J$/m);
      assert.ok(!stdout.includes('\u001b'));
    });

    it('nor those of a record that cannot be translated', async () => {
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

  describe('output that nobody takes', () => {
    it('exits with 1 when the disk is full, and says so', async () => {
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

    it('exits with 141 when the reader has gone, as by SIGPIPE', async () => {
      const command = start(['events', '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
      command.child.stdout?.destroy();
      assert.deepEqual(await command.ended, { status: 141, signal: null });
    });

    it('writes everything before it exits, however slowly it is read', async () => {
      const large = 'x'.repeat(1_000_000);
      await serve({ '/status': () => ({ state: 'running', large }) });
      const command = start(['status', '--json', '--config', configure()]);
      command.child.stdout?.pause();
      await systemClock.sleep(milliseconds(500));
      command.child.stdout?.resume();
      assert.deepEqual(await command.ended, { status: 0, signal: null });
      assert.equal(JSON.parse(command.stdout).large, large);
    });

    it('lets a command that follows something end in order', async () => {
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

    it('leaves nothing of a demo behind', async () => {
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
    /** Somebody who takes connections, and says nothing. */
    const silence = async () => {
      const server = createServer((socket) => {
        closers.unshift(() => socket.destroy());
      }).listen(join(folder, 'control.sock'));
      await once(server, 'listening');
      closers.push(() => new Promise((resolve) => server.close(resolve)));
      return { asked: once(server, 'connection') };
    };

    it('end a question that is not answered', async () => {
      for (const args of [['status'], ['check'], ['collect', 'MessageStatistics'], ['collect', 'Diagnostic']]) {
        rmSync(join(folder, 'control.sock'), { force: true });
        const { asked } = await silence();
        const command = start([...args, '--config', configure()]);
        await asked;
        command.child.kill('SIGINT');
        const { status } = await command.ended;
        assert.doesNotMatch(command.stdout, /does not answer/, args.join(' ')); // as it would say after 5 s
        assert.deepEqual([status, command.stderr], [args[1] === 'Diagnostic' ? 0 : 1, ''], args.join(' '));
      }
    });

    for (const [signal, status] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      it(`end at once, with ${status}, what does not end at the first ${signal}`, async () => {
        await serve({ '/status': () => ({ state: 'running', large: 'x'.repeat(1_000_000) }) });
        const command = start(['status', '--json', '--config', configure()]);
        command.child.stdout?.pause(); // so that it hangs in its last write
        await command.until(({ child }) => (child.stdout?.readableLength ?? 0) > 0);
        command.child.kill(signal);
        await systemClock.sleep(milliseconds(20));
        command.child.kill(signal); // as npm passes it on
        await systemClock.sleep(milliseconds(1_200));
        assert.equal(command.child.exitCode, null);
        await until('its end', async () => {
          command.child.kill(signal); // again, where the first one was heard late
          await systemClock.sleep(milliseconds(1_200));
          return command.child.exitCode !== null;
        });
        assert.equal(command.child.exitCode, status);
        command.child.stdout?.resume();
      });
    }
  });

  describe('a part that is missing', () => {
    for (const [name, status] of [
      ['events', 1],
      ['run', 70],
    ] as const) {
      it(`is named, with what to do: vakt ${name}`, async () => {
        const main = copyProgram();
        rmSync(join(folder, `dist/src/agent/commands/${name}.js`));
        for (const args of [[name], [name, '--help']]) {
          const result = await run(args, { main });
          assert.deepEqual([result.status, result.stdout], [status, '']);
          assert.match(
            result.stderr,
            /^vakt encountered an error! .*cannot load "vakt \w+": .*\nInstall Vakt again.*\n$/,
          );
        }
        assert.match((await run(['--help'], { main })).stderr, /Install Vakt again/);
      });
    }
  });

  describe('vakt collect', () => {
    it('asks the running agent for what only one process can have, and ends when it does', async () => {
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

    it('follows several events of the running agent, in envelopes, and only what passes the filter', async () => {
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

    it('collects several snapshots, a line each', async () => {
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

    it('refuses a filter that is none', async () => {
      const { status, stderr } = await run(['collect', 'LocalUsers', '--filter', 'UserId', '--config', configure()]);
      assert.equal(status, 2);
      assert.match(stderr, /--filter takes FIELD=TEXT or FIELD~TEXT, not "UserId"/);
    });

    it('goes to the kernel itself when no agent runs', async () => {
      const command = start(['collect', 'ProcessCreate', '--config', configure()]);
      await command.until(({ stderr }) => /^Following ProcessCreate from \w+;/m.test(stderr));
      const sleeping = spawn('/bin/sleep', ['41.9871'], { stdio: 'ignore' });
      await command.until(({ stdout }) => stdout.includes('sleep 41.9871')).finally(() => sleeping.kill());
      command.child.kill('SIGINT');
      assert.deepEqual(await command.ended, { status: 0, signal: null });
    });

    it('does not go to the kernel when an agent may run that cannot be asked', async () => {
      writeFileSync(join(folder, 'file'), '');
      const config = configure({ controlSocket: 'file/control.sock' });
      const { status, stderr } = await run(['collect', 'ProcessCreate', '--config', config]);
      assert.equal(status, 1);
      assert.match(stderr, /ENOTDIR/);
      assert.doesNotMatch(stderr, /Following/);
    });

    it('says when only a running agent could tell, and none runs', async () => {
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
        assert.doesNotMatch(stderr, /defect/); // what a machine does not show, or shows a lot of, is said there
        v.parse(v.array(collector.payload), JSON.parse(stdout));
      });
    }

    it('prints all of a snapshot that the agent would send in parts, and says so', async () => {
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
    afterEach(() => bed.close());
    const agentSocket = () => join(bed.directory, 'control.sock');
    const answers = () => askControlSocket(agentSocket(), '/status').catch(() => undefined);
    const agent = (options: ConstructorParameters<typeof CommandProcess>[1] = {}) =>
      start(['run', '--config', join(bed.directory, 'agent.json')], options);
    const untilItAnswers = async () => {
      while ((await answers()) === undefined) await systemClock.sleep(milliseconds(50));
    };

    it('goes on, and ends as ever, when its log can be written nowhere', async () => {
      const full = openSync('/dev/full', 'w');
      const command = agent({ stdio: ['ignore', full, 'pipe'] });
      await untilItAnswers();
      await bed.waitForEvents(() => bed.events('LocalUsers').length > 0);
      command.child.kill('SIGTERM');
      assert.deepEqual(await command.ended, { status: 0, signal: null });
      assert.equal(command.stderr, '');
    });

    it('goes on when the reader of its log goes', async () => {
      const command = agent();
      command.child.stdout?.destroy();
      await untilItAnswers();
      await bed.waitForEvents(() => bed.events('LocalUsers').length > 0);
      command.child.kill('SIGTERM');
      assert.deepEqual(await command.ended, { status: 0, signal: null });
    });

    it('logs to a terminal in lines for a person', async function () {
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

    it('exits as the contract says also when its log can be written nowhere', async () => {
      const full = openSync('/dev/full', 'w');
      const config = join(folder, 'no.json');
      const { status } = await run(['run', '--config', config], { stdio: ['ignore', full, 'pipe'] });
      assert.equal(status, 78);
    });

    for (const level of ['silent', 'fatal']) {
      it(`says why it cannot start, also with logging.level ${level}`, async () => {
        bed.writeConfiguration({ logging: { level }, identity: { kind: 'connectionString', file: 'missing' } });
        const command = agent();
        assert.equal((await command.ended).status, 77);
        const record = JSON.parse(command.stdout);
        assert.deepEqual([record.level, record.id], ['error', 'SECRET_FILE_MISSING']);
        assert.match(record.msg, /^vakt encountered an error! Error in: Authentication, reason: File Not Exist/);
      });
    }

    it('refuses a control socket whose path is too long, with 78', async () => {
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

    it('ends with 70 when something is not caught before it has started', async () => {
      const hang =
        "import { Server } from 'node:net'; Server.prototype.listen = () => process.nextTick(() => { throw new Error('planted'); });";
      const command = agent(planted(hang));
      assert.equal((await command.ended).status, 70);
      assert.match(command.stdout, /Error in: Other, reason: Other, extra details: planted/);
    });

    it('goes on when something is not caught after that', async () => {
      const command = agent(planted("process.on('SIGUSR2', () => { throw new Error('planted'); });"));
      await command.until(({ stdout }) => stdout.includes('Connected to the hub.'));
      await bed.waitForEvents(() => bed.events('LocalUsers').length > 0);
      command.child.kill('SIGUSR2');
      await command.until(({ stdout }) => /Uncaught exception; continuing\./.test(stdout));
      assert.ok(await answers());
      command.child.kill('SIGTERM');
      assert.deepEqual(await command.ended, { status: 0, signal: null });
    });

    it('is shown by vakt status and vakt check, which do not disturb it', async () => {
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
    it('exits with 1 when no agent runs, and says how to start it', async () => {
      const { status, stdout, stderr } = await run(['status', '--config', configure()]);
      assert.deepEqual([status, stdout], [1, '']);
      assert.match(stderr, /no agent answers at .*ENOENT\nStart it with "vakt run"/);
    });

    it('asks systemd when the agent of the service does not answer', async function () {
      if (process.getuid?.() !== 0) skip(this, 'needs root, to put another systemctl in place of the real one');
      const systemctl = ['/usr/bin/systemctl', '/bin/systemctl'].find((path) => existsSync(path));
      if (systemctl === undefined) skip(this, 'systemctl is not here');
      const fake = join(folder, 'systemctl');
      const says = ['LoadState=loaded', 'ActiveState=inactive', 'SubState=dead', 'UnitFileState=enabled'];
      writeFileSync(fake, `#!/bin/sh\nprintf '%s\\n' ${says.join(' ')}\n`, { mode: 0o755 });
      // In a mount namespace of its own, so that nobody else sees them.
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
    it('obeys its own file, not the variables of an agent', async () => {
      const environment = {
        ...process.env,
        TMPDIR: folder,
        VAKT_IDENTITY__KEY_FILE: '/nowhere',
        VAKT_HOST_ROOT: '/no',
        HTTPS_PROXY: 'http://127.0.0.1:1',
      };
      const command = start(['demo'], { main: CLONE_PROGRAM, env: environment });
      await command.until(({ stdout }) => stdout.includes('received a High message'));
      command.child.kill('SIGINT');
      const { status } = await command.ended;
      const { stdout } = command;
      assert.match(stdout, /The agent exited with status 0/);
      assert.doesNotMatch(stdout, /proxy/i);
      assert.equal(status, 0, stdout);
      assert.deepEqual(readdirSync(folder), []);
    });

    it('ends at once for a signal that comes before anything else', async () => {
      const command = start(['demo'], { main: CLONE_PROGRAM, env: { ...process.env, TMPDIR: folder } });
      await command.until(() => readdirSync(folder).length > 0);
      command.child.kill('SIGTERM');
      await systemClock.within(seconds(30), 'the end of the demo', command.ended);
      assert.deepEqual(processesIn(folder), []);
      assert.deepEqual(readdirSync(folder), []);
    });
  });
});

/** Ids of the processes, zombies excepted, whose arguments name something in `folder`. */
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
