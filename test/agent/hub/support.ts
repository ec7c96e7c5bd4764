import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mqttPacket from 'mqtt-packet';
import { addressAt } from '../../../src/agent/identity/kind.ts';
import { SharedKeyIdentity } from '../../../src/agent/identity/shared-keys.ts';
import { type Clock, systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds } from '../../../src/core/base/duration.ts';
import { createLog } from '../../../src/core/base/log.ts';
import type { Message } from '../../../src/core/contract/message.ts';
import type { LookUp } from '../../../src/core/network/names.ts';
import { Network } from '../../../src/core/network/network.ts';

export const newKey = () => randomBytes(32).toString('base64');

/** A temporary directory, for as long as a test runs. */
export const temporaryDirectory = () => {
  const path = mkdtempSync(join(tmpdir(), 'vakt-hub-'));
  return {
    path,
    /** @returns the file's path */
    write(name: string, text: string, mode = 0o600): string {
      const file = join(path, name);
      writeFileSync(file, text, { mode });
      return file;
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
};

/** A log that keeps every line, at every level. */
export const capturedLog = () => {
  const lines: string[] = [];
  const log = createLog({ level: 'trace', destination: { write: (line) => lines.push(line) } });
  return {
    log,
    text: () => lines.join(''),
    messages: () =>
      lines.map((line) => JSON.parse(line) as { level: string; msg: string; id?: string; remedy?: string }),
  };
};

/**
 * A clock whose sleeps are `times` as short, so that waits of minutes pass in moments, and on which they still count in
 * full. A busy machine makes it no faster. Time limits run at their own speed: what they limit goes over a network.
 */
export function fastClock(times: number, limits = 1): Clock {
  let slept = 0;
  return {
    now: () => new Date(systemClock.now().getTime() + slept),
    monotonic: () => milliseconds(systemClock.monotonic() + slept),
    fromKernel: (nanoseconds) => new Date(systemClock.fromKernel(nanoseconds).getTime() + slept),
    async sleep(wait, signal) {
      await systemClock.sleep(milliseconds(wait / times), signal);
      if (signal?.aborted !== true) slept += wait;
    },
    within: (limit, what, work) => systemClock.within(milliseconds(limit / limits), what, work),
  };
}

let sent = 0;

export const message = ({ body = '{"Events":[]}', ...change }: Partial<Message> = {}): Message => ({
  id: `00000000-0000-4000-8000-${String(sent++).padStart(12, '0')}`,
  body,
  bodyBytes: Buffer.byteLength(body),
  priority: 'High',
  marking: 'security',
  ...change,
});

/** For the server's side: a parser without the guard that the agent puts before its own (src/agent/hub/packet-guard.ts). */
export function serverParser(): ReturnType<typeof mqttPacket.parser> {
  const Parser = mqttPacket.parser().constructor as new () => {
    parser(options: object): ReturnType<typeof serverParser>;
  };
  return new Parser().parser({});
}

/** A module with its key, and the way to its hub. */
export function moduleAccess(options: {
  hostName: string;
  deviceId: string;
  moduleId: string;
  key: string;
  gatewayHostName?: string;
  trustedCaFile?: string;
  clock?: Clock;
  lookUp?: LookUp | undefined;
}): { identity: SharedKeyIdentity; network: Network } {
  const { hostName, deviceId, moduleId, key, gatewayHostName, trustedCaFile, clock = systemClock, lookUp } = options;
  const module = addressAt(hostName, { deviceId, moduleId }, gatewayHostName);
  return {
    identity: new SharedKeyIdentity({
      kind: 'moduleKey',
      files: [],
      read: () => ({ module, keys: [{ source: 'primary', key }] }),
      clock,
    }),
    network: new Network({ trustedCaFile, environment: {}, clock, ...(lookUp === undefined ? {} : { lookUp }) }),
  };
}
