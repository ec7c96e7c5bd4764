import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Finding } from '../../../../src/agent/commands/check/finding.ts';
import { checks, runChecks } from '../../../../src/agent/commands/check/index.ts';
import { gatherSituation } from '../../../../src/agent/commands/check/situation.ts';
import { readLocalSettings } from '../../../../src/agent/config/local.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { serveControlSocket } from '../../../../src/core/base/control-socket.ts';
import { milliseconds } from '../../../../src/core/base/duration.ts';

/** A configuration and its files, which tests damage, and the checks that run on them. */
export class CheckBench {
  readonly folder = mkdtempSync(join(tmpdir(), 'vakt-check-'));
  readonly key = randomBytes(32).toString('base64');
  readonly #closers: (() => unknown)[] = [];

  constructor() {
    mkdirSync(this.path('credentials'));
    this.write('module.key', this.key);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, text: string, mode = 0o600): string {
    writeFileSync(this.path(name), text);
    chmodSync(this.path(name), mode);
    return this.path(name);
  }

  /** @returns the configuration file; nothing listens at the hub's port, unless `hub` is given */
  configure(changes: object = {}, mode = 0o600): string {
    const identity = { kind: 'moduleKey', deviceId: 'device1', keyFile: 'module.key' };
    const hub = { hostName: 'localhost', gatewayHostName: 'localhost:1' };
    const settings = { hub, identity, stateDirectory: 'state', controlSocket: 'control.sock', ...changes };
    return this.write('agent.json', JSON.stringify(settings), mode);
  }

  /** Serves `status` at the control socket, as a running agent does. */
  async run(status: object): Promise<void> {
    this.after(await serveControlSocket(this.path('control.sock'), { '/status': () => status }));
  }

  /** Starts `sleep` through `tool` as the process of the agent, and waits until `sleep` runs. */
  async standIn(tool: string, ...options: string[]): Promise<void> {
    const child = spawn(tool, [...options, 'sleep', '60'], { stdio: 'ignore' });
    this.after(() => child.kill('SIGKILL'));
    await once(child, 'spawn');
    while (readFileSync(`/proc/${child.pid}/comm`, 'utf8').trim() !== 'sleep') {
      await systemClock.sleep(milliseconds(5));
    }
    await this.run({ pid: child.pid, state: 'running', hub: { state: 'connected' }, collectors: {} });
  }

  /** Registers a function that `close` calls. */
  after(end: () => unknown): void {
    this.#closers.push(end);
  }

  /** Runs the checks with these names on the current configuration. */
  async look(...names: readonly string[]): Promise<Finding[]> {
    const file = this.path('agent.json');
    const local = readLocalSettings(file, {});
    const chosen = names.flatMap((name) => checks.filter((check) => check.name === name));
    assert.ok(chosen.length >= names.length, 'a check of that name is missing');
    const { signal } = new AbortController();
    const findings = await runChecks(await gatherSituation(file, local, signal, this.path('credentials')), chosen);
    for (const { state, finding, remedy } of findings) {
      assert.ok(state !== 'wrong' || (remedy ?? '') !== '', `no remedy: ${finding}`);
      assert.ok(!`${finding}${remedy}`.includes(this.key), 'the key is shown');
    }
    return findings;
  }

  /** Runs one check, which must return exactly one finding. */
  async lookAt(name: string): Promise<Finding> {
    const findings = await this.look(name);
    assert.equal(findings.length, 1, JSON.stringify(findings));
    return findings[0] as Finding;
  }

  async close(): Promise<void> {
    for (const end of this.#closers.splice(0).reverse()) await end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Asserts the state, the text and, if given, the remedy of a finding. */
export function assertFinding(found: Finding | undefined, state: Finding['state'], finding: RegExp, remedy?: RegExp) {
  assert.equal(found?.state, state, JSON.stringify(found));
  assert.match(found?.finding ?? '', finding);
  if (remedy !== undefined) assert.match(found?.remedy ?? '', remedy);
}
