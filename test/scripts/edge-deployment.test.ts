import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createOptions, inChunks } from '../../scripts/edge-deployment.ts';

const read = (path: string) => readFileSync(path, 'utf8');
const joined = (settings: Record<string, string>) => {
  const names = Object.keys(settings).filter((name) => name.startsWith('createOptions'));
  return JSON.parse(
    names
      .sort()
      .map((name) => settings[name])
      .join(''),
  );
};

interface Module {
  readonly type: string;
  readonly settings: Readonly<Record<string, string>>;
}

type Types = Readonly<Record<string, 'string' | 'number' | 'boolean' | 'strings' | 'object'>>;

/** Types of the allowed members; IoT Edge forwards StopTimeout. Source: ContainerCreate, Docker Engine API 1.43. */
const CONTAINER: Types = { StopTimeout: 'number', HostConfig: 'object', NetworkingConfig: 'object' };
/** Types of the members that a module may need. Source: HostConfig.cs of edgeAgent, as in the engine's API. */
const HOST: Types = {
  NetworkMode: 'string',
  PidMode: 'string',
  IpcMode: 'string',
  Privileged: 'boolean',
  ReadonlyRootfs: 'boolean',
  CapAdd: 'strings',
  CapDrop: 'strings',
  SecurityOpt: 'strings',
  Binds: 'strings',
  Mounts: 'object',
  Tmpfs: 'object',
  Devices: 'object',
  Memory: 'number',
  PidsLimit: 'number',
  PortBindings: 'object',
};

function assertKnown(options: Readonly<Record<string, unknown>>, types: Types): void {
  for (const [name, value] of Object.entries(options)) {
    const isStrings = Array.isArray(value) && value.every((each) => typeof each === 'string');
    assert.equal(isStrings ? 'strings' : typeof value, types[name], name);
  }
}

describe("the deployments for IoT Edge's devices", () => {
  const single = JSON.parse(read('packaging/edge/deployment.json')).modulesContent;
  const layered = JSON.parse(read('packaging/edge/layered-deployment.json')).modulesContent;
  const module = single.$edgeAgent['properties.desired'].modules.azureiotsecurity;

  it('names the same module and route in all deployments', () => {
    assert.deepEqual(layered.$edgeAgent['properties.desired.modules.azureiotsecurity'], module);
    const route = 'FROM /messages/modules/azureiotsecurity/* INTO $upstream';
    assert.equal(layered.$edgeHub['properties.desired.routes.azureiotsecurity'], route);
    assert.equal(single.$edgeHub['properties.desired'].routes.azureiotsecurity, route);
    assert.equal(module.env.VAKT_IDENTITY__KIND.value, 'edge');
  });

  it('splits container options into strings that IoT Edge can join and every twin accepts', () => {
    assert.deepEqual(joined(module.settings), createOptions());
    for (const [name, text] of Object.entries(inChunks({ a: 'x'.repeat(5_500) }))) {
      assert.match(name, /^createOptions(?:0[1-9]|1\d)?$/);
      assert.ok(text.length <= 512, name);
    }
    assert.equal(joined(inChunks({ a: 'x'.repeat(5_500) })).a.length, 5_500);
  });

  it('start the container as compose.yaml does', () => {
    const compose = read('compose.yaml');
    const value = (name: string) => new RegExp(`^ +${name}: (.+)$`, 'm').exec(compose)?.[1] ?? '';
    const list = (name: string) => value(name).replace(/[[\]]/g, '').split(', ');
    const options = joined(module.settings);
    const { HostConfig: host } = options;
    assert.equal(host.NetworkMode, value('network_mode'));
    assert.equal(host.PidMode, value('pid'));
    assert.equal(String(host.ReadonlyRootfs), value('read_only'));
    assert.deepEqual(host.CapDrop, list('cap_drop'));
    assert.deepEqual(host.CapAdd, list('cap_add'));
    assert.equal(`${host.Memory / 1024 / 1024}m`, value('mem_limit'));
    assert.equal(String(host.PidsLimit), value('pids_limit'));
    assert.equal(`${options.StopTimeout}s`, value('stop_grace_period'));
    const [, mounts = ''] = /\n {4}volumes:\n((?: {6}- .*\n)+)/.exec(compose) ?? [];
    const wanted = [...mounts.matchAll(/- (\S+)/g)].map(([, mount = '']) => mount.replace(/^state:/, 'vakt-state:'));
    assert.deepEqual(
      host.Binds,
      wanted.filter((mount) => !mount.startsWith('/etc/vakt:')),
    ); // variables configure it
    assert.deepEqual(options.NetworkingConfig, { EndpointsConfig: { host: {} } });
  });

  it('ask for the access to the host that the agent needs, and for no more', () => {
    const { HostConfig: host } = joined(module.settings);
    assert.deepEqual([host.NetworkMode, host.PidMode], ['host', 'host']);
    assert.deepEqual(host.CapDrop, ['ALL']);
    assert.ok(host.Binds.includes('/:/host:ro'), 'the host is mounted, and not writable');
    assert.ok(!('Privileged' in host) && !('Devices' in host));
  });

  it('uses container options that IoT Edge and the engine know, with the right types', () => {
    const options = joined(module.settings);
    assertKnown(options, CONTAINER);
    assertKnown(options.HostConfig, HOST);
    assert.throws(() => assertKnown({ PidsMode: 'host' }, HOST), /PidsMode/);
    assert.throws(() => assertKnown({ CapAdd: 'NET_ADMIN' }, HOST), /CapAdd/);
    const hub = joined(single.$edgeAgent['properties.desired'].systemModules.edgeHub.settings);
    assertKnown(hub.HostConfig, HOST);
  });

  it('matches the schema 1.1 of the two twins', () => {
    const { schemaVersion, runtime, systemModules, modules } = single.$edgeAgent['properties.desired'];
    assert.deepEqual([schemaVersion, single.$edgeHub['properties.desired'].schemaVersion], ['1.1', '1.1']);
    assert.equal(runtime.type, 'docker');
    assert.match(runtime.settings.minDockerVersion, /^v\d+\.\d+$/);
    assert.deepEqual(Object.keys(systemModules), ['edgeAgent', 'edgeHub']);
    for (const { type, settings } of [...Object.values(systemModules), ...Object.values(modules)] as Module[]) {
      assert.equal(type, 'docker');
      assert.match(settings.image ?? '', /^[\w.-]+(?:\/[\w.-]+)+:[\w.-]+$/);
    }
    for (const { status, restartPolicy } of [systemModules.edgeHub, module]) {
      assert.equal(status, 'running');
      assert.equal(restartPolicy, 'always');
    }
    assert.equal(systemModules.edgeAgent.status, undefined, 'the runtime starts edgeAgent itself');
    for (const [name, { value }] of Object.entries(module.env as Record<string, { value: unknown }>)) {
      assert.match(name, /^VAKT_[A-Z_]+$/);
      assert.equal(typeof value, 'string');
    }
    assert.ok(single.$edgeHub['properties.desired'].storeAndForwardConfiguration.timeToLiveSecs > 0);
  });
});
