import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { bundle, TOP } from '../../scripts/bundle.ts';
import { minutes } from '../../src/core/base/duration.ts';
import { suiteFolder } from '../harness/folders.ts';
import { DEVICE, MODULE, TestBed } from './test-bed.ts';

/* The shipped program loads only the code it uses, so that unused features cost a device no memory or time. */

/** Content of a file that NODE_V8_COVERAGE writes; see the type ScriptCoverage in V8's profiler protocol. */
interface Script {
  readonly url: string;
  readonly functions: readonly {
    readonly functionName: string;
    readonly ranges: readonly { readonly count: number }[];
  }[];
}

describe('The bundle that runs as an agent', function () {
  this.timeout(minutes(3));
  const folder = suiteFolder();
  const program = join(folder, 'bundle');
  let bed: TestBed;

  before(() => bundle(program));
  beforeEach(async () => {
    bed = await TestBed.open();
  });
  afterEach(() => bed.close());

  /** Source files that an agent with this configuration has run by its first message. */
  const loadedBy = async (configuration: object): Promise<string[]> => {
    bed.writeConfiguration(configuration);
    const coverage = join(bed.directory, 'coverage');
    const agent = bed.startAgent({ build: join(program, 'main.js'), environment: { NODE_V8_COVERAGE: coverage } });
    await agent.waitForStatus(({ delivery }) => delivery.messagesSent > 0, minutes(1));
    await agent.end();
    return sourcesIn(coverage);
  };
  /** Source files run by processes with NODE_V8_COVERAGE. In a bundle, a module that is imported on demand is a function named after it. */
  const sourcesIn = (coverage: string): string[] => {
    const scripts = readdirSync(coverage).flatMap((file) => {
      const { result } = JSON.parse(readFileSync(join(coverage, file), 'utf8')) as { result: Script[] };
      return result.filter(({ url }) => url.includes(program));
    });
    const called = scripts.flatMap(({ functions }) => functions.filter(({ ranges }) => (ranges[0]?.count ?? 0) > 0));
    return [...new Set(called.map(({ functionName }) => functionName).filter((name) => /\.[cm]?[jt]s$/.test(name)))];
  };
  const hubAt = (port: number) => ({ gatewayHostName: `localhost:${port}`, trustedCaFile: 'ca.pem' });
  const ofPackage = (name: string, sources: readonly string[]) =>
    sources.filter((source) => new RegExp(`(?:^|/)node_modules/${name}/`).test(source));
  const ofWs = (sources: readonly string[]) => ofPackage('ws', sources);

  /** Modules that kinds of identity import on demand. */
  const identities = join(TOP, 'src/agent/identity');
  const onDemand = readdirSync(identities, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) =>
      [...readFileSync(join(identities, name), 'utf8').matchAll(/\bimport\('(\.[^']+)'\)/g)].map(([, path = '']) =>
        join('src/agent/identity', dirname(name), path),
      ),
    );

  it('loads neither WebSocket nor other kinds of identity with a module key on port 8883', async () => {
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

  it('loads WebSocket if it connects by WebSocket', async () => {
    const hub = { hostName: bed.hub.hostName, transport: 'mqttWebSocket', ...hubAt(bed.hub.webSocketPort) };
    const identity = { kind: 'moduleKey', deviceId: DEVICE, moduleId: MODULE, keyFile: 'module.key' };
    assert.ok(ofWs(await loadedBy({ hub, identity })).length > 5);
  });

  it('contains systeminformation only in the program of --hardware', () => {
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
