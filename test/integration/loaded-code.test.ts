import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { bundle, TOP } from '../../scripts/bundle.ts';
import { minutes } from '../../src/core/base/duration.ts';
import { suiteFolder } from '../harness/folders.ts';
import { DEVICE, MODULE, TestBed } from './test-bed.ts';

/* What the shipped program runs of what it has: a device pays in memory and time only for what it uses. */

/** Of the files that NODE_V8_COVERAGE makes, see the type ScriptCoverage of V8's protocol for profilers. */
interface Script {
  readonly url: string;
  readonly functions: readonly {
    readonly functionName: string;
    readonly ranges: readonly { readonly count: number }[];
  }[];
}

describe('the bundle, as an agent', function () {
  this.timeout(minutes(3));
  const folder = suiteFolder();
  const program = join(folder, 'bundle');
  let bed: TestBed;

  before(() => bundle(program));
  beforeEach(async () => {
    bed = await TestBed.open();
  });
  afterEach(() => bed.close());

  /** The source files that an agent with this configuration has run when it has sent its first message. */
  const loadedBy = async (configuration: object): Promise<string[]> => {
    bed.writeConfiguration(configuration);
    const coverage = join(bed.directory, 'coverage');
    const agent = bed.startAgent({ build: join(program, 'main.js'), environment: { NODE_V8_COVERAGE: coverage } });
    await agent.waitForStatus(({ delivery }) => delivery.messagesSent > 0, minutes(1));
    await agent.end();
    return sourcesIn(coverage);
  };
  /** Those of processes with NODE_V8_COVERAGE: in a bundle, a module that is imported on demand is a function of its name. */
  const sourcesIn = (coverage: string): string[] => {
    const scripts = readdirSync(coverage).flatMap((file) => {
      const { result } = JSON.parse(readFileSync(join(coverage, file), 'utf8')) as { result: Script[] };
      return result.filter(({ url }) => url.includes(program));
    });
    const called = scripts.flatMap(({ functions }) => functions.filter(({ ranges }) => (ranges[0]?.count ?? 0) > 0));
    return [...new Set(called.map(({ functionName }) => functionName).filter((name) => /\.[cm]?[jt]s$/.test(name)))];
  };
  const way = (port: number) => ({ gatewayHostName: `localhost:${port}`, trustedCaFile: 'ca.pem' });
  const ofPackage = (name: string, sources: readonly string[]) =>
    sources.filter((source) => new RegExp(`(?:^|/)node_modules/${name}/`).test(source));
  const ofWs = (sources: readonly string[]) => ofPackage('ws', sources);

  /** What kinds of identity import when they are used. */
  const identities = join(TOP, 'src/agent/identity');
  const onDemand = readdirSync(identities, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) =>
      [...readFileSync(join(identities, name), 'utf8').matchAll(/\bimport\('(\.[^']+)'\)/g)].map(([, path = '']) =>
        join('src/agent/identity', dirname(name), path),
      ),
    );

  it('loads nothing of WebSocket and of other identities with a module key on port 8883', async () => {
    const sources = await loadedBy({});
    assert.ok(
      sources.some((source) => source.endsWith('src/agent/hub/session.ts')),
      'the sources were not found',
    );
    assert.deepEqual(ofWs(sources), []);
    assert.deepEqual(ofPackage('systeminformation', sources), []); // it runs shells
    assert.ok(onDemand.length > 0);
    for (const file of onDemand) assert.ok(!sources.some((source) => source.endsWith(file)), `${file} was loaded`);
  });

  it('loads WebSocket when the hub is reached by it', async () => {
    const hub = { hostName: bed.hub.hostName, transport: 'mqttWebSocket', ...way(bed.hub.webSocketPort) };
    const identity = { kind: 'moduleKey', deviceId: DEVICE, moduleId: MODULE, keyFile: 'module.key' };
    assert.ok(ofWs(await loadedBy({ hub, identity })).length > 5);
  });

  it('has systeminformation in the program of --hardware only', () => {
    const coverage = join(bed.directory, 'coverage');
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(program, 'hardware-main.js'), 'bios'], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, NODE_V8_COVERAGE: coverage },
    });
    assert.equal(status, 0, stderr);
    assert.equal(typeof JSON.parse(stdout).vendor, 'string');
    assert.ok(ofPackage('systeminformation', sourcesIn(coverage)).length > 10);
  });
});
