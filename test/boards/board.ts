import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, minutes, seconds } from '../../src/core/base/duration.ts';
import { freePort } from '../harness/free-port.ts';
import type { Outcome } from '../installed/booted-system.ts';
import type { Architecture } from './architectures.ts';
import { type Image, makeImage } from './image.ts';

/** A boot takes a minute or two, or four on a loaded machine. */
const BOOT_LIMIT = minutes(15);
const COMMAND_LIMIT = minutes(10);
const MEMORY_MB = 1024;

const SSH_OPTIONS = {
  StrictHostKeyChecking: 'no',
  UserKnownHostsFile: '/dev/null',
  GlobalKnownHostsFile: '/dev/null',
  LogLevel: 'ERROR',
  ConnectTimeout: '60',
  // The cheapest algorithms for an emulated CPU.
  KexAlgorithms: 'curve25519-sha256',
  HostKeyAlgorithms: 'ssh-ed25519',
};

interface CommandOptions {
  /** Content of its standard input. */
  readonly input?: string | Buffer;
  /** Time limit, after which it is killed with status `null`. */
  readonly limit?: Duration;
}

/**
 * A machine that QEMU emulates without acceleration, with Debian's kernel of its architecture. Its changes are discarded when it
 * ends. It reaches this machine's loopback interface at 10.0.2.2.
 */
export class Board {
  /** Time from the start of QEMU until the system had started. */
  bootTook: Duration = seconds(0);
  readonly #folder = mkdtempSync(join(realpathSync(tmpdir()), 'vakt-board-'));
  readonly #image: Image;
  readonly #qemu: ChildProcess;
  readonly #port: number;
  #connection: ChildProcess | undefined;

  private constructor(image: Image, { emulator, machine, bus, console }: Architecture, port: number) {
    this.#image = image;
    this.#port = port;
    writeFileSync(join(this.#folder, 'askpass'), '#!/bin/sh\nprintf "%s\\n" "$VAKT_BOARD_PASSWORD"\n', { mode: 0o700 });
    const args = [
      ...['-accel', 'tcg', ...machine, '-m', String(MEMORY_MB), '-no-reboot'],
      ...['-display', 'none', '-monitor', 'none', '-serial', `file:${this.#path('console')}`],
      ...['-kernel', image.kernel, '-initrd', image.initrd, '-append', `console=${console} quiet panic=-1`],
      ...['-drive', `file=${image.disk},format=raw,if=none,id=disk,snapshot=on,cache=unsafe`],
      ...['-device', `virtio-blk-${bus},drive=disk`, '-device', `virtio-rng-${bus}`],
      ...['-netdev', `user,id=net,hostfwd=tcp:127.0.0.1:${port}-:22`, '-device', `virtio-net-${bus},netdev=net`],
    ];
    this.#qemu = spawnBound(emulator, args, this.#path('qemu'));
  }

  /** Creates the image of an architecture, unless the folder contains it; see `makeImage`. */
  static make(architecture: Architecture, folder: string, print: (line: string) => void): Image {
    return makeImage(architecture, folder, print);
  }

  /** Resolves once the system has started. @throws Error with the console's last lines */
  static async boot(image: Image, architecture: Architecture): Promise<Board> {
    const began = systemClock.monotonic();
    const board = new Board(image, architecture, await freePort());
    try {
      await board.#connect();
      await board.run(['systemctl', 'is-system-running', '--wait'], { limit: BOOT_LIMIT });
      board.bootTook = (systemClock.monotonic() - began) as Duration;
      return board;
    } catch (error) {
      await board.end();
      throw error;
    }
  }

  /** Runs a command as root and waits until it exits. */
  run(command: readonly string[], options: CommandOptions = {}): Promise<Outcome> {
    const ssh = [...this.#sshOptions(), '-S', this.#path('control'), 'root@127.0.0.1', '--', ...command.map(quoted)];
    return outcomeOf(spawn('ssh', ssh, { stdio: 'pipe' }), options);
  }

  /** Like `run`, for commands that must not fail. @returns their output */
  async must(command: readonly string[], options: CommandOptions = {}): Promise<string> {
    const { status, output } = await this.run(command, options);
    if (status !== 0) throw new Error(`${command.join(' ')} ended with ${status}:\n${output}`);
    return output;
  }

  /** Runs a script by sh(1), which must not fail. @returns its output */
  script(text: string, ...args: readonly string[]): Promise<string> {
    return this.must(['sh', '-c', text, 'sh', ...args]);
  }

  /** Writes a file that belongs to root, and creates its folders. */
  async copy(contents: string | Buffer, path: string, mode = 0o644): Promise<void> {
    await this.must(['install', '-D', '-m', mode.toString(8), '/dev/stdin', path], { input: contents });
  }

  /** Logs in with a password over a new connection and runs a command. */
  login(user: string, password: string, command: string): Promise<Outcome> {
    const options = ['PreferredAuthentications=password', 'PubkeyAuthentication=no', 'NumberOfPasswordPrompts=1'];
    const ssh = [...this.#sshOptions(), ...options.flatMap((option) => ['-o', option]), `${user}@127.0.0.1`, command];
    const environment = { SSH_ASKPASS: this.#path('askpass'), SSH_ASKPASS_REQUIRE: 'force' };
    const env = { PATH: process.env.PATH, ...environment, VAKT_BOARD_PASSWORD: password };
    return outcomeOf(spawn('ssh', ssh, { stdio: 'pipe', env }), {});
  }

  /** The last lines of QEMU, the kernel and systemd. */
  get console(): string {
    const [console, qemu] = ['console', 'qemu'].map((name) => {
      const file = this.#path(name);
      return existsSync(file) ? readFileSync(file, 'latin1').slice(-4_000) : '';
    });
    return `${qemu}${console}`;
  }

  /** Powers the board off. */
  async end(): Promise<void> {
    for (const child of [this.#connection, this.#qemu]) {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Opens the connection for all commands, since an emulated CPU takes seconds to open one. */
  async #connect(): Promise<void> {
    const deadline = systemClock.monotonic() + BOOT_LIMIT;
    while (systemClock.monotonic() < deadline) {
      if (this.#qemu.exitCode !== null) throw new Error(`QEMU ended with ${this.#qemu.exitCode}:\n${this.console}`);
      const master = ['-M', '-N', '-S', this.#path('control'), '-i', this.#image.key, 'root@127.0.0.1'];
      const child = spawnBound('ssh', [...this.#sshOptions(), ...master], this.#path('ssh'));
      this.#connection = child;
      while (child.exitCode === null && systemClock.monotonic() < deadline) {
        await systemClock.sleep(seconds(0.5));
        if (existsSync(this.#path('control'))) return;
      }
    }
    throw new Error(`the board did not answer within ${BOOT_LIMIT / 1_000} s:\n${this.console}`);
  }

  #sshOptions(): string[] {
    const options = Object.entries(SSH_OPTIONS).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
    return ['-F', 'none', ...options, '-p', String(this.#port)];
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }
}

/** Starts a program that the kernel kills when this process exits for any reason; its output goes to the file `log`. */
function spawnBound(program: string, args: readonly string[], log: string): ChildProcess {
  const output = openSync(log, 'w');
  try {
    return spawn('setpriv', ['--pdeathsig', 'KILL', program, ...args], { stdio: ['ignore', output, output] });
  } finally {
    closeSync(output);
  }
}

async function outcomeOf(child: ChildProcess, { input = '', limit = COMMAND_LIMIT }: CommandOptions): Promise<Outcome> {
  const parts: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (part: Buffer) => parts.push(part));
  child.stdin?.on('error', () => {}); // its status shows the failure
  child.stdin?.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), limit);
  const [status] = (await once(child, 'close')) as [number | null];
  clearTimeout(timer);
  return { status, output: Buffer.concat(parts).toString() };
}

/** Quotes a word for the shell that sshd starts. */
const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;
