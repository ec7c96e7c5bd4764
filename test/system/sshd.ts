import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { ProcFolder } from '../../src/agent/host/proc-folder.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';
import { suiteFolder } from '../harness/folders.ts';
import { freePort } from '../harness/free-port.ts';
import { until } from '../harness/until.ts';

/** Debian packages: openssh-server, openssh-client, passwd. */
const TOOLS = ['/usr/sbin/sshd', '/usr/bin/ssh', '/usr/bin/ssh-keygen', '/usr/sbin/useradd', '/usr/sbin/chpasswd'];

/** Returns a message about the first missing tool, or `undefined`. */
export const missingForSshd = (): string | undefined => {
  const missing = TOOLS.find((tool) => !isExecutable(tool));
  return missing === undefined ? undefined : `there is no ${missing}`;
};

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Prints the first line of a file and removes it. */
const ASKPASS = `#!/bin/sh
read -r answer <"$VAKT_TEST_ANSWERS"
tail -n +2 "$VAKT_TEST_ANSWERS" >"$VAKT_TEST_ANSWERS.new"
mv "$VAKT_TEST_ANSWERS.new" "$VAKT_TEST_ANSWERS"
printf '%s\\n' "$answer"
`;

interface Visit {
  /** Default: the test user. */
  readonly user?: string;
  /** Passwords, typed in this order. Default: the right one. */
  readonly passwords?: readonly string[];
  /** A key to try first; the server rejects the `wrong` one. */
  readonly key?: 'right' | 'wrong';
  /** Second authentication method. */
  readonly method?: 'password' | 'keyboard-interactive' | 'none';
  readonly terminal?: boolean;
  /** A command. Default: the user's shell. */
  readonly command?: readonly string[];
  /** Typed into the session. */
  readonly input?: string;
  /** Further options of ssh(1). */
  readonly options?: readonly string[];
  /** Called for each output of the session. */
  readonly onOutput?: () => void;
}

/** A real sshd on loopback, with its own configuration, host key, port and user. Needs root. */
export class SshServer {
  readonly user = `vakt${process.pid}`;
  readonly password = 'correct horse';
  readonly userId: number;
  readonly #folder = suiteFolder();
  #port = 0;
  #server: ChildProcess | undefined;

  private constructor() {
    execFileSync('/usr/sbin/useradd', ['--create-home', '--shell', '/bin/bash', this.user]);
    execFileSync('/usr/sbin/chpasswd', { input: `${this.user}:${this.password}\n` });
    this.userId = Number(execFileSync('/usr/bin/id', ['-u', this.user], { encoding: 'utf8' }));
  }

  static async start(): Promise<SshServer> {
    const server = new SshServer();
    try {
      await server.#start();
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  get port(): number {
    return this.#port;
  }

  get pid(): number | undefined {
    return this.#server?.pid;
  }

  get log(): string {
    return readFileSync(this.path('log'), 'utf8');
  }

  async #start(): Promise<void> {
    for (const name of ['host', 'right', 'wrong']) {
      execFileSync('/usr/bin/ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', this.path(name)]);
    }
    mkdirSync('/run/sshd', { recursive: true, mode: 0o755 }); // created by sshd's unit on systems with systemd
    this.#port = await freePort();
    writeFileSync(this.path('right.pub.keys'), readFileSync(this.path('right.pub')), { mode: 0o644 });
    writeFileSync(
      this.path('config'),
      [
        `Port ${this.#port}`,
        'ListenAddress 127.0.0.1',
        `HostKey ${this.path('host')}`,
        `PidFile none`,
        'UsePAM yes',
        'PasswordAuthentication yes',
        'KbdInteractiveAuthentication yes',
        'StrictModes no', // the key file is in the temporary folder
        `AuthorizedKeysFile ${this.path('right.pub.keys')}`,
        'PerSourcePenalties no',
        'MaxStartups 100',
        'PrintMotd no',
        'Subsystem sftp internal-sftp',
        '',
      ].join('\n'),
    );
    execFileSync('/usr/bin/chmod', ['755', this.#folder]);
    writeFileSync(this.path('askpass'), ASKPASS, { mode: 0o755 });
    const server = spawn('/usr/sbin/sshd', ['-f', this.path('config'), '-E', this.path('log'), '-D'], {
      stdio: 'ignore',
    });
    this.#server = server;
    await until('an answer of sshd', () => {
      if (server.exitCode !== null) throw new Error(`sshd ended with ${server.exitCode}: ${this.log}`);
      return answers(this.#port);
    });
  }

  /** Connects and waits until the client has exited. */
  async visit(visit: Visit = {}): Promise<{ status: number | null; output: string }> {
    const { user = this.user, passwords = [this.password], key, method = 'password' } = visit;
    const settings = {
      Port: this.#port,
      StrictHostKeyChecking: 'no',
      UserKnownHostsFile: '/dev/null',
      GlobalKnownHostsFile: '/dev/null',
      LogLevel: 'ERROR',
      NumberOfPasswordPrompts: passwords.length,
      PreferredAuthentications: `publickey,${method}`,
      ...(key === undefined ? { PubkeyAuthentication: 'no' } : { IdentitiesOnly: 'yes', IdentityFile: this.path(key) }),
    };
    const answers = this.path(`answers-${process.hrtime.bigint()}`);
    writeFileSync(answers, passwords.map((password) => `${password}\n`).join(''));
    const client = spawn(
      '/usr/bin/ssh',
      [
        ...['-F', 'none', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])],
        ...[visit.terminal === true ? '-tt' : '-T', ...(visit.options ?? []), '-l', user, '127.0.0.1'],
        ...(visit.command ?? []),
      ],
      {
        env: {
          PATH: '/usr/bin:/bin',
          TERM: 'dumb',
          SSH_ASKPASS: this.path('askpass'),
          SSH_ASKPASS_REQUIRE: 'force',
          VAKT_TEST_ANSWERS: answers,
        },
        stdio: ['pipe', 'pipe', 'pipe'],
      },
    );
    let output = '';
    for (const stream of [client.stdout, client.stderr]) {
      stream.on('data', (part) => {
        output += part;
        visit.onOutput?.();
      });
    }
    client.stdin.on('error', () => {});
    client.stdin.end(visit.input ?? '');
    const [status] = (await once(client, 'close')) as [number | null];
    return { status, output };
  }

  /** Resolves when all sessions have ended: a client may exit before its session. */
  async quiet(): Promise<void> {
    const proc = new ProcFolder('/proc');
    const isQuiet = () => !proc.pids().some((pid) => proc.stat(pid)?.parentPid === this.pid);
    await until('the end of the sessions of sshd', isQuiet);
  }

  /** Stops the server and removes its user. May be called twice. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server !== undefined && server.exitCode === null && server.signalCode === null) {
      const ended = once(server, 'exit');
      server.kill('SIGTERM');
      await ended;
    }
    for (let tries = 0; tries < 20; tries += 1) {
      try {
        execFileSync('/usr/sbin/userdel', ['--remove', '--force', this.user], { stdio: 'ignore' });
        return;
      } catch {
        await systemClock.sleep(milliseconds(100)); // a session of the user may not have ended yet
      }
    }
  }

  /** Path of a file in the server's folder, which is removed at the end of the run. */
  path(name: string): string {
    return join(this.#folder, name);
  }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'data'); // its banner
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
