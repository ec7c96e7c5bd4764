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

describe("the deployments for IoT Edge's devices", () => {
  const single = JSON.parse(read('packaging/edge/deployment.json')).modulesContent;
  const layered = JSON.parse(read('packaging/edge/layered-deployment.json')).modulesContent;
  const module = single.$edgeAgent['properties.desired'].modules.azureiotsecurity;

  it('have the same module and route', () => {
    assert.deepEqual(layered.$edgeAgent['properties.desired.modules.azureiotsecurity'], module);
    const route = 'FROM /messages/modules/azureiotsecurity/* INTO $upstream';
    assert.equal(layered.$edgeHub['properties.desired.routes.azureiotsecurity'], route);
    assert.equal(single.$edgeHub['properties.desired'].routes.azureiotsecurity, route);
    assert.equal(module.env.VAKT_IDENTITY__KIND.value, 'edge');
  });

  it('have options of the container that IoT Edge can join, in texts that every twin takes', () => {
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

  it('filter system calls as config/seccomp.json says', () => {
    const [text = ''] = joined(module.settings).HostConfig.SecurityOpt;
    const filter = JSON.parse(text.replace(/^seccomp=/, ''));
    const file = JSON.parse(read('config/seccomp.json'));
    for (const rule of file.syscalls) delete rule.comment;
    assert.deepEqual(filter, file);
  });
});
