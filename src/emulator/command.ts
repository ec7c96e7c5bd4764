import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readFileIfThere, writeFileAtomic } from '../base/atomic-file.ts';
import { shellWord } from '../base/shell-word.ts';
import type { ConnectionRecord } from './connection-log.ts';
import { HubEmulator, type ReportedChange } from './hub.ts';
import { eventsIn, type ReceivedMessage } from './message-log.ts';

export interface RunOptions {
  /** 0 selects a free one. */
  readonly port: number;
  /** 0 selects a free one. */
  readonly controlPort: number;
  readonly deviceId: string;
  readonly moduleId: string;
  /** Gets `ca.pem`, `module.key`, and an `agent.json` with which an agent connects to this emulator. */
  readonly directory: string;
}

/**
 * Runs an emulator with one module until `signal` aborts, and prints a line for each connection, message and report.
 *
 * An existing `module.key` is reused; the certificates are created at each start.
 */
export async function runEmulator(
  options: RunOptions,
  out: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { port, controlPort, deviceId, moduleId } = options;
  const directory = resolve(options.directory);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const keyFile = join(directory, 'module.key');
  const primaryKey = readFileIfThere(keyFile)?.trim() ?? randomBytes(32).toString('base64');
  const hub = await HubEmulator.start({ port, controlPort, modules: [{ deviceId, moduleId, primaryKey }] });
  try {
    writeFileAtomic(keyFile, `${primaryKey}\n`);
    writeFileAtomic(join(directory, 'ca.pem'), hub.caPem, 0o644);
    writeFileAtomic(
      join(directory, 'agent.json'),
      `${JSON.stringify(agentConfig(hub, options, directory), null, 2)}\n`,
    );
    out(`The hub ${hub.hostName} listens on localhost:${hub.port} (MQTT over TLS).`);
    out(`Control API: http://127.0.0.1:${hub.controlPort}/ (GET / lists its routes).`);
    out(
      `Start an agent for ${deviceId}/${moduleId} with: vakt run --config ${shellWord(join(directory, 'agent.json'))}`,
    );
    printEvents(hub, out);
    if (!signal.aborted) await once(signal, 'abort');
  } finally {
    await hub.stop();
  }
}

const agentConfig = (hub: HubEmulator, { deviceId, moduleId }: RunOptions, directory: string) => ({
  hub: {
    hostName: hub.hostName,
    gatewayHostName: `localhost:${hub.port}`,
    trustedCaFile: join(directory, 'ca.pem'),
  },
  identity: { kind: 'moduleKey', deviceId, moduleId, keyFile: join(directory, 'module.key') },
  stateDirectory: join(directory, 'state'),
  controlSocket: join(directory, 'control.sock'),
});

/** Prints a line for each event of the emulator. */
function printEvents(hub: HubEmulator, out: (line: string) => void): void {
  hub.on('connection', ({ connectedAt, clientId, admitted, reason }: ConnectionRecord) => {
    out(`${timeOf(connectedAt)} ${clientId} ${admitted ? 'connected.' : `was refused: ${reason}.`}`);
  });
  hub.on('disconnection', ({ closedAt, clientId, closedBecause }: ConnectionRecord) => {
    out(`${timeOf(closedAt)} ${clientId} disconnected: ${closedBecause}.`);
  });
  hub.on('message', (message: ReceivedMessage) => {
    out(lineOf(message));
  });
  hub.on('reported', ({ at, deviceId, moduleId, reported }: ReportedChange) => {
    out(`${timeOf(at)} ${deviceId}/${moduleId} reported, version ${reported.$version}.`);
  });
}

/** What a message brought. */
export function lineOf(message: ReceivedMessage): string {
  const { enqueuedAt, sequence, deviceId, moduleId, sizeBytes, duplicate } = message;
  const names = eventsIn([message]).map(nameOf);
  const what = `message ${sequence}${duplicate ? ' (a duplicate)' : ''}, ${sizeBytes} bytes`;
  return `${timeOf(enqueuedAt)} ${deviceId}/${moduleId} sent ${what}: ${tally(names)}`;
}

const timeOf = (time: Date | undefined) => (time === undefined ? '        ' : time.toISOString().slice(11, 19));

/** `ProcessCreate`, or `ListeningPorts (part 2 of 3)` for a snapshot that is sent as several events. */
function nameOf({ Name, Payload: elements }: Record<string, unknown>): string {
  const [first] = Array.isArray(elements) ? elements : [];
  const { Part, Parts, SnapshotId } = first?.ExtraDetails ?? {};
  return SnapshotId === undefined ? String(Name) : `${Name} (part ${Part} of ${Parts})`;
}

/** `ProcessCreate ×12, ListeningPorts` */
function tally(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  const parts = [...counts].map(([name, count]) => (count === 1 ? name : `${name} ×${count}`));
  return parts.join(', ') || 'no security events';
}
