import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { World } from '../../../src/core/command-line/command.ts';
import { type EmulatorOptions, HubEmulator } from '../../../src/emulator/hub.ts';
import { run } from '../../../src/fleet/commands/fleet.ts';
import { worldOf } from '../../agent/commands/world.ts';
import { temporaryFolder } from '../../harness/folders.ts';

export const MODULE = 'azureiotsecurity';
export const OBJECT = 'ms_iotn:urn_azureiot_Security_SecurityAgentConfiguration';

export interface Ran {
  readonly status: number;
  readonly out: readonly string[];
  readonly err: readonly string[];
}

/** A hub, and `vakt fleet` for it, in this process. */
export class FleetBed {
  readonly hub: HubEmulator;
  readonly folder = temporaryFolder();

  private constructor(hub: HubEmulator) {
    this.hub = hub;
    this.write('ca.pem', hub.caPem);
    this.useCredential();
  }

  static async open(options: EmulatorOptions = {}): Promise<FleetBed> {
    return new FleetBed(await HubEmulator.start(options));
  }

  /** The requests so far, as `METHOD /path`, without the query. */
  get requests(): string[] {
    return this.hub.restRequests.map(({ method, path }) => `${method} ${path.split('?')[0]}`);
  }

  /** Writes the connection string that `run` uses. */
  useCredential(policy?: string, change = (text: string) => text): void {
    const text = `${this.hub.serviceConnectionString(policy)};GatewayHostName=localhost:${this.hub.restPort}`;
    this.write('hub.txt', change(text));
  }

  write(name: string, contents: string, mode = 0o600): string {
    const file = join(this.folder, name);
    writeFileSync(file, contents, { mode });
    chmodSync(file, mode);
    return file;
  }

  configuration(members: object, name = 'desired.json'): string {
    return this.write(name, JSON.stringify({ [OBJECT]: members }));
  }

  /** Runs `vakt fleet …` with the connection string. @throws what the command throws */
  run(...args: string[]): Promise<Ran> {
    return this.runWith({}, ...args);
  }

  async runWith(world: Partial<World>, ...args: string[]): Promise<Ran> {
    const access = ['--connection-string-file', join(this.folder, 'hub.txt')];
    return this.runBare(world, ...args, ...access);
  }

  /** Without a credential. */
  async runBare(world: Partial<World>, ...args: string[]): Promise<Ran> {
    const out: string[] = [];
    const err: string[] = [];
    const status = await run(
      [...args, '--trusted-ca-file', join(this.folder, 'ca.pem')],
      worldOf((line) => out.push(line), { stderr: (line) => err.push(line), ...world }),
    );
    return { status, out, err };
  }
}
